"""What the GPU backend adds to FAISS's: against a fake that misbehaves as the real one does, and the real one."""

import threading

import faiss
import numpy as np
import pytest

from index import faiss_gpu
from index.faiss_gpu import GpuBackend
from index.scan import ScanBackend
from tests.index.fake_gpu import FakeFaiss
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import EngineError, ProviderUnavailable

DIM = 48


def rows(count: int, seed: int = 1, dim: int = DIM) -> Float32Array:
    found = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def pair(fake: FakeFaiss, vectors: Float32Array, late: int = 0) -> tuple[GpuBackend, ScanBackend]:
    backend = GpuBackend(vectors.shape[1], late=late, library=fake)
    exact = ScanBackend(vectors.shape[1])
    for one in (backend, exact):
        one.add(np.arange(len(vectors)), vectors)
    return backend, exact


def same(
    backend: GpuBackend,
    exact: ScanBackend,
    queries: Float32Array,
    k: int,
    allow: Int64Array | None = None,
) -> None:
    for own, true in zip(backend.search(queries, k, allow), exact.search(queries, k, allow), strict=True):
        np.testing.assert_array_equal(own, true)


@pytest.mark.parametrize("native", [False, True])
def test_filters_are_tried_before_they_are_trusted(native: bool) -> None:
    fake = FakeFaiss(native)
    backend, exact = pair(fake, rows(3000))
    assert backend.native_filters is native
    random = np.random.default_rng(0)
    for share in (0.9, 0.3, 0.02, 0.001):
        allow = np.sort(random.choice(3000, int(3000 * share), replace=False))
        same(backend, exact, rows(5, 2), 10, allow)


def test_a_filter_that_fails_is_not_used() -> None:
    fake = FakeFaiss(native=True)
    fake.SearchParameters = lambda sel: (_ for _ in ()).throw(RuntimeError("no filters here"))  # type: ignore[method-assign]
    backend, exact = pair(fake, rows(300))
    assert not backend.native_filters
    same(backend, exact, rows(5, 2), 10, np.arange(0, 300, 2))


def test_the_device_answers_where_it_can() -> None:
    """Not by way of the host: every query, also with a filter that lets half pass, with late rows and dead ones."""
    fake = FakeFaiss()
    backend, exact = pair(fake, rows(4000), late=50)
    asked: list[int] = []
    backend._stock.search = lambda queries, k, chosen: (
        asked.append(len(chosen)) or exact._stock.search(queries, k, chosen)
    )  # type: ignore[method-assign]
    before = fake.searches
    same(backend, exact, rows(30, 2), 10)
    same(backend, exact, rows(30, 2), 10, np.arange(0, 4000, 2))
    assert fake.searches == before + 2
    assert not asked
    backend.add(np.arange(4000, 4040), rows(40, 3))
    exact.add(np.arange(4000, 4040), rows(40, 3))
    backend.remove(np.arange(100, 300))
    exact.remove(np.arange(100, 300))
    same(backend, exact, rows(30, 2), 10)
    assert set(asked) == {40}  # the host looked at what has not gone to the device, and at nothing else


def test_small_adds_do_not_copy_the_gallery() -> None:
    fake = FakeFaiss()
    backend = GpuBackend(DIM, late=500, library=fake)
    vectors = rows(5000)
    for start in range(0, 5000, 50):
        backend.add(np.arange(start, start + 50), vectors[start : start + 50])
    assert fake.copied == 0  # an add to an index that holds something copies all of it
    assert fake.adds <= 1 + 5000 // 500
    assert 5000 - 500 <= backend.on_device <= 5000


def test_the_dead_go_when_they_are_many() -> None:
    fake = FakeFaiss()
    backend, exact = pair(fake, rows(4000))
    random = np.random.default_rng(3)
    gone = random.permutation(4000)
    for start in range(0, 3990, 190):
        some = gone[start : start + 190]
        assert backend.remove(some) == exact.remove(some) == len(some)
        assert backend.on_device - len(backend) <= faiss_gpu.MOST_DEAD
        same(backend, exact, rows(3, 2), 10)
    assert len(backend) == len(exact) == 10
    backend.remove(gone)
    assert len(backend) == 0
    assert backend.search(rows(2, 2), 3)[1].shape == (2, 0)


def test_more_hits_than_the_device_gives() -> None:
    backend, exact = pair(FakeFaiss(), rows(6000))
    for k in (1500, 1600, 2048, 2049, 6000):
        same(backend, exact, rows(2, 2), k)


def test_where_half_precision_cannot_tell_the_host_does() -> None:
    vectors = rows(5000)
    vectors[:4000] = vectors[0] + rows(4000, 5) * 1e-5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    backend, exact = pair(FakeFaiss(), vectors)
    same(backend, exact, vectors[[0, 4500]], 10)


def test_callers_in_many_threads_take_turns() -> None:
    backend, exact = pair(FakeFaiss(), rows(2000))
    failures: list[Exception] = []

    def ask(seed: int) -> None:
        try:
            for _ in range(10):
                same(backend, exact, rows(3, seed), 5)
        except (AssertionError, EngineError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_slack_bounds_half_precision() -> None:
    random = np.random.default_rng(9)
    for dim in (2, 64, 2048):
        spread = 10.0 ** random.uniform(-6, 0, (400, dim))
        vectors = (random.standard_normal((400, dim)) * spread).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        half = vectors.astype(np.float16).astype(np.float32)
        off = np.abs(half @ half.T - vectors.astype(np.float64) @ vectors.astype(np.float64).T).max()
        assert 2 * off <= faiss_gpu.slack(dim)


def test_no_gpu_is_said() -> None:
    with pytest.raises(ProviderUnavailable, match="finds 0 GPUs"):
        GpuBackend(DIM, library=FakeFaiss(gpus=0))
    with pytest.raises(ProviderUnavailable, match="number 1 is asked for"):
        GpuBackend(DIM, device=1, library=FakeFaiss())
    if not hasattr(faiss, "StandardGpuResources"):
        with pytest.raises(ProviderUnavailable, match="built for CPUs"):
            GpuBackend(DIM)


def test_a_gpu_that_fails_is_said() -> None:
    fake = FakeFaiss()
    backend, _ = pair(fake, rows(100))
    fake.broken = True
    with pytest.raises(EngineError, match="out of memory"):
        backend.search(rows(1), 1)


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    """Adds, removals, filters and searches mixed, against exact search on the processor."""
    backend, exact = GpuBackend(256, late=5000), ScanBackend(256)
    random = np.random.default_rng(1)
    vectors = rows(60_000, dim=256)
    held = np.empty(0, np.int64)
    for step in range(30):
        new = np.arange(step * 2000, (step + 1) * 2000)
        for one in (backend, exact):
            one.add(new, vectors[new])
        held = np.concatenate([held, new])
        gone, held = np.split(random.permutation(held), [300])
        assert backend.remove(gone) == exact.remove(gone) == 300
        queries = rows(int(random.integers(1, 80)), 100 + step, 256)
        same(backend, exact, queries, int(random.integers(1, 1000)))
        share = random.random()
        same(backend, exact, queries, 10, held[random.random(len(held)) < share])
