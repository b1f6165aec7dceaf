"""The contract of ``index.backend``, over every backend, against a slow reference written here."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.backend import Backend, Roomy
from index.backends import BACKENDS, NEEDS_GPU
from index.faiss_gpu import GpuBackend
from tests.index.fake_gpu import FakeFaiss, gpu_cells, gpu_graph
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import EmbeddingNotFinite

Make = Callable[[int], Backend]
DIM = 8
# those that may miss somebody miss nobody in galleries as small as these
MAKERS: dict[str, Make] = {name: BACKENDS[name] for name in sorted(BACKENDS.keys() - NEEDS_GPU)} | {
    "gpu without filters": lambda dim: GpuBackend(dim, late=3, library=FakeFaiss()),
    "gpu with filters": lambda dim: GpuBackend(dim, late=3, library=FakeFaiss(native=True)),
    "gpu cells": lambda dim: gpu_cells(dim, FakeFaiss(rounds=1)),
    "gpu graph": gpu_graph,
}
GPU = [pytest.param(name, marks=pytest.mark.gpu) for name in sorted(NEEDS_GPU)]


@pytest.fixture(params=[*MAKERS, *GPU])
def make(request: pytest.FixtureRequest) -> Make:
    return (BACKENDS | MAKERS)[request.param]


def rows(seed: int, count: int, dim: int = DIM, distinct: int | None = None) -> Float32Array:
    """Unit rows; with ``distinct``, so few different ones that ties are everywhere."""
    random = np.random.default_rng(seed)
    found = random.standard_normal((count if distinct is None else distinct, dim)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found if distinct is None else found[random.integers(0, distinct, count)]


class Reference:
    """A dictionary, asked by going through all of it."""

    def __init__(self) -> None:
        self.held: dict[int, Float32Array] = {}

    def search(self, query: Float32Array, k: int, allow: Int64Array | None) -> list[tuple[float, int]]:
        scored = []
        for key, row in self.held.items():
            if allow is None or key in allow:
                score = np.float32(sum(float(a) * float(b) for a, b in zip(query, row, strict=True)))
                scored.append((-float(score), key))
        return [(-score, key) for score, key in sorted(scored)[:k]]


def agree(
    backend: Backend,
    reference: Reference,
    queries: Float32Array,
    k: int,
    allow: Int64Array | None,
    few: bool,
) -> None:
    scores, ids = backend.search(queries, k, allow)
    assert scores.shape == ids.shape
    assert scores.dtype == np.float32
    assert ids.dtype == np.int64
    for query, row_scores, row_ids in zip(queries, scores, ids, strict=True):
        expected = reference.search(query, k, allow)
        assert len(row_ids) == len(expected)
        np.testing.assert_allclose(row_scores, [score for score, _ in expected], atol=1e-6)
        if few:  # equal vectors tie to the last bit, others are far apart: one answer is right
            assert row_ids.tolist() == [key for _, key in expected]
        # else the reference adds up in another order, and within its rounding either order is right
        assert list(zip(-row_scores, row_ids, strict=True)) == sorted(zip(-row_scores, row_ids, strict=True))
        own = [
            float(reference.held[int(key)].astype(np.float64) @ query.astype(np.float64)) for key in row_ids
        ]
        np.testing.assert_allclose(row_scores, own, atol=1e-6)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(-5, 60), unique=True, max_size=30)),
        st.tuples(st.just("remove"), st.lists(st.integers(-5, 60), max_size=30)),
        st.tuples(st.just("search"), st.none() | st.lists(st.integers(-5, 70), max_size=40)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", list(MAKERS))
@settings(max_examples=150, deadline=None)
@given(
    steps=steps, k=st.integers(1, 80), queries=st.integers(1, 5), seed=st.integers(0, 9), few=st.booleans()
)
def test_history(name: str, steps: list, k: int, queries: int, seed: int, few: bool) -> None:
    """After any adds and removals every search agrees with the dictionary."""
    backend, reference = MAKERS[name](DIM), Reference()
    pool = rows(seed, 66, distinct=4 if few else None)
    asked = np.concatenate([pool[:queries], rows(seed + 1, queries)])[:queries]
    for what, some in [*steps, ("search", None)]:
        if what == "add":
            ids = np.array([one for one in some if one not in reference.held], np.int64)
            backend.add(ids, pool[ids + 5])
            reference.held.update({int(one): pool[one + 5] for one in ids})
        elif what == "remove":
            held = {one for one in some if one in reference.held}
            assert backend.remove(np.array(some, np.int64)) == len(held)
            for one in held:
                del reference.held[one]
        else:
            allow = None if some is None else np.array(some, np.int64)
            agree(backend, reference, asked, k, allow, few)
        assert len(backend) == len(reference.held)
    keys = np.array(list(reference.held), np.int64)
    np.testing.assert_array_equal(
        backend.vectors(keys), np.array(list(reference.held.values()), np.float32).reshape(-1, DIM)
    )


def test_extreme_ids(make: Make) -> None:
    """Ids are not rows: any int64 comes back as it went in."""
    ids = np.array([2**63 - 1, -5, 0, 2**53 + 1, -(2**63)], np.int64)
    backend = make(DIM)
    backend.add(ids, rows(3, 5))
    for at, one in enumerate(ids):
        _, found = backend.search(rows(3, 5)[at : at + 1], 1)
        assert found.tolist() == [[one]]


@pytest.mark.parametrize("share", [0.0, 0.004, 0.3, 0.9])
@pytest.mark.parametrize("count", [1, 3])
def test_ties_at_the_last_place(make: Make, share: float, count: int) -> None:
    """Of equal vectors the smallest ids are found, wherever they lie, whoever is allowed."""
    random = np.random.default_rng(5)
    ids = random.permutation(2000).astype(np.int64)
    vectors = rows(6, 2000, dim=64)
    alike = random.choice(2000, 300, replace=False)
    vectors[alike] = vectors[alike[0]]
    allow = (
        None
        if share == 0
        else np.sort(random.choice(2000, int(2000 * share), replace=False)).astype(np.int64)
    )
    backend = make(64)
    backend.add(ids, vectors)
    tied = np.sort(ids[alike] if allow is None else np.intersect1d(ids[alike], allow))
    queries = np.repeat(vectors[alike[:1]], count, axis=0)
    for k in (1, 7, 100):
        scores, found = backend.search(queries, k, allow)
        for row in range(count):
            np.testing.assert_array_equal(found[row][: len(tied)], tied[:k])
            assert len(set(scores[row][: len(tied)])) <= 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 50), size=st.integers(1, 400), twins=st.booleans())
def test_backends_agree_to_the_bit(seed: int, k: int, size: int, twins: bool) -> None:
    """Every backend gives the very same scores and ids; a batch gives what each query gives alone."""
    random = np.random.default_rng(seed)
    vectors = rows(seed, size, dim=96)
    if twins:  # nearly tied: apart by less than single precision can order
        vectors[1:] = vectors[0] + random.standard_normal((size - 1, 96)).astype(np.float32) * 1e-7
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = random.permutation(size).astype(np.int64)
    allow = ids[random.random(size) < random.random()]
    queries = np.concatenate([vectors[:2], rows(seed + 1, 2, dim=96)])
    answers = []
    for name, maker in MAKERS.items():
        backend = maker(96)
        backend.add(ids, vectors)
        for one in (None, allow):
            together = backend.search(queries, k, one)
            alone = [backend.search(query[None], k, one) for query in queries]
            np.testing.assert_array_equal(together[0], np.concatenate([scores for scores, _ in alone]))
            np.testing.assert_array_equal(together[1], np.concatenate([found for _, found in alone]))
            answers.append((name, one is None, *together))
    for _, whole, scores, found in answers:
        first = next(answer for answer in answers if answer[1] == whole)
        np.testing.assert_array_equal(scores, first[2])
        np.testing.assert_array_equal(found, first[3])


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_crowd_around_the_query(make: Make, share: float) -> None:
    """Nearly the whole gallery within a rounding of the query: no bound leaves anybody out, and order still holds."""
    random = np.random.default_rng(8)
    vectors = rows(7, 6000, dim=32)
    vectors[: len(vectors) - 20] = vectors[0] + random.standard_normal((5980, 32)).astype(np.float32) * 1e-6
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = random.permutation(6000).astype(np.int64)
    allow = None if not share else np.sort(random.choice(ids, int(6000 * share), replace=False))
    backend = make(32)
    backend.add(ids, vectors)
    passes = np.ones(6000, np.bool_) if allow is None else np.isin(ids, allow)
    scores, found = backend.search(vectors[:2], 300, allow)
    for query, row_scores, row_ids in zip(vectors[:2], scores, found, strict=True):
        true = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        best = np.lexsort((ids[passes], -true[passes]))[:300]
        np.testing.assert_allclose(row_scores, true[passes][best], atol=1e-6)
        own = {int(one): score for one, score in zip(ids, true, strict=True)}
        assert min(own[int(one)] for one in row_ids) >= true[passes][best][-1] - 1e-6
        assert np.isin(row_ids, ids[passes]).all()


def test_searches_side_by_side_agree(make: Make) -> None:
    vectors, backend = rows(9, 3000, dim=64), make(64)
    backend.add(np.arange(3000), vectors)
    asked = [rows(seed, 3, dim=64) for seed in range(6)]
    alone = [backend.search(queries, 20, np.arange(0, 3000, 3)) for queries in asked]
    with ThreadPoolExecutor(6) as threads:
        together = list(
            threads.map(lambda queries: backend.search(queries, 20, np.arange(0, 3000, 3)), asked * 4)
        )
    for (scores, ids), (own_scores, own_ids) in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(scores, own_scores)
        np.testing.assert_array_equal(ids, own_ids)


def test_a_filter_changes_no_score(make: Make) -> None:
    vectors, backend = rows(1, 500, dim=64), make(64)
    backend.add(np.arange(500), vectors)
    scores, ids = backend.search(vectors[:1], 500)
    known = dict(zip(ids[0].tolist(), scores[0].tolist(), strict=True))
    for step in (2, 7, 200):
        scores, ids = backend.search(vectors[:1], 500, np.arange(0, 500, step))
        assert [known[one] for one in ids[0].tolist()] == scores[0].tolist()


def test_never_padded(make: Make) -> None:
    backend = make(DIM)
    for allow in (None, np.array([], np.int64)):
        scores, ids = backend.search(rows(1, 3), 5, allow)
        assert scores.shape == ids.shape == (3, 0)
    backend.add(np.arange(4), rows(2, 4))
    assert backend.search(rows(1, 2), 1000)[1].shape == (2, 4)
    assert backend.search(rows(1, 2), 1000, np.array([2, 3, 99]))[1].shape == (2, 2)
    assert backend.search(rows(1, 1), 1000, np.array([99]))[1].shape == (1, 0)
    assert backend.search(rows(1, 0), 5)[1].shape == (0, 4)


def test_refusals_change_nothing(make: Make) -> None:
    backend = make(DIM)
    backend.add(np.array([1, 2]), rows(1, 2))
    bad = rows(1, 2)
    bad[1, 3] = np.nan
    with pytest.raises(ValueError, match="held already"):
        backend.add(np.array([3, 2]), rows(1, 2))
    with pytest.raises(ValueError, match="twice"):
        backend.add(np.array([3, 3]), rows(1, 2))
    with pytest.raises(ValueError, match="expected"):
        backend.add(np.array([3]), rows(1, 1, dim=DIM + 1))
    with pytest.raises(ValueError, match="expected"):
        backend.add(np.array([3, 4]), rows(1, 1))
    with pytest.raises(EmbeddingNotFinite):
        backend.add(np.array([3, 4]), bad)
    for value in (np.nan, np.inf):
        bad[1, 3] = value
        with pytest.raises(EmbeddingNotFinite, match="1 of 2"):
            backend.search(bad, 1)
    with pytest.raises(ValueError, match="not held"):
        backend.vectors(np.array([1, 3]))
    with pytest.raises(ValueError, match="not held"):
        make(DIM).vectors(np.array([1]))
    assert len(backend) == 2
    assert sorted(backend.search(rows(1, 1), 9)[1][0].tolist()) == [1, 2]


@pytest.mark.parametrize("count", [3, 400])
def test_what_was_added_is_the_backends_own(make: Make, count: int) -> None:
    """Whoever adds may use the arrays again at once: neither vectors, ids, scores nor order change with them."""
    backend, given, ids = make(64), np.empty((count, 64), np.float32), np.empty(count, np.int64)
    held = rows(5, 2 * count, dim=64)
    for start in (0, count):  # as a cache is read: part after part into the same memory
        given[:], ids[:] = held[start : start + count], np.arange(start, start + count)
        backend.add(ids, given)
    queries = held[:: count // 3].copy()
    before = backend.search(queries, 2 * count), backend.search(queries, 5, np.arange(0, 2 * count, 2))
    given[:], ids[:] = rows(6, count, dim=64), -1
    np.testing.assert_array_equal(backend.vectors(np.arange(2 * count)), held)
    after = backend.search(queries, 2 * count), backend.search(queries, 5, np.arange(0, 2 * count, 2))
    for old, new in zip((*before[0], *before[1]), (*after[0], *after[1]), strict=True):
        np.testing.assert_array_equal(old, new)
    got = backend.vectors(np.arange(3))
    got[:] = 0  # and what it gave away is the caller's
    np.testing.assert_array_equal(backend.vectors(np.arange(3)), held[:3])


def test_room_that_was_made_changes_nothing(make: Make) -> None:
    backend = make(DIM)
    if isinstance(backend, Roomy):
        backend.expect(300)
    backend.add(np.arange(200), rows(1, 200))
    if isinstance(backend, Roomy):
        backend.expect(150)
    backend.add(np.arange(200, 400), rows(2, 200))
    held = np.concatenate([rows(1, 200), rows(2, 200)])
    np.testing.assert_array_equal(backend.vectors(np.arange(400)), held)
    best = (held.astype(np.float64) @ held[::40].astype(np.float64).T).argmax(axis=0)
    assert len(backend) == 400
    np.testing.assert_array_equal(backend.search(held[::40], 1)[1][:, 0], best)
