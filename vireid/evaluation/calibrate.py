"""Fits what scores mean to searches among known people, and says how well it holds for people it was not fitted on.

The curve is isotonic regression on the hits of trial searches, drawn through the middle of each of its steps. The
threshold for a false-alarm rate is a quantile of the best scores of strangers. Both are fitted on one half of the
people and checked on the other, several times over; what is kept is fitted on all of them. Needs scikit-learn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vireid.arrays import BoolArray, Float64Array
from vireid.calibration import Calibration, PairCalibration
from vireid.errors import EvaluationError, MissingExtra
from vireid.evaluation import reliability, trial_searches
from vireid.evaluation.trial_searches import SPLITS, Half, Pair, People
from vireid.types import Modality

LIST = 10  # hits of a list that the curve is fitted on
RATES = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9)
UNSURE = 0.1  # relative standard error over people that a measured rate may have at most
LEAST_PEOPLE = 20
PAIRS: tuple[Pair, ...] = tuple((query, gallery) for query in Modality for gallery in Modality)


def calibrate(
    people: People,
    source: Mapping[str, Any] | None = None,
    splits: int = SPLITS,
    seed: int = 0,
) -> Calibration:
    """Learn what scores mean, for each pair of modalities with enough people.

    Args:
        people: embedded images of people the model was not trained on.
        source: what is to be said of where they come from.
        splits: how often the people are split in halves.
        seed: of the splits.

    Raises:
        EvaluationError: too few people, or nobody is ever found, in every pair of modalities.
        MissingExtra: scikit-learn is not installed.
    """
    fitted, refused = [], []
    for pair in PAIRS:
        name = f"{pair[0].word} finds {pair[1].word}"
        found = len(np.intersect1d(people.person[people.rows(pair[0])], people.person[people.rows(pair[1])]))
        if found < LEAST_PEOPLE:
            refused.append(f"{name}: {found} people in both")
            continue
        outcome = _calibrate(pair, trial_searches.halves(people, pair, splits, seed))
        if isinstance(outcome, str):
            refused.append(f"{name}: {outcome}")
        else:
            fitted.append(outcome)
    if not fitted:
        raise EvaluationError(
            f"no pair of modalities can be calibrated; each needs {LEAST_PEOPLE} people seen by two cameras, and both right "
            f"and wrong hits ({'; '.join(refused)})"
        )
    return Calibration(pairs=tuple(fitted), source={**(source or {}), "left_out": refused})


def fit(pair: Pair, searches: Sequence[Half], rates: Sequence[float], repeats: int = 1) -> PairCalibration:
    """Fit one pair of modalities to searches; says nothing about how well it holds.

    Args:
        pair: modality that asks and modality that is found.
        searches: the searches.
        rates: false-alarm rates to find the thresholds of, rising.
        repeats: how often the same images ask in them.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    hits = [half.hits(LIST) for half in searches]
    scores, probabilities = curve(
        np.concatenate([score for score, _ in hits]), np.concatenate([same for _, same in hits]), repeats
    )
    strangers = np.concatenate([half.stranger for half in searches])
    return PairCalibration(
        query=_word(pair[0]),
        gallery=_word(pair[1]),
        images=float(np.mean([half.images for half in searches])),
        people=float(np.mean([half.people for half in searches])),
        hits=LIST,
        scores=tuple(scores.tolist()),
        probabilities=tuple(probabilities.tolist()),
        rates=tuple(rates),
        thresholds=tuple(_threshold(strangers, rate) for rate in rates),
    )


def measurable(searches: Sequence[Half]) -> list[float]:
    """Return the false-alarm rates that are measured well enough, rising.

    Alarms of one person's images come together, so it is the spread over people that counts.

    Args:
        searches: the searches; the same images may ask in several.
    """
    strangers = np.concatenate([half.stranger for half in searches])
    _, who = np.unique(np.concatenate([half.asked for half in searches]), return_inverse=True)
    asked = np.bincount(who)
    found = []
    for rate in RATES:
        alarms = np.bincount(who, strangers >= _threshold(strangers, rate))
        error = np.sqrt(np.sum((alarms - rate * asked) ** 2)) / len(strangers)
        if error <= UNSURE * rate:
            found.append(rate)
    return found


def curve(score: Float64Array, same: BoolArray, repeats: int = 1) -> tuple[Float64Array, Float64Array]:
    """Fit a rising curve: isotonic regression, drawn through the mean score of each step.

    A first step where no hit is right and a last one where all are count one more hit that is half right, so that nothing
    is told to be certain.

    Args:
        score: of hits, (N,).
        same: whether they are right, (N,).
        repeats: how often the same hits stand in there.

    Returns:
        Knots: scores, strictly rising, and probabilities, never falling.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.isotonic import isotonic_regression  # only fitting needs it
    except ModuleNotFoundError as error:
        raise MissingExtra("calibrating needs scikit-learn; run: pip install 'vireid[evaluation]'") from error
    values, place, count = np.unique(score, return_inverse=True, return_counts=True)
    level = isotonic_regression(np.bincount(place, same) / count, sample_weight=count)
    step = np.cumsum(np.diff(level, prepend=level[0]) != 0)
    size = np.bincount(step, count)
    middle = np.bincount(step, values * count) / size
    right = np.bincount(step[place], same) / repeats
    weight = size / repeats
    height = right / weight
    if height[0] == 0:
        height[0] = np.append(height[1:2], 0.5 / (weight[0] + 1)).min()
    if height[-1] == 1:
        height[-1] = np.append(height[-2:-1], 1 - 0.5 / (weight[-1] + 1)).max()
    knots = np.flatnonzero(np.diff(middle, prepend=-np.inf) > 0)
    if len(knots) == 1:
        return middle[knots][0] + np.array([0.0, 1e-6]), height[knots][[0, 0]]
    return middle[knots], height[knots]


def _calibrate(pair: Pair, searches: Sequence[tuple[Half, Half]]) -> PairCalibration | str:
    """Calibrate a pair and check it, or say why that cannot be."""
    every = [half for both in searches for half in both]
    for half in every:
        _, same = half.hits(LIST)
        if not same.any() or same.all():
            return "no hit is right" if not same.any() else "no hit is wrong"
    rates = measurable(every)
    if not rates:
        return "false alarms differ too much from person to person to measure any rate"
    checks = []
    for one, other in searches:
        checks += [
            reliability.check(fit(pair, [one], rates), other),
            reliability.check(fit(pair, [other], rates), one),
        ]
    whole = fit(pair, every, rates, repeats=len(searches))
    return whole.model_copy(update={"reliability": reliability.summary(checks)})


def _threshold(strangers: Float64Array, rate: float) -> float:
    return float(np.quantile(strangers, 1 - rate, method="higher"))


def _word(modality: Modality) -> Any:
    return modality.word
