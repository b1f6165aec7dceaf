"""The k-reciprocal Jaccard distance against a slow reading of its definition, its vectors and its laws."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels.jaccard import Neighbourhood, distances, encode, radius_graph, similarities
from training.labels.neighbours import neighbours
from vireid.errors import TrainingError


def circle(*degrees: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)


def drawn(count: int, dim: int, seed: int, people: int = 5) -> np.ndarray:
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(people, dim))
    return (centres[chance.integers(0, people, count)] + 0.8 * chance.normal(size=(count, dim))).astype(
        np.float32
    )


def reference(features: np.ndarray, k1: int, k2: int, original: bool) -> np.ndarray:
    """The definition with sets and double loops, everything N x N."""
    f = features.astype(np.float64)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    count = len(f)
    similarity = f @ f.T
    ranking = []
    for i in range(count):
        others = sorted((j for j in range(count) if j != i), key=lambda j: (-round(similarity[i, j], 12), j))
        ranking.append([i, *others])
    far = k1 + 1 if original else k1
    near = int(np.around(k1 / 2)) + 1

    def reciprocal(i: int, length: int) -> set[int]:
        return {j for j in ranking[i][:length] if i in ranking[j][:length]}

    weights = np.zeros((count, count))
    for i in range(count):
        first = reciprocal(i, far)
        expanded = set(first)
        for q in first:
            candidate = reciprocal(q, near)
            if len(candidate & first) > 2 / 3 * len(candidate):
                expanded |= candidate
        members = sorted(expanded)
        power = np.exp(-(2 - 2 * similarity[i, members]))
        weights[i, members] = power / power.sum()
    if k2 > 1:
        weights = np.stack([weights[ranking[i][:k2]].mean(axis=0) for i in range(count)])
    out = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            least = np.minimum(weights[i], weights[j]).sum()
            out[i, j] = max(0.0, 1 - least / (2 - least))
    return out


def made(features: np.ndarray, k1: int, k2: int, original: bool = False) -> np.ndarray:
    return distances(encode(features, Neighbourhood(k1, k2, original)))


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize(
    ("k1", "k2"), [(1, 1), (2, 2), (3, 1), (3, 2), (4, 3), (5, 5), (6, 2), (10, 3), (15, 6), (30, 6), (70, 6)]
)
def test_it_is_the_definition(k1: int, k2: int, original: bool) -> None:
    for seed, count in ((0, 60), (1, 41)):
        features = drawn(count, 6, seed)
        np.testing.assert_allclose(
            made(features, k1, k2, original), reference(features, k1, k2, original), atol=1e-5
        )


def test_half_of_k1_is_rounded_to_even() -> None:
    assert [Neighbourhood(k1, 1).half for k1 in (1, 2, 3, 5, 7, 30)] == [1, 2, 3, 3, 5, 16]


def test_the_two_conventions_differ_and_meet() -> None:
    features = drawn(60, 6, 3)
    assert Neighbourhood(30).entries == 30
    assert Neighbourhood(30, original=True).entries == 31
    assert np.abs(made(features, 8, 2) - made(features, 8, 2, True)).max() > 0.01
    # k1 of 6 with itself apart looks as far as k1 of 7 with itself; the half lists differ: round(3) and round(3.5)
    with_itself, apart = Neighbourhood(7, 2), Neighbourhood(6, 2, original=True)
    assert with_itself.entries == apart.entries
    assert (with_itself.half, apart.half) == (5, 4)


@pytest.mark.parametrize("k2", [1, 2])
def test_identical_groups(k2: int) -> None:
    features = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    np.testing.assert_allclose(made(features, 3, k2), np.kron(1 - np.eye(2), np.ones((3, 3))), atol=1e-6)


def test_six_points_on_a_circle() -> None:
    points = circle(0, 10, 25, 90, 100, 170)
    encoded = encode(points, Neighbourhood(3, 1))
    np.testing.assert_allclose(encoded.toarray()[0], [0.357245, 0.346554, 0.296201, 0, 0, 0], atol=1e-5)
    apart = distances(encoded)
    expected = {
        (0, 1): 0.049627,
        (0, 2): 0.123285,
        (1, 2): 0.07738,
        (3, 4): 0.214016,
        (3, 5): 0.88175,
        (4, 5): 0.801446,
    }
    for pair, value in expected.items():
        assert apart[pair] == pytest.approx(value, abs=1e-5)
    np.testing.assert_allclose(apart[:3, 3:], 1, atol=1e-6)
    averaged = made(points, 3, 2)
    for pair, value in {(0, 1): 0, (0, 2): 0.063603, (3, 4): 0, (3, 5): 0.565542}.items():
        assert averaged[pair] == pytest.approx(value, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    dim=st.integers(2, 6),
    k1=st.integers(1, 12),
    k2=st.integers(1, 12),
    original=st.booleans(),
    seed=st.integers(0, 10_000),
    twins=st.booleans(),
)
def test_laws(count: int, dim: int, k1: int, k2: int, original: bool, seed: int, twins: bool) -> None:
    features = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    if twins:
        features[count // 2 :] = features[: count - count // 2]
    encoded = encode(features, Neighbourhood(k1, min(k1, k2), original))
    np.testing.assert_allclose(encoded.sum(axis=1), 1, atol=1e-5)
    apart = distances(encoded)
    np.testing.assert_array_equal(apart, apart.T)
    alike = similarities(encoded)
    np.testing.assert_allclose(alike.toarray(), 1 - apart, atol=1e-6)
    assert (alike.data > 0).all()
    assert (alike != alike.T).nnz == 0
    assert alike.has_sorted_indices
    np.testing.assert_array_equal(np.diag(apart), 0)
    assert apart.min() >= 0
    assert apart.max() <= 1
    radius = 0.62
    table = radius_graph(encoded, radius).table
    dense = table.toarray()
    held = np.zeros_like(dense, dtype=bool)
    held[np.repeat(np.arange(count), np.diff(table.indptr)), table.indices] = True
    np.testing.assert_array_equal(held, apart <= np.float32(radius))
    np.testing.assert_array_equal(dense[held], apart[held])


def test_a_ranking_of_ones_own() -> None:
    features = drawn(30, 6, 4)
    ranking = neighbours(features, 10)
    around = Neighbourhood(6, 2)
    own = encode(features, around, ranking=ranking)
    np.testing.assert_array_equal(own.toarray(), encode(features, around).toarray())
    other = ranking.copy()
    other[:, 1:] = other[:, :0:-1]
    assert np.abs(encode(features, around, ranking=other).toarray() - own.toarray()).max() > 0.01
    with pytest.raises(TrainingError, match=r"shape \(30, 3\); expected \(30, 6\) or wider"):
        encode(features, around, ranking=ranking[:, :3])
    with pytest.raises(TrainingError, match="does not begin with each image itself"):
        encode(features, around, ranking=ranking[:, ::-1])


def test_a_graph_of_everything_is_the_dense_table() -> None:
    encoded = encode(drawn(50, 6, 5), Neighbourhood(8, 3))
    graph = radius_graph(encoded, 1.0)
    assert graph.table.nnz == 2500
    np.testing.assert_array_equal(graph.table.toarray(), distances(encoded))
    with pytest.raises(TrainingError, match="radius nan"):
        radius_graph(encoded, float("nan"))


def test_more_pairs_than_room_was_made_for() -> None:
    encoded = encode(np.tile(circle(0, 90), (60, 1)), Neighbourhood(60, 1))
    graph: Any = radius_graph(encoded, 0.5).table
    assert graph.nnz == 2 * 60 * 60
    assert graph.data.max() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("k1", "k2"), [(0, 0), (5, 6), (5, 0)])
def test_neighbourhoods_that_are_none(k1: int, k2: int) -> None:
    with pytest.raises(TrainingError, match=rf"k1 is {k1} and k2 is {k2}; expected 1 <= k2 <= k1"):
        Neighbourhood(k1, k2)
