"""The picture of a comparison: CMC curves of all groups, and their mAP by epoch. Knows no page."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.comparison.groups import Group
from training.comparison.rows import Row
from training.report.charts import Chart
from training.report.history import Series
from training.report.pictures.curves import Line, curves
from training.report.pictures.scatter import PERSONS as COLOURS
from vireid.evaluation.pictures.cmc import LEVELS

SHOWN_RANKS = 20
_DASHES = ("-", "--", ":", "-.")
_MARKS = "os^Dv<>P*X"
_MAP = "evaluation/mean/mAP"


def charts(groups: Sequence[Group], rows: Sequence[Row], title: str = "") -> dict[str, Chart]:
    """Draw groups that were measured alike.

    Args:
        groups: at least one.
        rows: of the same; they number the lines.
        title: above each picture.
    """
    lines = [_look(row) for row in rows]
    many = " Of several runs, their mean." if any(len(group.runs) > 1 for group in groups) else ""
    level = LEVELS[groups[0].first.scores["protocol"]["cmc"]]
    found = [replace(line, series=_cmc(group)) for line, group in zip(lines, groups, strict=True)]
    drawn = {
        "cmc": Chart(
            curves(found, "found at rank r or before, %", title, scale="shares", along=f"rank r, in {level}"),
            "CMC",
            f"How often the person asked for is among the first r {level} of the ranking.{many}",
        )
    }
    by_epoch = [
        replace(line, series=series)
        for line, group in zip(lines, groups, strict=True)
        if (series := _by_epoch(group)) is not None
    ]
    if by_epoch:
        drawn["map"] = Chart(
            curves(by_epoch, "mAP, %", title),
            "mAP by epoch",
            f"Of the epochs that were evaluated; epoch 0 is before training.{many}",
        )
    return drawn


def _look(row: Row) -> Line:
    place = row.number - 1
    return Line(
        name=f"{row.number} {row.name}",
        series=Series((), ()),
        colour=COLOURS[place % len(COLOURS)],
        dashes=_DASHES[(place + place // len(COLOURS)) % len(_DASHES)],  # others when colours come again
        mark=_MARKS[place % len(_MARKS)],
    )


def _cmc(group: Group) -> Series:
    curves_ = [run.scores["cmc"][:SHOWN_RANKS] for run in group.runs]
    length = min(map(len, curves_))
    mean = np.mean([curve[:length] for curve in curves_], axis=0)
    return Series(tuple(range(1, length + 1)), tuple(mean.tolist()))


def _by_epoch(group: Group) -> Series | None:
    """Return the mean mAP in percent of the epochs that every run was scored at; None for fewer than two."""
    series = [run.history.series[_MAP] for run in group.runs]
    shared = sorted(set.intersection(*(set(each.epochs) for each in series)))
    if len(shared) < 2:
        return None
    values = [dict(zip(each.epochs, each.values, strict=True)) for each in series]
    return Series(
        tuple(shared), tuple(100 * float(np.mean([each[epoch] for each in values])) for epoch in shared)
    )
