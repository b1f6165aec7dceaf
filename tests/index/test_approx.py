"""Approximate search: how many it finds, what it never gets wrong, and when it is exact after all."""

import numpy as np
import pytest

from index import approx
from index.approx import ApproxBackend
from index.backends import APPROXIMATE, BACKENDS, NEEDS_GPU
from index.scan import ScanBackend
from tests.index.fake_gpu import gpu_cells, gpu_graph
from vireid.arrays import Float32Array, Int64Array

COUNT, DIM, PERSONS = 12_000, 32, 1200


def drawn(count: int, seed: int, persons: int = PERSONS) -> Float32Array:
    """Unit rows around their persons, ten of each."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((persons, DIM))
    rows = centres[np.arange(count) % persons] + 0.5 * random.standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


MAKERS = {"gpu cells": gpu_cells, "gpu graph": gpu_graph} | {name: BACKENDS[name] for name in APPROXIMATE}
GPU = [pytest.param(name, marks=pytest.mark.gpu) for name in sorted(APPROXIMATE & NEEDS_GPU)]


def filled(name: str, ids: Int64Array, vectors: Float32Array) -> ApproxBackend:
    backend = MAKERS[name](vectors.shape[1])
    assert isinstance(backend, ApproxBackend)
    for start in range(0, len(ids), 4000):
        backend.add(ids[start : start + 4000], vectors[start : start + 4000])
    return backend


def recall(found: Int64Array, true: Int64Array) -> float:
    return float(
        np.mean([len(set(a.tolist()) & set(b.tolist())) / len(b) for a, b in zip(found, true, strict=True)])
    )


@pytest.fixture(scope="module", params=[*sorted(MAKERS.keys() - NEEDS_GPU), *GPU])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pair(name: str) -> tuple[ApproxBackend, ScanBackend]:
    """A backend that has grown and lost a third, beside one that is exact."""
    random = np.random.default_rng(4)
    vectors, ids = drawn(COUNT + 6000, 1), random.permutation(COUNT + 6000).astype(np.int64)
    backend, exact = filled(name, ids, vectors), ScanBackend(DIM)
    exact.add(ids, vectors)
    gone = random.choice(ids, 6000, replace=False)
    assert backend.remove(gone) == exact.remove(gone) == 6000
    assert backend.effort is not None
    return backend, exact


@pytest.mark.parametrize("k", [1, 10, 60])
def test_most_are_found_and_scores_are_true(pair: tuple[ApproxBackend, ScanBackend], k: int) -> None:
    backend, exact = pair
    queries = drawn(50, 2)
    scores, ids = backend.search(queries, k)
    _, expected = exact.search(queries, k)
    assert scores.shape == ids.shape == (50, k)
    assert recall(ids, expected) > 0.9
    for query, row_scores, row_ids in zip(queries, scores, ids, strict=True):
        true = exact.vectors(row_ids).astype(np.float64) @ query.astype(np.float64)
        np.testing.assert_allclose(row_scores, true, atol=1e-6)
        assert list(zip(-row_scores, row_ids, strict=True)) == sorted(zip(-row_scores, row_ids, strict=True))


def test_the_work_is_less(pair: tuple[ApproxBackend, ScanBackend]) -> None:
    backend, _ = pair
    assert backend.effort is not None
    near = backend._nearby.rows(drawn(20, 2), 10, backend.effort)
    assert np.mean([len(rows) for rows in near]) < COUNT / 4
    assert all(len(np.unique(rows)) == len(rows) for rows in near)


def test_a_filter_is_kept(pair: tuple[ApproxBackend, ScanBackend]) -> None:
    backend, exact = pair
    queries = drawn(20, 3)
    held = np.sort(exact.search(queries[:1], COUNT)[1][0])
    most = held[np.arange(COUNT) % 6 != 0]
    found = backend.search(queries, 10, most)[1]
    assert np.isin(found, most).all()
    assert recall(found, exact.search(queries, 10, most)[1]) > 0.85


@pytest.mark.parametrize("share", [0.0005, 0.05, 0.25])
def test_selective_filters_are_exact(pair: tuple[ApproxBackend, ScanBackend], share: float) -> None:
    backend, exact = pair
    queries = drawn(9, 3)
    held = np.sort(exact.search(queries[:1], COUNT)[1][0])
    allow = np.random.default_rng(1).choice(held, int(COUNT * share), replace=False)
    for own, true in zip(backend.search(queries, 10, allow), exact.search(queries, 10, allow), strict=True):
        np.testing.assert_array_equal(own, true)


def test_many_hits_are_exact(pair: tuple[ApproxBackend, ScanBackend]) -> None:
    backend, exact = pair
    for own, true in zip(backend.search(drawn(2, 3), 500), exact.search(drawn(2, 3), 500), strict=True):
        np.testing.assert_array_equal(own, true)


def test_where_nobody_is_near_search_stays_exact() -> None:
    """Vectors without any order: no few cells hold the nearest, which is measured and not hoped."""
    random = np.random.default_rng(5)
    vectors = random.standard_normal((approx.LEAST_ROWS, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    backend, exact = filled("ivf", np.arange(len(vectors)), vectors), ScanBackend(128)
    assert backend.effort is None
    exact.add(np.arange(len(vectors)), vectors)
    np.testing.assert_array_equal(backend.search(vectors[:5], 10)[1], exact.search(vectors[:5], 10)[1])


def test_what_went_is_never_found(name: str) -> None:
    """Down to nobody, through every rebuilding, and up again."""
    vectors, ids = drawn(COUNT, 1), np.arange(COUNT)
    backend = filled(name, ids, vectors)
    random = np.random.default_rng(2)
    left = random.permutation(ids)
    for many in (11_500, 5000, 3000, 5, 0):
        gone, left = left[many:], left[:many]
        assert backend.remove(gone) == len(gone)
        found = backend.search(vectors[:40], 10)[1]
        assert found.shape == (40, min(10, many))
        assert np.isin(found, left).all()
    backend.add(ids + COUNT, vectors)
    scores, found = backend.search(vectors[:40], 1)
    assert (found[:, 0] == np.arange(40) + COUNT).mean() > 0.9
    assert (scores <= 1 + 1e-5).all()
