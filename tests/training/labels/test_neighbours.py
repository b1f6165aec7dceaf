"""Nearest neighbours against a full sort in double precision, ties and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels.neighbours import neighbours, unit
from vireid.errors import TrainingError


def sorted_whole(features: np.ndarray, k: int) -> np.ndarray:
    rows = unit(features).astype(np.float64)
    similarity = np.stack([np.array([float(np.dot(a, b)) for b in rows]) for a in rows])
    np.fill_diagonal(similarity, np.inf)
    return np.stack([np.lexsort((np.arange(len(rows)), -row))[:k] for row in similarity])


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 60),
    dim=st.integers(1, 9),
    k=st.integers(1, 70),
    block=st.integers(1, 70),
    seed=st.integers(0, 999),
)
def test_they_are_those_of_a_full_sort(count: int, dim: int, k: int, block: int, seed: int) -> None:
    # the coordinates are whole numbers, so nothing is within rounding of anything else unless it is equal
    features = np.random.default_rng(seed).integers(-3, 4, (count, dim)).astype(np.float32)
    features[~features.any(axis=1)] = 1
    found = neighbours(features, k, block=block)
    assert found.shape == (count, min(k, count))
    np.testing.assert_array_equal(found[:, 0], np.arange(count))
    rows = unit(features).astype(np.float64)
    similarity = rows @ rows.T
    expected = np.take_along_axis(similarity, sorted_whole(features, k), axis=1)
    np.testing.assert_allclose(np.take_along_axis(similarity, found, axis=1), expected, atol=1e-7)
    assert all(len(set(row)) == len(row) for row in found.tolist())


def test_twins_come_by_index_wherever_they_stand() -> None:
    features = np.random.default_rng(0).normal(size=(7, 130)).astype(np.float32)
    twins = features[np.tile(np.arange(7), 11)]
    for block in (5, 16, 77):
        found = neighbours(twins, 11, block=block)
        for i, row in enumerate(found.tolist()):
            same = [j for j in range(77) if j % 7 == i % 7 and j != i]
            assert row == [i, *same]


def test_length_does_not_matter() -> None:
    features = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    scale = np.exp2(np.arange(50) % 7).astype(np.float32)[:, None]
    np.testing.assert_array_equal(neighbours(features, 9), neighbours(features * scale, 9))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_rows_without_a_direction(value: float) -> None:
    features = np.ones((5, 3), dtype=np.float32)
    features[3] = value
    with pytest.raises(TrainingError, match="1 of 5 feature rows are zero or not finite, the first is row 3"):
        neighbours(features, 2)


@pytest.mark.parametrize("shape", [(5,), (0, 3), (3, 0)])
def test_tables_that_are_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match=r"expected \(images, dimensions\)"):
        neighbours(np.ones(shape, dtype=np.float32), 2)


@pytest.mark.parametrize(("k", "block"), [(0, 8), (3, 0)])
def test_numbers_below_one(k: int, block: int) -> None:
    with pytest.raises(TrainingError, match="expected at least 1 of each"):
        neighbours(np.ones((5, 3), dtype=np.float32), k, block=block)
