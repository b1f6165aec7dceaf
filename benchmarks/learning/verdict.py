"""The end of a benchmark of goals: what was found, one line a goal, and a status that says whether one was missed."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import typer

from clients import machine
from learning.goal import Goal


def chosen(only: Sequence[str] | None, parts: Sequence[str]) -> Sequence[str]:
    """Return the parts asked for, all if none is named.

    Raises:
        typer.BadParameter: one is unknown.
    """
    unknown = sorted(set(only or ()) - set(parts))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(parts)}")
    return only or parts


def give(benchmark: str, found: Sequence[Goal], json_path: Path | None, *, quick: bool) -> NoReturn:
    """Print the goals, write them down, and end with status 1 if one is missed."""
    document = {
        "benchmark": benchmark,
        "quick": quick,
        "cpu": machine.describe()["cpu"],
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "goals": [
            {name: value for name, value in asdict(goal).items() if name != "passed"}
            | {"outcome": goal.outcome}
            for goal in found
        ],
    }
    for word in ("cpu", "load", "torch", "python"):
        print(f"{word:8} {document[word]}")
    for goal in found:
        print(f"{'':8} {goal.name}: {goal.detail}")
    for goal in found:
        print(goal.line())
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    raise SystemExit(any(goal.outcome == "miss" for goal in found))


@dataclass(frozen=True)
class Places:
    """Where the figures and the table of a comparison are written, if anywhere."""

    figures: Path | None
    table: Path | None


def give_table(told: Mapping[str, Any], table: str, found: Sequence[Goal], places: Places) -> NoReturn:
    """Print a comparison's table and goals, write them down, and end with status 1 if one is missed."""
    print(table)
    if places.figures is not None:
        document = {"synthetic": True, **told, "goals": [_plain(goal) for goal in found]}
        places.figures.write_text(json.dumps(document, indent=1) + "\n")
    if places.table is not None:
        places.table.write_text(table)
    for goal in found:
        print(goal.line())
    raise SystemExit(not all(goal.passed for goal in found))


def _plain(goal: Goal) -> dict[str, Any]:
    """Write a goal in what JSON knows, which is no infinity: so low is what was refused."""
    finite = goal.ratio is not None and math.isfinite(goal.ratio)
    return {**asdict(goal), "ratio": goal.ratio if finite else None, "outcome": goal.outcome}
