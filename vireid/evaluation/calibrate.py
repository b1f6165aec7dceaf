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
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9)
LEAST_ALARMS = 50  # a rate is measured by no fewer
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
        searches = trial_searches.halves(people, pair, splits, seed)
        if reason := _unusable(searches):
            refused.append(f"{name}: {reason}")
            continue
        fitted.append(_calibrate(pair, searches))
    if not fitted:
        raise EvaluationError(
            f"no pair of modalities can be calibrated; each needs {LEAST_PEOPLE} people seen by two cameras and both right "
            f"and wrong hits ({'; '.join(refused)})"
        )
    return Calibration(pairs=tuple(fitted), source={**(source or {}), "left_out": refused})


def fit(pair: Pair, searches: Sequence[Half], repeats: int = 1) -> PairCalibration:
    """Fit one pair of modalities to searches; says nothing about how well it holds.

    Args:
        pair: modality that asks and modality that is found.
        searches: the searches.
        repeats: how often the same images ask in them.

    Raises:
        EvaluationError: too few searches to measure any false-alarm rate.
        MissingExtra: scikit-learn is not installed.
    """
    hits = [half.hits(LIST) for half in searches]
    scores, probabilities = curve(
        np.concatenate([score for score, _ in hits]), np.concatenate([same for _, same in hits]), repeats
    )
    strangers = np.sort(np.concatenate([half.stranger for half in searches]))
    rates = [rate for rate in RATES if rate * len(strangers) / repeats >= LEAST_ALARMS]
    if not rates:
        raise EvaluationError(
            f"{len(strangers) // repeats} searches are too few to measure a false-alarm rate; take more images"
        )
    return PairCalibration(
        query=_word(pair[0]),
        gallery=_word(pair[1]),
        images=float(np.mean([half.images for half in searches])),
        people=float(np.mean([half.people for half in searches])),
        hits=LIST,
        scores=tuple(scores.tolist()),
        probabilities=tuple(probabilities.tolist()),
        rates=tuple(rates),
        thresholds=tuple(float(np.quantile(strangers, 1 - rate, method="higher")) for rate in rates),
    )


def curve(score: Float64Array, same: BoolArray, repeats: int = 1) -> tuple[Float64Array, Float64Array]:
    """Fit a rising curve: isotonic regression, drawn through the mean score of each step.

    A step is drawn towards one half as by one more hit that is half right, so that no probability is 0 or 1.

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
        from sklearn.isotonic import IsotonicRegression  # only fitting needs it
    except ModuleNotFoundError as error:
        raise MissingExtra("calibrating needs scikit-learn; run: pip install 'vireid[evaluation]'") from error
    steps = IsotonicRegression(out_of_bounds="clip").fit_transform(score, same.astype(np.float64))
    _, step, size = np.unique(steps, return_inverse=True, return_counts=True)
    middle = np.bincount(step, score) / size
    right = np.bincount(step, same) / repeats
    height = np.maximum.accumulate((right + 0.5) / (size / repeats + 1))
    knots = np.flatnonzero(np.diff(middle, prepend=-np.inf) > 0)
    if len(knots) == 1:
        return middle[knots][0] + np.array([0.0, 1e-6]), height[knots][[0, 0]]
    return middle[knots], height[knots]


def _calibrate(pair: Pair, searches: Sequence[tuple[Half, Half]]) -> PairCalibration:
    checks = []
    for one, other in searches:
        checks += [reliability.check(fit(pair, [one]), other), reliability.check(fit(pair, [other]), one)]
    whole = fit(pair, [half for both in searches for half in both], repeats=len(searches))
    return whole.model_copy(update={"reliability": reliability.summary(checks)})


def _unusable(searches: Sequence[tuple[Half, Half]]) -> str:
    for both in searches:
        for half in both:
            _, same = half.hits(LIST)
            if len(half.stranger) * RATES[-1] < LEAST_ALARMS:
                return f"{len(half.stranger)} searches in one half of the people, {LEAST_ALARMS / RATES[-1]:.0f} are needed"
            if not same.any() or same.all():
                return "no hit is right" if not same.any() else "no hit is wrong"
    return ""


def _word(modality: Modality) -> Any:
    return modality.word
