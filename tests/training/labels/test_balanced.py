"""Balanced neighbours against a full sort of either modality, and the distance made of them against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels.balanced import balanced
from training.labels.jaccard import Neighbourhood, distances, encode
from training.labels.neighbours import nearest_among
from vireid.errors import TrainingError


def drawn(count: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    # whole numbers: nothing is within rounding of anything else unless it is equal
    features = chance.integers(-3, 4, (count, dim)).astype(np.float32)
    features[~features.any(axis=1)] = 1
    return features, chance.integers(0, 2, count)


def slow_ranking(features: np.ndarray, modality: np.ndarray, k: int) -> list[list[int]]:
    """Both lists by a full sort, then one of each in turn until one is empty."""
    rows = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True).astype(np.float64)
    made = []
    for i, row in enumerate(rows):
        order = sorted(range(len(rows)), key=lambda j: (j != i, -round(float(row @ rows[j]), 6), j))
        own = [j for j in order if modality[j] == modality[i]]
        other = [j for j in order if modality[j] != modality[i]]
        mixed: list[int] = []
        while own or other:
            mixed += [own.pop(0)] if own else []
            mixed += [other.pop(0)] if other else []
        made.append(mixed[:k])
    return made


@settings(max_examples=40, deadline=None)
@given(count=st.integers(2, 40), dim=st.integers(2, 6), k=st.integers(1, 45), seed=st.integers(0, 999))
def test_they_are_those_of_a_full_sort(count: int, dim: int, k: int, seed: int) -> None:
    features, modality = drawn(count, dim, seed)
    found = balanced(features, modality, k)
    assert found.shape == (count, min(k, count))
    np.testing.assert_array_equal(found[:, 0], np.arange(count))
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = rows @ rows.T
    expected = np.array(slow_ranking(features, modality, k))
    np.testing.assert_array_equal(modality[found], modality[expected])
    np.testing.assert_allclose(
        np.take_along_axis(similarity, found, 1), np.take_along_axis(similarity, expected, 1), atol=1e-5
    )
    assert all(len(set(row)) == len(row) for row in found.tolist())


def test_any_beginning_has_one_half_of_either() -> None:
    features, modality = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32), np.arange(60) % 2
    found = balanced(features, modality, 20)
    for k in (1, 2, 5, 8, 20):
        own = (modality[found[:, :k]] == modality[:, None]).sum(1)
        assert (own == (k + 1) // 2).all()
        np.testing.assert_array_equal(balanced(features, modality, k), found[:, :k])


def test_a_gap_between_modalities_no_longer_hides_who_is_who() -> None:
    chance = np.random.default_rng(1)
    who = np.repeat(chance.normal(size=(5, 12)), 8, 0)
    modality = np.tile([0, 1], 20)
    # each modality has a direction of its own
    features = np.hstack([who + 0.05 * chance.normal(size=who.shape), 5 * np.eye(2)[modality]]).astype(
        np.float32
    )
    person = np.repeat(np.arange(5), 8)
    around = Neighbourhood(8, 1)
    apart, near = (
        distances(encode(features, around, ranking=ranking))
        for ranking in (None, balanced(features, modality, 8))
    )
    same = (person[:, None] == person) & (modality[:, None] != modality)
    others = person[:, None] != person
    assert apart[same].min() == 1
    assert near[same].max() < 0.85 < near[others].min()


@settings(max_examples=15, deadline=None)
@given(count=st.integers(6, 30), seed=st.integers(0, 99), k1=st.integers(4, 12), k2=st.integers(1, 4))
def test_the_distance_is_its_definition_over_balanced_lists(count: int, seed: int, k1: int, k2: int) -> None:
    features = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    modality = np.random.default_rng(seed).integers(0, 2, count)
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    similarity = unit @ unit.T
    ranking = slow_ranking(unit, modality, count)
    near = round(k1 / 2) + 1

    def reciprocal(i: int, length: int) -> set[int]:
        return {j for j in ranking[i][:length] if i in ranking[j][:length]}

    weights = np.zeros((count, count))
    for i in range(count):
        first = reciprocal(i, k1)
        members = set(first)
        for q in first:
            candidate = reciprocal(q, min(near, k1))
            if len(candidate & first) > 2 / 3 * len(candidate):
                members |= candidate
        chosen = sorted(members)
        power = np.exp(-(2 - 2 * similarity[i, chosen]))
        weights[i, chosen] = power / power.sum()
    weights = np.stack([weights[ranking[i][:k2]].mean(0) for i in range(count)]) if k2 > 1 else weights
    least = np.minimum(weights[:, None], weights[None]).sum(2)
    found = distances(encode(features, Neighbourhood(k1, k2), ranking=balanced(features, modality, k1)))
    np.testing.assert_allclose(found, np.maximum(0, 1 - least / (2 - least)), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 30),
    m=st.integers(1, 30),
    k=st.integers(1, 35),
    block=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_the_nearest_among_others_are_those_of_a_full_sort(
    n: int, m: int, k: int, block: int, seed: int
) -> None:
    rows, others = drawn(n, 4, seed)[0], drawn(m, 4, seed + 1)[0]
    found = nearest_among(rows, others, k, block=block)
    assert found.shape == (n, min(k, m))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, others)]
    similarity = unit[0] @ unit[1].T
    np.testing.assert_allclose(
        np.take_along_axis(similarity, found, 1),
        -np.sort(-similarity, axis=1)[:, : found.shape[1]],
        atol=1e-5,
    )
    assert all(len(set(row)) == len(row) for row in found.tolist())


def test_twins_among_others_come_by_index() -> None:
    others = np.tile(np.eye(3, dtype=np.float32), (9, 1))
    found = nearest_among(np.eye(3, dtype=np.float32), others, 4, block=5)
    assert found.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


@pytest.mark.parametrize(("k", "block"), [(0, 8), (3, 0)])
def test_numbers_below_one(k: int, block: int) -> None:
    with pytest.raises(TrainingError, match="expected at least 1 of each"):
        nearest_among(np.ones((5, 3), dtype=np.float32), np.ones((5, 3), dtype=np.float32), k, block=block)
