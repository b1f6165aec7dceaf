"""Centred rows against NumPy, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.centres import LEAST_VECTORS, Centres, Means, applied
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import EmbeddingNotFinite, FailedPrecondition, InvalidRequest
from vireid.types import Centring, Modality

DIM = 12


def people(seed: int, count: int) -> tuple[Float32Array, Int64Array]:
    """Unit rows that lean the way of their modality, and their modalities."""
    random = np.random.default_rng(seed)
    kinds = np.arange(count) % 2
    rows = random.standard_normal((count, DIM)) + 3 * np.eye(DIM)[kinds]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), kinds


def centred(rows: Float32Array, kinds: Int64Array, strength: float) -> Float32Array:
    """The same in one line of NumPy a row."""
    means = [rows[kinds == kind].astype(np.float64).mean(axis=0).astype(np.float32) for kind in (0, 1)]
    moved = [row - strength * means[kind].astype(np.float64) for row, kind in zip(rows, kinds, strict=True)]
    return np.array([row / np.linalg.norm(row) for row in moved], np.float32)


def learnt(rows: Float32Array, kinds: Int64Array) -> Means:
    means = Means(DIM)
    means.take_in(rows[:31], kinds[:31])
    means.take_in(rows[31:], kinds[31:])
    return means


@given(seed=st.integers(0, 99), strength=st.sampled_from([1.0, 0.5, 0.123]))
def test_they_are_what_numpy_makes(seed: int, strength: float) -> None:
    rows, kinds = people(seed, 101)
    centres = learnt(rows, kinds).centres(strength)
    assert (centres.told.visible, centres.told.infrared, centres.told.strength) == (51, 50, strength)
    np.testing.assert_allclose(centres.applied(rows, kinds), centred(rows, kinds, strength), atol=1e-6)


@given(seed=st.integers(0, 99), data=st.data())
def test_a_row_is_centred_by_itself_to_the_last_bit(seed: int, data: st.DataObject) -> None:
    """A stored row and a query, alone or among others, become the same bits."""
    rows, kinds = people(seed, 80)
    centres = learnt(rows, kinds).centres()
    together = centres.applied(rows, kinds)
    chosen = np.array(data.draw(st.lists(st.integers(0, 79), min_size=1)))
    assert (centres.applied(rows[chosen], kinds[chosen]) == together[chosen]).all()
    strided = np.asfortranarray(rows)[chosen]
    assert (centres.applied(strided, kinds[chosen]) == together[chosen]).all()


@given(seed=st.integers(0, 99))
def test_what_all_of_a_modality_share_is_gone(seed: int) -> None:
    """Another constant for each modality changes nothing that could be learnt without it."""
    rows, kinds = people(seed, 200)
    after = learnt(rows, kinds).centres().applied(rows, kinds).astype(np.float64)
    means = [after[kinds == kind].mean(axis=0) for kind in (0, 1)]
    before = [rows[kinds == kind].astype(np.float64).mean(axis=0) for kind in (0, 1)]
    for one, other in zip(means, before, strict=True):
        assert np.linalg.norm(one) < 0.35 * np.linalg.norm(other)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-6)


def test_a_row_that_is_its_centre_stays_as_it_came() -> None:
    centre = np.eye(DIM, dtype=np.float32)[0]
    rows = np.stack([centre, np.eye(DIM, dtype=np.float32)[1], centre])
    centres = Centres(Centring(1.0, 40, 40), np.stack([centre, centre]))
    after = centres.applied(rows, np.array([0, 0, 1]))
    assert (after[[0, 2]] == centre).all()
    assert np.isfinite(after).all()
    np.testing.assert_allclose(after[1], (rows[1] - centre) / np.sqrt(2), atol=1e-7)


def test_a_modality_without_a_centre_stays_as_it_came() -> None:
    rows, kinds = people(1, 200)
    means = learnt(rows[kinds == 0], kinds[kinds == 0])
    with pytest.raises(FailedPrecondition, match="100 visible and 0 infrared") as caught:
        means.centres()
    assert caught.value.stable_reason == "TOO_FEW_TO_CENTRE"
    centres = means.centres(half=True)
    assert centres.told.counts == (100, 0)
    after = centres.applied(rows, kinds)
    assert (after[kinds == 1] == rows[kinds == 1]).all()
    assert (after[kinds == 0] != rows[kinds == 0]).any(axis=1).all()


@pytest.mark.parametrize("half", [False, True])
def test_too_few_vectors_are_refused(half: bool) -> None:
    rows, kinds = people(1, 2 * LEAST_VECTORS - 2)
    means = learnt(rows, kinds)
    assert means.counts.tolist() == [LEAST_VECTORS - 1] * 2
    with pytest.raises(FailedPrecondition):
        means.centres(half=half)
    means.take_in(*people(2, 2))
    assert means.centres(half=half).told.counts == (LEAST_VECTORS, LEAST_VECTORS)


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.01, float("nan"), float("inf")])
def test_another_strength_is_refused(strength: float) -> None:
    with pytest.raises(InvalidRequest, match="strength"):
        learnt(*people(1, 100)).centres(strength)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nothing_is_learnt_from_what_is_not_finite(wrong: float) -> None:
    rows, kinds = people(1, 100)
    means = learnt(rows, kinds)
    before = means.rows().tobytes(), means.counts.tolist()
    rows[7, 3] = wrong
    with pytest.raises(EmbeddingNotFinite):
        means.take_in(rows, kinds)
    assert (means.rows().tobytes(), means.counts.tolist()) == before


def test_some_rows_only_are_learnt_from() -> None:
    rows, kinds = people(1, 100)
    chosen = np.arange(100) < 70
    means = Means(DIM)
    means.take_in(rows, kinds, chosen)
    np.testing.assert_allclose(means.rows(), learnt(rows[:70], kinds[:70]).rows(), atol=1e-12)


def test_without_centres_rows_are_returned_as_they_are() -> None:
    rows, kinds = people(1, 4)
    assert applied(None, rows, [Modality(kind) for kind in kinds]) is rows
