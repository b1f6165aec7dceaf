"""FAISS's GPU interface on the processor, refusing and misbehaving as the real one does."""

import threading
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np

MOST_HITS = 2048


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


class Flat:
    """A flat index in half precision: appends copy all, nothing is taken out, filters are dropped unless told."""

    def __init__(self, library: "FakeFaiss", resources: Resources, dim: int, settings: Any) -> None:
        assert settings.useFloat16
        assert resources.temporary > 0
        self._library, self._resources, self.d = library, resources, dim
        self._rows = np.empty((0, dim), np.float16)
        library.made.append(self)

    @property
    def ntotal(self) -> int:
        return len(self._rows)

    def add(self, rows: np.ndarray) -> None:
        self._called(rows)
        try:
            self._library.copied += len(self._rows)
            self._library.adds += 1
            self._rows = np.concatenate([self._rows, rows.astype(np.float16)])
        finally:
            self._resources.leave()

    def reset(self) -> None:
        self._called(np.empty((0, self.d), np.float32))
        self._rows = self._rows[:0]
        self._resources.leave()

    def remove_ids(self, chosen: Any) -> int:
        raise RuntimeError("Error in remove_ids: not implemented for this type of index")

    def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
        self._called(queries)
        try:
            if k > MOST_HITS:
                raise RuntimeError(f"Error in validateKSelect: k must be <= {MOST_HITS} (requested {k})")
            self._library.searches += 1
            scores = queries.astype(np.float16).astype(np.float32) @ self._rows.astype(np.float32).T
            if params is not None and self._library.native:
                scores[:, ~np.unpackbits(params.sel, bitorder="little")[: self.ntotal].astype(bool)] = -np.inf
            shuffled = np.random.default_rng(7).permutation(self.ntotal)  # equal scores come in any order
            order = shuffled[np.argsort(-scores[:, shuffled], axis=1, kind="stable")[:, :k]]
            found = np.take_along_axis(scores, order, axis=1)
            order[np.isneginf(found)] = -1
            missing = k - order.shape[1]
            return (
                np.pad(found, ((0, 0), (0, max(missing, 0))), constant_values=-np.inf),
                np.pad(order, ((0, 0), (0, max(missing, 0))), constant_values=-1).astype(np.int64),
            )
        finally:
            self._resources.leave()

    def _called(self, rows: np.ndarray) -> None:
        if self._library.broken:
            raise RuntimeError("Error in cudaMalloc: out of memory")
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        self._resources.enter()


class FakeFaiss:
    """The module.

    Args:
        native: whether filters work, as with cuVS.
        gpus: how many there are.
    """

    def __init__(self, native: bool = False, gpus: int = 1) -> None:
        self.native, self.gpus, self.broken = native, gpus, False
        self.adds = self.copied = self.searches = 0
        self.made: list[Flat] = []

    StandardGpuResources = Resources

    def get_num_gpus(self) -> int:
        return self.gpus

    def GpuIndexFlatConfig(self) -> Any:  # noqa: N802
        return SimpleNamespace(device=0, useFloat16=False)

    def GpuIndexFlatIP(self, resources: Resources, dim: int, settings: Any) -> Flat:  # noqa: N802
        return Flat(self, resources, dim, settings)

    def IDSelectorBitmap(self, bits: np.ndarray) -> np.ndarray:  # noqa: N802
        assert isinstance(faiss.IDSelectorBitmap(bits), faiss.IDSelector)  # the real one takes it, too
        return bits

    def SearchParameters(self, sel: Any) -> Any:  # noqa: N802
        return SimpleNamespace(sel=sel)
