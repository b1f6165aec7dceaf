"""A comparison as JSON values: every number in full, shares of 1."""

import json
from dataclasses import asdict
from typing import Any

from training.comparison.content import Content, Part
from training.comparison.measured import Measured
from training.comparison.rows import Row

FORMAT = 1


def to_json(content: Content) -> str:
    """Return a comparison as text: the same runs give the same bytes."""
    return json.dumps(document(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document(content: Content) -> dict[str, Any]:
    """Return everything a comparison shows, and how every run was scored."""
    return {
        "format": FORMAT,
        "warning": content.warning,
        "parts": [_part(part) for part in content.parts],
        "left_out": dict(content.left),
    }


def _part(part: Part) -> dict[str, Any]:
    first = part.groups[0].first
    return {
        "title": part.title,
        "synthetic": part.synthetic,
        "protocol": first.scores["protocol"],
        "words": list(part.words),
        "rows": [
            {**_row(row), "runs": [_run(run) for run in group.runs]}
            for row, group in zip(part.rows, part.groups, strict=True)
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "number": row.number,
        "method": row.name,
        "apart": row.apart,
        "facts": dict(row.facts),
        "marks": list(row.marks),
        "scores": {name: asdict(value) for name, value in row.scores.items()},
        "labels": {name: asdict(value) for name, value in row.labels.items()},
        "seconds_of_an_epoch": None if row.seconds is None else asdict(row.seconds),
    }


def _run(run: Measured) -> dict[str, Any]:
    return {
        "name": run.name,
        "seed": run.settings.seed,
        "epoch": run.epoch,
        "data": dict(run.data),
        "scores": dict(run.scores["mean"]),
    }
