import numpy as np
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


def test_many_nominees_are_scored_in_blocks() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((3 * ranking.BLOCK + 5, 4)).astype(np.float32)
    query = np.ones(4, np.float32)
    everywhere = np.arange(len(vectors))
    scores, ids = ranking.settle(query, vectors, everywhere, everywhere, len(vectors))
    np.testing.assert_allclose(scores, vectors[ids].sum(axis=1), rtol=1e-5, atol=1e-6)
    assert sorted(ids.tolist()) == list(range(len(vectors)))
