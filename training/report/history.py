"""What a run wrote while it went, as curves by name. Knows no pictures and no words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import checkpoint, journal
from training.checkpoint import METRICS
from vireid.errors import TrainingError

TOTAL = "total"  # the last of an epoch's losses; what a method tells besides comes after it
RATE = "rate"
_OWN = {"epoch", RATE, *checkpoint.TIMES}
_PARTS = ("labels/", "evaluation/", "selected/")
_EVALUATED = ("mean", "protocol", "synthetic")


@dataclass(frozen=True, slots=True)
class Series:
    """A number over the epochs that have it.

    Attributes:
        epochs: ascending; 0 is before the first.
        values: one for each.
    """

    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class History:
    """A run's numbers.

    Attributes:
        epochs: how many were finished.
        series: every number by its name, those within others as ``labels/accuracy/infrared``.
        losses: names of the losses, what is minimised last.
        told: names of what the method told besides.
        evaluations: the scores of each epoch that was evaluated, as they were recorded.
        labels: what was recorded of the last epoch's labels; empty where there were none.
        marks: the epoch of each fingerprint of labels.
        seconds: spent on all epochs, without evaluations.
    """

    epochs: int
    series: Mapping[str, Series]
    losses: tuple[str, ...]
    told: tuple[str, ...]
    evaluations: tuple[tuple[int, Mapping[str, Any]], ...]
    labels: Mapping[str, Any]
    marks: Mapping[str, int]
    seconds: float


def read(run: Path) -> History:
    """Read a run's metrics; a run that finished no epoch has none.

    Raises:
        TrainingError: a line is damaged.
    """
    lines = checkpoint.read_metrics(run)
    for number, line in enumerate(lines, start=1):
        _check(line, f"{run / METRICS} is damaged: line {number}")
    labels = [line["labels"] for line in lines if line.get("labels")]
    losses, told = _own(lines)
    return History(
        epochs=max((line["epoch"] for line in lines), default=0),
        series=_series(lines),
        losses=losses,
        told=told,
        evaluations=tuple((line["epoch"], line["evaluation"]) for line in lines if line.get("evaluation")),
        labels=labels[-1] if labels else {},
        marks={line["labels"].get("sha256", ""): line["epoch"] for line in lines if line.get("labels")},
        seconds=sum(line.get("seconds") or 0.0 for line in lines),
    )


def _check(line: Any, says: str) -> None:
    if not isinstance(line, dict) or not isinstance(line.get("epoch"), int):
        raise TrainingError(f"{says} names no epoch; remove it")
    for part in ("labels", "evaluation"):
        if not isinstance(line.get(part, {}), dict):
            raise TrainingError(f"{says} holds {part} that are no numbers by name; remove it")
    found = line.get("evaluation")
    missing = [name for name in _EVALUATED if name not in found] if found else []
    if missing:
        raise TrainingError(f"{says} holds an evaluation without {', '.join(missing)}; remove it")


def _series(lines: list[dict[str, Any]]) -> dict[str, Series]:
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in journal.numbers(line):
            points.setdefault(name, []).append((line["epoch"], value))
    return {
        name: Series(tuple(epoch for epoch, _ in found), tuple(value for _, value in found))
        for name, found in points.items()
    }


def _own(lines: list[dict[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell losses from what else a method tells: each line has the losses first, the sum of all as their last."""
    losses: dict[str, None] = {}
    told: dict[str, None] = {}
    for line in sorted(lines, key=len, reverse=True):  # the fullest one has them in order
        into = losses if TOTAL in line else told
        for name, _ in journal.numbers(line):
            if name in _OWN or name.startswith(_PARTS):
                continue
            into[name] = None
            if name == TOTAL:
                into = told
    return (*(n for n in losses if n != TOTAL), *(n for n in losses if n == TOTAL)), tuple(told)
