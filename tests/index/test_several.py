from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index import several
from index.gallery import Enrolment, Gallery
from tests.index.conftest import unit


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
    best, order = several.best_of_any(scores, found, k)
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
