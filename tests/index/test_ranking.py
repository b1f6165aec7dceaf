from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import ranking
from index.gallery import Enrolment, Gallery
from tests.index.conftest import unit


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


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), queries=st.integers(1, 5), k=st.integers(1, 12))
def test_of_several_queries_every_id_counts_with_its_best(seed: int, queries: int, k: int) -> None:
    """Against a dictionary; few different scores, so that many are equal."""
    random = np.random.default_rng(seed)
    table = random.integers(-3, 4, (queries, 12)).astype(np.float32) / 4
    ids = random.permutation(40)[:12].astype(np.int64)
    rows = [np.lexsort((ids, -row))[:k] for row in table]
    scores, found = (
        np.stack([part[at] for part, at in zip(of, rows, strict=True)]) for of in (table, [ids] * queries)
    )
    best, order = ranking.best_of_any(scores, found, k)
    expected = sorted(zip((-table.max(axis=0)).tolist(), ids.tolist(), strict=True))[:k]
    assert [(-score, one) for score, one in zip(best[0].tolist(), order[0].tolist(), strict=True)] == expected


def test_equal_scores_of_several_queries_come_in_the_order_of_enrolment(
    gallery: Gallery, enrolment: Callable[..., Enrolment]
) -> None:
    vector, other = unit("all"), unit("other")
    gallery.enroll([enrolment(item_id, vector=vector) for item_id in ("z", "a", "m")])
    for k in (1, 2, 3):
        (found,) = gallery.search(np.stack([other, vector]), k, together=True)
        assert [hit.item.item_id for hit in found.hits] == ["z", "a", "m"][:k]
        assert [hit.rank for hit in found.hits] == [1, 2, 3][:k]
    assert gallery.search(np.empty((0, 16), np.float32), 3, together=True) == []
