import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import ranking


@settings(max_examples=60, deadline=None)
@given(dim=st.integers(1, 700), seed=st.integers(0, 10**6), where=st.integers(0, 40))
def test_a_score_does_not_depend_on_its_place(dim: int, seed: int, where: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((41, dim)).astype(np.float32)
    query = random.standard_normal(dim).astype(np.float32)
    vectors[where] = vectors[0]
    scores, ids = ranking.settle(query, vectors, np.arange(41), np.arange(41), 41)
    found = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    alone, _ = ranking.settle(query, vectors, np.array([where]), np.arange(41), 1)
    assert found[where] == found[0] == float(alone[0])


@settings(max_examples=60, deadline=None)
@given(dim=st.sampled_from([8, 64, 512, 2048]), seed=st.integers(0, 10**6), k=st.integers(1, 30))
def test_no_one_who_belongs_to_the_best_is_left_out(dim: int, seed: int, k: int) -> None:
    """Even where single precision orders near twins wrongly, the truly best are among the nominees."""
    random = np.random.default_rng(seed)
    base = random.standard_normal(dim)
    vectors = base + random.standard_normal((200, dim)) * 10.0 ** random.uniform(-8, -4)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    query = vectors[0]
    true = vectors.astype(np.float64) @ query.astype(np.float64)
    rough = (vectors @ query).astype(np.float32)
    nominees = ranking.nominees(rough, k, dim)
    kth = np.sort(true)[-k]
    assert set(np.flatnonzero(true > kth)) | set(np.flatnonzero(true == kth)[:1]) <= set(nominees.tolist())


@pytest.mark.parametrize("k", [1, 40, 3000, 4000])
def test_of_many_nominees_the_best_are_taken(k: int) -> None:
    random = np.random.default_rng(0)
    vectors = np.repeat(random.standard_normal((ranking.MANY, 4)), 3, axis=0).astype(
        np.float32
    )  # all in threes
    query, ids = np.ones(4, np.float32), random.permutation(len(vectors))
    scores, found = ranking.settle(query, vectors, np.arange(len(vectors)), ids, k)
    sums = vectors.astype(np.float64).sum(axis=1).astype(np.float32)
    order = np.lexsort((ids, -sums))[:k]
    np.testing.assert_array_equal(found, ids[order])
    np.testing.assert_allclose(scores, sums[order], rtol=1e-6, atol=1e-6)
