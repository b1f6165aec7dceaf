"""Approximate search on a GPU: what is refused, what is asked of the device and when, against fakes that fail alike."""

from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from index.approx import LEAST_ROWS, ApproxBackend
from index.backends import BACKENDS
from index.faiss_device import Device
from index.faiss_gpu_cells import GpuCells
from index.faiss_gpu_graph import GpuGraph
from index.scan import ScanBackend
from tests.index.fake_gpu import FakeCuvs, FakeFaiss, IvfPq, gpu_cells, gpu_graph
from vireid.arrays import Float32Array
from vireid.errors import EngineError, ProviderUnavailable

DIM, COUNT = 32, LEAST_ROWS + 200


def drawn(count: int, seed: int = 1) -> Float32Array:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((1200, DIM))
    rows = centres[np.arange(count) % 1200] + 0.5 * random.standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def cells() -> tuple[ApproxBackend, FakeFaiss]:
    library = FakeFaiss()
    backend = gpu_cells(DIM, library)
    backend.add(np.arange(COUNT), drawn(COUNT))
    return backend, library


@pytest.fixture
def graph() -> tuple[ApproxBackend, FakeFaiss]:
    library = FakeCuvs()
    backend = gpu_graph(DIM, library)
    backend.add(np.arange(COUNT), drawn(COUNT))
    return backend, library


def test_without_cuvs_there_is_no_graph() -> None:
    with pytest.raises(ProviderUnavailable, match=r"without cuVS.*faiss-gpu-cuvs"):
        GpuGraph(DIM, Device(library=FakeFaiss()))


@pytest.mark.parametrize("name", ["faiss-gpu-ivfpq", "faiss-gpu-cagra"])
def test_without_a_gpu_it_is_refused(name: str) -> None:
    if not hasattr(faiss, "StandardGpuResources"):
        with pytest.raises(ProviderUnavailable, match="built for CPUs"):
            BACKENDS[name](DIM)
    with pytest.raises(ProviderUnavailable, match="finds 0 GPUs"):
        Device(library=FakeFaiss(gpus=0))


@pytest.mark.parametrize(("dim", "code"), [(512, 64), (2048, 64), (384, 96), (768, 96), (100, 20), (17, 1)])
def test_the_longest_code_that_the_device_takes(dim: int, code: int) -> None:
    library = FakeFaiss(rounds=1)
    GpuCells(dim, Device(library=library))
    made = library.made[0]
    assert isinstance(made, IvfPq)
    assert code == made.pq.M


class Blind(IvfPq):
    def search(self, queries: np.ndarray, k: int, params: object = None) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(queries), k), np.float32), np.full((len(queries), k), -1)


def test_a_device_that_finds_nothing_is_not_used() -> None:
    library = FakeFaiss(rounds=1)
    library.GpuIndexIVFPQ = lambda *given: Blind(library, *given[:5], given[6])  # type: ignore[method-assign, call-arg, arg-type]
    with pytest.raises(EngineError, match="does not find 4 of 4"):
        gpu_cells(DIM, library)


@pytest.mark.parametrize("kind", ["cells", "graph"])
def test_the_device_is_asked_once_for_many_queries(kind: str, request: pytest.FixtureRequest) -> None:
    backend, library = request.getfixturevalue(kind)
    assert backend.effort is not None
    before = library.searches
    backend.search(drawn(64, 2), 10)
    assert library.searches == before + 1
    backend.search(drawn(2, 2), 10, np.arange(50))  # few pass: exact, without it
    assert library.searches == before + 1


@pytest.mark.parametrize("kind", ["cells", "graph"])
def test_what_comes_later_is_found_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    backend, library = request.getfixturevalue(kind)
    made, late = library.trainings, drawn(300, 9)
    for start in range(0, 300, 50):
        backend.add(np.arange(COUNT + start, COUNT + start + 50), late[start : start + 50])
    assert library.trainings == made
    assert (backend.search(late, 1)[1][:, 0] == np.arange(COUNT, COUNT + 300)).mean() > 0.99


def test_a_graph_is_made_anew_of_a_twentieth_more(graph: tuple[ApproxBackend, FakeFaiss]) -> None:
    backend, library = graph
    made = library.trainings
    backend.add(np.arange(COUNT, COUNT + 520), drawn(520, 9))
    assert library.trainings == made + 1
    assert library.made[-1].ntotal == COUNT + 520


def test_centres_are_learnt_anew_of_twice_as_many(cells: tuple[ApproxBackend, FakeFaiss]) -> None:
    backend, library = cells
    made = library.trainings
    backend.add(np.arange(COUNT, 2 * COUNT - 1), drawn(COUNT - 1, 9))
    assert library.trainings == made
    backend.add(np.array([2 * COUNT]), drawn(1, 10))
    assert library.trainings == made + 1


def test_codes_alone_would_not_do(cells: tuple[ApproxBackend, FakeFaiss]) -> None:
    """Who is named is scored again: the order is that of exact search wherever the same are found."""
    backend, _ = cells
    exact = ScanBackend(DIM)
    exact.add(np.arange(COUNT), drawn(COUNT))
    queries = drawn(40, 3)
    scores, ids = backend.search(queries, 10)
    true_scores, true = exact.search(queries, 10)
    same = (ids == true).all(axis=1)
    assert same.mean() > 0.5
    np.testing.assert_array_equal(scores[same], true_scores[same])


@pytest.mark.parametrize("kind", ["cells", "graph"])
def test_callers_in_many_threads_take_turns(kind: str, request: pytest.FixtureRequest) -> None:
    backend, _ = request.getfixturevalue(kind)
    asked = [drawn(3, seed) for seed in range(6)]
    alone = [backend.search(queries, 5)[1] for queries in asked]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda queries: backend.search(queries, 5)[1], asked * 3))
    for own, found in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(own, found)


@pytest.mark.parametrize("kind", ["cells", "graph"])
def test_a_gpu_that_fails_is_said(kind: str, request: pytest.FixtureRequest) -> None:
    backend, library = request.getfixturevalue(kind)
    library.broken = True
    with pytest.raises(EngineError, match="out of memory"):
        backend.search(drawn(1), 1)
