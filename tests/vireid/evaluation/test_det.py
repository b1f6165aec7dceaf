"""FNIR against FPIR, against loops over searches and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import det_curve

from vireid.evaluation.det import Det, det

# few levels, so that scores meet
scores = st.lists(st.integers(-5, 5).map(lambda n: n / 5), min_size=1, max_size=12)


def made(match: list[float], other: list[float]) -> Det:
    return det(np.array(match, dtype=np.float64), np.array(other, dtype=np.float64))


@given(match=scores, other=scores)
def test_each_threshold_by_counting(match: list[float], other: list[float]) -> None:
    found = made(match, other)
    assert (found.mated, found.nonmated) == (len(match), len(other))
    assert found.threshold.tolist() == [*sorted({*match, *other}), np.inf]
    for threshold, fpir, fnir in zip(found.threshold, found.fpir, found.fnir, strict=True):
        assert fpir == sum(score >= threshold for score in other) / len(other)
        assert fnir == sum(score < threshold for score in match) / len(match)


@given(match=scores, other=scores, asked=st.floats(0, 1))
def test_the_lowest_miss_rate_that_a_false_alarm_rate_allows(
    match: list[float], other: list[float], asked: float
) -> None:
    found = made(match, other)
    allowed = [n for n, fpir in enumerate(found.fpir) if fpir <= asked]
    assert found.at(np.array([asked]))[0] == min(found.fnir[allowed])
    assert found.limit(asked) == min(found.threshold[allowed])


@given(match=scores, other=scores)
def test_scikit_learn_agrees(match: list[float], other: list[float]) -> None:
    found = made(match, other)
    truth = np.repeat([1, 0], [len(match), len(other)])
    fpr, fnr, threshold = det_curve(truth, np.array([*match, *other]), drop_intermediate=False)
    for level, false_positive, false_negative in zip(threshold, fpr, fnr, strict=True):
        if np.isfinite(level):
            place = int(np.searchsorted(found.threshold, level))
            assert found.fpir[place] == pytest.approx(false_positive)
            assert found.fnir[place] == pytest.approx(false_negative)


def test_searches_among_nobody_never_raise_an_alarm() -> None:
    found = made([0.4, 0.6], [-np.inf, 0.5])
    assert found.nonmated == 2
    assert found.fpir[0] == 0.5
    assert found.at(np.array([0.0, 0.5])).tolist() == [0.5, 0.0]
    assert np.isfinite(found.threshold[:-1]).all()


def test_a_perfect_and_a_hopeless_search() -> None:
    perfect, hopeless = made([0.9, 0.8], [0.1, 0.2]), made([0.1, 0.2], [0.9, 0.8])
    assert perfect.at(np.array([0.0]))[0] == 0
    assert perfect.limit(0.0) == 0.8
    assert hopeless.at(np.array([0.0, 0.99]))[1] == 1
    assert hopeless.limit(0.0) == np.inf
