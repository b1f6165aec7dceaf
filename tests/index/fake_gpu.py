"""FAISS's GPU interface on the processor, refusing and misbehaving as the real one does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np

from index.approx import ApproxBackend
from index.faiss_device import Device
from index.faiss_gpu_cells import GpuCells
from index.faiss_gpu_graph import GpuGraph
from index.numbered import Numbered

MOST_HITS = 2048
NO_NODE = 2**32 - 1


class Resources:
    """Belongs to the first thread that uses it; the real one fails without a word."""

    def __init__(self) -> None:
        self.temporary = 0
        self._owner: int | None = None
        self._busy = threading.Lock()

    def setTempMemory(self, count: int) -> None:  # noqa: N802 - FAISS's name
        self.temporary = count

    def enter(self) -> None:
        me = threading.get_ident()
        self._owner = self._owner or me
        assert self._owner == me, "a second thread uses these resources"
        assert self._busy.acquire(blocking=False), "two calls at once"

    def leave(self) -> None:
        self._busy.release()


class OnDevice:
    """What all indexes of a device have in common: one thread, 2048 at once, nothing is taken out."""

    def __init__(self, library: "FakeFaiss", resources: Resources, dim: int) -> None:
        assert resources.temporary > 0
        self._library, self._resources, self.d = library, resources, dim
        library.made.append(self)

    def remove_ids(self, chosen: Any) -> int:
        raise RuntimeError("Error in remove_ids: not implemented for this type of index")

    @contextmanager
    def called(self, rows: np.ndarray | None = None, k: int = 1, most: int = MOST_HITS) -> Iterator[None]:
        if self._library.broken:
            raise RuntimeError("Error in cudaMalloc: out of memory")
        if not 0 < k <= most:
            raise RuntimeError(f"GPU index only supports min/max-K selection up to {most} (requested {k})")
        if rows is not None:
            assert rows.dtype == np.float32
            assert rows.flags.c_contiguous
            assert rows.shape[1] == self.d
        self._resources.enter()
        try:
            yield
        finally:
            self._resources.leave()


class Flat(OnDevice):
    """A flat index in half precision: appends copy all, filters are dropped unless told."""

    def __init__(self, library: "FakeFaiss", resources: Resources, dim: int, settings: Any) -> None:
        assert settings.useFloat16
        super().__init__(library, resources, dim)
        self._rows = np.empty((0, dim), np.float16)

    @property
    def ntotal(self) -> int:
        return len(self._rows)

    def add(self, rows: np.ndarray) -> None:
        with self.called(rows):
            self._library.copied += len(self._rows)
            self._library.adds += 1
            self._rows = np.concatenate([self._rows, rows.astype(np.float16)])

    def reset(self) -> None:
        with self.called():
            self._rows = self._rows[:0]

    def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
        with self.called(queries, k):
            self._library.searches += 1
            scores = queries.astype(np.float16).astype(np.float32) @ self._rows.astype(np.float32).T
            if params is not None and self._library.native:
                scores[:, ~np.unpackbits(params.sel, bitorder="little")[: self.ntotal].astype(bool)] = -np.inf
            return _best(scores, k)


class IvfPq(OnDevice):
    """FAISS's own IVF-PQ on the processor, with the limits of the device's kernels."""

    def __init__(
        self,
        library: "FakeFaiss",
        resources: Resources,
        dim: int,
        cells: int,
        code: int,
        bits: int,
        settings: Any,
    ) -> None:
        super().__init__(library, resources, dim)
        if bits != 8:
            raise RuntimeError(f"Bits per code must be 8 (passed {bits})")
        if code not in (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96) or dim % code:
            raise RuntimeError(
                f"Number of bytes per encoded vector / sub-quantizers ({code}) is not supported"
            )
        if code * 256 * (2 if settings.useFloat16LookupTables else 4) > 49152:
            raise RuntimeError("Device 0 has 49152 bytes of shared memory. Consider useFloat16LookupTables")
        assert not settings.use_cuvs  # whose limits are others
        self._centres = faiss.IndexFlatIP(dim)
        self._codes = faiss.IndexIVFPQ(self._centres, dim, cells, code, bits, faiss.METRIC_INNER_PRODUCT)
        self._codes.cp.min_points_per_centroid = 1
        self._codes.pq.cp.niter = self._codes.cp.niter = (
            library.rounds
        )  # fewer than the device's: the test is to end
        self._codes.pq.cp.max_points_per_centroid = 8
        self.pq = self._codes.pq

    @property
    def ntotal(self) -> int:
        return int(self._codes.ntotal)

    def train(self, rows: np.ndarray) -> None:
        with self.called(rows):
            self._library.trainings += 1
            faiss.omp_set_num_threads(1)
            self._codes.train(rows)

    def add(self, rows: np.ndarray) -> None:
        with self.called(rows):
            if not self._codes.is_trained:
                raise RuntimeError("Index not trained")
            self._codes.add(rows)

    def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
        with self.called(queries, k):
            if not isinstance(params, faiss.SearchParametersIVF):
                raise RuntimeError("GPU IVF index: passed unhandled SearchParameters class")  # noqa: TRY004 - as FAISS does
            if not 0 < params.nprobe <= MOST_HITS:
                raise RuntimeError(f"GPU IVF index only supports nprobe selection up to {MOST_HITS}")
            self._library.searches += 1
            return self._codes.search(queries, k, params=params)


class Cagra(OnDevice):
    """A graph that is made once: whatever is added later is dropped without a word.

    It finds as a graph does: what is near, but for a few, and something else in their place.
    """

    def __init__(self, library: "FakeFaiss", resources: Resources, dim: int, metric: int) -> None:
        super().__init__(library, resources, dim)
        assert metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT)
        self._metric, self._rows = metric, np.empty((0, dim), np.float32)

    @property
    def ntotal(self) -> int:
        return len(self._rows)

    def train(self, rows: np.ndarray) -> None:
        with self.called(rows):
            if not len(self._rows):
                self._library.trainings += 1
                self._rows = rows.copy()

    add = train

    def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
        with self.called(queries, k, 16384):
            assert isinstance(params, SearchParametersCagra), "the real one takes the process with it"
            if k > params.itopk_size:
                raise RuntimeError(f"topk ({k}) must be smaller than itopk_size ({params.itopk_size})")
            self._library.searches += 1
            likeness = queries @ self._rows.T
            if self._metric == faiss.METRIC_L2:
                likeness = 2 * likeness - (self._rows**2).sum(axis=1)
            scores, found = _best(likeness, k)
            missed = np.random.default_rng(3).random(found.shape) < 0.5 / params.itopk_size
            found[missed] = NO_NODE  # as some versions say that there is nobody
            return scores, found


class SearchParametersCagra:
    """What the search of a graph has to be told."""

    itopk_size = 64


def _best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    shuffled = np.random.default_rng(7).permutation(scores.shape[1])  # equal scores come in any order
    order = shuffled[np.argsort(-scores[:, shuffled], axis=1, kind="stable")[:, :k]]
    found = np.take_along_axis(scores, order, axis=1)
    order[np.isneginf(found)] = -1
    missing = ((0, 0), (0, max(k - order.shape[1], 0)))
    return (
        np.pad(found, missing, constant_values=-np.inf),
        np.pad(order, missing, constant_values=-1).astype(np.int64),
    )


class FakeFaiss:
    """The module.

    Args:
        native: whether filters work, as with cuVS.
        gpus: how many there are.
        rounds: of learning centres.
    """

    METRIC_INNER_PRODUCT, METRIC_L2 = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2
    SearchParametersIVF = faiss.SearchParametersIVF
    StandardGpuResources = Resources

    def __init__(self, native: bool = False, gpus: int = 1, rounds: int = 4) -> None:
        self.native, self.gpus, self.rounds, self.broken = native, gpus, rounds, False
        self.adds = self.copied = self.searches = self.trainings = 0
        self.made: list[OnDevice] = []

    def get_num_gpus(self) -> int:
        return self.gpus

    def GpuIndexFlatConfig(self) -> Any:  # noqa: N802
        return SimpleNamespace(device=0, useFloat16=False)

    def GpuIndexFlatIP(self, resources: Resources, dim: int, settings: Any) -> Flat:  # noqa: N802
        return Flat(self, resources, dim, settings)

    def GpuIndexIVFPQConfig(self) -> Any:  # noqa: N802
        return SimpleNamespace(device=0, useFloat16LookupTables=False, use_cuvs=self.native)

    def GpuIndexIVFPQ(  # noqa: N802
        self, resources: Resources, dim: int, cells: int, code: int, bits: int, metric: int, settings: Any
    ) -> IvfPq:
        assert metric == faiss.METRIC_INNER_PRODUCT
        return IvfPq(self, resources, dim, cells, code, bits, settings)

    def IDSelectorBitmap(self, bits: np.ndarray) -> np.ndarray:  # noqa: N802
        assert isinstance(faiss.IDSelectorBitmap(bits), faiss.IDSelector)  # the real one takes it, too
        return bits

    def SearchParameters(self, sel: Any) -> Any:  # noqa: N802
        return SimpleNamespace(sel=sel)


class FakeCuvs(FakeFaiss):
    """The module, built with cuVS."""

    SearchParametersCagra = SearchParametersCagra

    def __init__(self) -> None:
        super().__init__(native=True)

    def GpuIndexCagraConfig(self) -> Any:  # noqa: N802
        return SimpleNamespace(device=0)

    def GpuIndexCagra(self, resources: Resources, dim: int, metric: int, settings: Any) -> Cagra:  # noqa: N802
        assert settings.device == 0
        return Cagra(self, resources, dim, metric)


def gpu_cells(dim: int, library: FakeFaiss | None = None) -> ApproxBackend:
    """Make the backend ``faiss-gpu-ivfpq`` without a GPU."""
    return ApproxBackend(dim, Numbered(GpuCells(dim, Device(library=library or FakeFaiss()))))


def gpu_graph(dim: int, library: FakeFaiss | None = None) -> ApproxBackend:
    """Make the backend ``faiss-gpu-cagra`` without a GPU."""
    return ApproxBackend(dim, Numbered(GpuGraph(dim, Device(library=library or FakeCuvs()))))
