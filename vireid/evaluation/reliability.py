"""How well a calibration holds for searches it was not fitted on. Knows no fitting.

Expected calibration error is the mean, over bins of equally many hits, of how far the probabilities told lie from the
share of hits that are right. It says nothing alone: telling everybody the average has none. So the area under the
ROC (0.5 tells nothing apart) and the Brier score next to that of the average stand beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.arrays import BoolArray, Float64Array
from vireid.calibration import PairCalibration
from vireid.evaluation.trial_searches import Half

BINS = 10
LISTS = (1, 5, 10, 20)
Table = tuple[Float64Array, Float64Array, Float64Array]


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """What was told about one half of the people, and what came true.

    Attributes:
        people: how many asked.
        searches: how many images asked.
        told: the probability of each hit, on lists of the fitted length, (N,).
        right: whether it was right, (N,).
        errors: expected calibration error by length of list.
        alarms: the share of false alarms found at the threshold of each rate.
    """

    people: int
    searches: int
    told: Float64Array
    right: BoolArray
    errors: dict[int, float]
    alarms: dict[float, float]


def calibration_error(told: Float64Array, right: BoolArray, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equally many hits."""
    size, mean, share = table(told, right, bins)
    return float(size @ np.abs(mean - share) / size.sum())


def table(told: Float64Array, right: BoolArray, bins: int = BINS) -> Table:
    """Return size, mean probability and share that was right of bins of equally many hits, rising."""
    order = np.argsort(told, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return (
        np.array([len(part) for part in parts], dtype=np.float64),
        np.array([told[part].mean() for part in parts]),
        np.array([right[part].mean() for part in parts]),
    )


def area_under_roc(told: Float64Array, right: BoolArray) -> float:
    """Return how often a right hit is told a higher probability than a wrong one; equals count half."""
    values, place = np.unique(told, return_inverse=True)
    good = np.bincount(place[right], minlength=len(values))
    bad = np.bincount(place[~right], minlength=len(values))
    if not good.sum() or not bad.sum():
        return 0.5
    below = np.cumsum(bad) - bad / 2
    return float(good @ below / (good.sum() * bad.sum()))


def check(fitted: PairCalibration, half: Half) -> Check:
    """Hold a calibration against searches of other people."""
    told, right = _told(fitted, half, fitted.hits)
    return Check(
        people=len(np.unique(half.asked)),
        searches=len(half.asked),
        told=told,
        right=right,
        errors={length: calibration_error(*_told(fitted, half, length)) for length in LISTS},
        alarms={
            rate: float((half.stranger >= threshold).mean())
            for rate, threshold in zip(fitted.rates, fitted.thresholds, strict=True)
        },
    )


def summary(checks: Sequence[Check]) -> dict[str, Any]:
    """Tell several checks as JSON values: means over them, and the worst."""
    told = np.concatenate([c.told for c in checks])
    right = np.concatenate([c.right for c in checks])
    size, mean, share = table(told, right)
    errors = {length: [c.errors[length] for c in checks] for length in LISTS}
    rates = sorted({rate for c in checks for rate in c.alarms})
    alarms = {rate: [c.alarms[rate] for c in checks if rate in c.alarms] for rate in rates}
    return {
        "checks": len(checks),
        "people": round(float(np.mean([c.people for c in checks])), 1),
        "searches": round(float(np.mean([c.searches for c in checks])), 1),
        "hits": len(told),
        "share_right": _short(right.mean()),
        "calibration_error": {str(n): _spread(values) for n, values in errors.items()},
        "area_under_roc": _short(area_under_roc(told, right)),
        "brier": _short(float(np.mean((told - right) ** 2))),
        "brier_of_the_average": _short(right.mean() * (1 - right.mean())),
        "table": [
            {"hits": int(n), "told": _short(m), "right": _short(s)}
            for n, m, s in zip(size, mean, share, strict=True)
        ],
        "false_alarms": [{"asked": rate, "found": _spread(found)} for rate, found in alarms.items()],
    }


def _told(fitted: PairCalibration, half: Half, length: int) -> tuple[Float64Array, BoolArray]:
    score, right = half.hits(length)
    told = fitted.probability(score, half.images)
    return told, right


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": _short(float(np.mean(values))), "least": _short(min(values)), "most": _short(max(values))}


def _short(value: float) -> float:
    return round(float(value), 5)
