"""Precision over recall without interpolation: laws, and a slow mean in fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.evaluation.precision_recall import PrecisionTally, mean

# ranks of each query's matches
ranks = st.lists(st.sets(st.integers(1, 30), min_size=1, max_size=7).map(sorted), min_size=1, max_size=8)


def tally(queries: list[list[int]]) -> PrecisionTally:
    made = PrecisionTally()
    for matches in queries:
        made.add(len(matches), np.array([[k / rank for k, rank in enumerate(matches, start=1)]]))
    return made


def at(queries: list[list[int]], recall: Fraction) -> Fraction:
    """The mean precision at a recall, query by query."""
    total = Fraction(0)
    for matches in queries:
        kth = -(-recall * len(matches) // 1)  # the first match that reaches it
        total += Fraction(int(kth), matches[int(kth) - 1])
    return total / len(queries)


@given(queries=ranks)
def test_every_step_by_fractions(queries: list[list[int]]) -> None:
    curve = tally(queries).curve()
    ends = sorted({Fraction(k, len(m)) for m in queries for k in range(1, len(m) + 1)})
    np.testing.assert_allclose(curve.recall, [float(end) for end in ends], rtol=1e-15)
    np.testing.assert_allclose(curve.precision, [float(at(queries, end)) for end in ends], rtol=1e-12)


@given(queries=ranks)
def test_the_area_is_the_mean_average_precision(queries: list[list[int]]) -> None:
    average = [np.mean([k / rank for k, rank in enumerate(m, start=1)]) for m in queries]
    assert tally(queries).curve().area == pytest.approx(float(np.mean(average)), rel=1e-12)


@given(queries=ranks, recall=st.floats(0.001, 1))
def test_between_the_ends_it_is_the_step(queries: list[list[int]], recall: float) -> None:
    curve = tally(queries).curve()
    step = next(n for n, end in enumerate(curve.recall) if recall <= end)
    assert curve.at(np.array([recall]))[0] == curve.precision[step]


@given(several=st.lists(ranks, min_size=1, max_size=4))
def test_the_mean_of_curves(several: list[list[list[int]]]) -> None:
    curves = [tally(queries).curve() for queries in several]
    found = mean(curves)
    assert found.area == pytest.approx(float(np.mean([c.area for c in curves])), rel=1e-12)
    assert found.recall[-1] == 1
    assert (np.diff(found.recall) > 0).all()
    for recall in (0.2, 1 / 3, 0.5, 1.0):
        expected = np.mean([c.at(np.array([recall]))[0] for c in curves])
        assert found.at(np.array([recall]))[0] == pytest.approx(float(expected))
