"""Rows by cell and code on a GPU (IVF-PQ; Jégou and others, 2011): some 64 bytes a row on the device, whatever it is long.

For galleries whose vectors do not fit onto the device: it names rows by what their codes stand for, and they are
scored for good on the host. Knows no ids, no scores and no row that went.
"""

from typing import Any

import numpy as np

from index.faiss_device import MOST_AT_ONCE, Device
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import EngineError

# bytes of a code: those that FAISS's own kernels take and that, at half precision, fit into a block's shared memory
CODE_BYTES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
BITS = 8
# codes are rough: for each cell that is looked into so many rows are named
NAMED_A_CELL = 16
TRIED, TRIED_CELLS, TRIED_NAMED = 512, 4, 64


class GpuCells:
    """An IVF-PQ index; see ``index.numbered.Taker``.

    Args:
        dim: embedding dimension D.
        device: that holds it.

    Raises:
        EngineError: the device failed, or does not find what it was given.
    """

    # cells that are looked into
    efforts = (4, 8, 16, 32, 64, 128, 256)
    # centres and codes are learnt of the rows that are there
    growth = 2.0

    def __init__(self, dim: int, device: Device) -> None:
        self._dim, self._device = dim, device
        self._bytes = next(count for count in CODE_BYTES if dim % count == 0)
        self._index: Any = None
        self._device.ask(self._try)

    def make(self, vectors: Float32Array) -> None:
        """Learn centres and codes of all rows, and write these as codes."""
        self._device.ask(self._learn, vectors, 2 * int(np.sqrt(len(vectors))))

    def take(self, vectors: Float32Array) -> bool:
        """Write more rows as codes."""
        self._device.ask(lambda: self._index.add(np.ascontiguousarray(vectors)))
        return True

    def find(self, queries: Float32Array, k: int, effort: int) -> Int64Array:
        """Return the rows of the nearest cells whose codes are nearest."""
        wide = min(max(k, NAMED_A_CELL * effort), MOST_AT_ONCE)
        return self._device.ask(self._fetch, queries, wide, min(effort, MOST_AT_ONCE))

    def _fetch(self, queries: Float32Array, wide: int, cells: int) -> Int64Array:
        parameters = self._device.library.SearchParametersIVF(nprobe=cells)
        _, found = self._index.search(queries, wide, params=parameters)
        numbers: Int64Array = found
        return numbers

    def _learn(self, vectors: Float32Array, cells: int) -> None:
        library = self._device.library
        settings = library.GpuIndexIVFPQConfig()
        settings.device = self._device.number
        settings.useFloat16LookupTables = True
        if hasattr(settings, "use_cuvs"):  # its limits are others
            settings.use_cuvs = False
        self._index = None  # gives its room on the device back
        self._index = library.GpuIndexIVFPQ(
            self._device.resources,
            self._dim,
            cells,
            self._bytes,
            BITS,
            library.METRIC_INNER_PRODUCT,
            settings,
        )
        self._index.pq.cp.min_points_per_centroid = 1  # the trial's are enough, and no reason to be warned
        self._index.train(vectors)
        self._index.add(vectors)

    def _try(self) -> None:
        """See that vectors that were given are found."""
        rows = np.random.default_rng(0).standard_normal((TRIED, self._dim)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self._learn(rows, TRIED_CELLS)
        found = self._fetch(rows[:TRIED_CELLS], TRIED_NAMED, TRIED_CELLS)
        lost = [number for number, near in enumerate(found) if number not in near]
        if lost:
            raise EngineError(f"the GPU's index does not find {len(lost)} of {TRIED_CELLS} vectors asked for")
        self._index = None
