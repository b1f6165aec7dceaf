"""Rows by a graph of neighbours on a GPU (CAGRA; Ootomo and others, 2023), four bytes a number on the device and the graph.

Only FAISS with cuVS has it. Such a graph is made in one piece: what is added to one that is there, FAISS drops
without a word. So it takes nothing, and is made anew when there is a twentieth more to be in it. Knows no ids, no
scores and no row that went.
"""

from typing import Any

import numpy as np

from index.faiss_device import Device
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import EngineError, ProviderUnavailable

TRIED = 1024


class GpuGraph:
    """A CAGRA graph; see ``index.numbered.Taker``.

    Args:
        dim: embedding dimension D.
        device: that holds it.

    Raises:
        ProviderUnavailable: FAISS is built without cuVS.
        EngineError: the device failed, or does not find what it was given.
    """

    # nodes that a search keeps open; beyond 512 it is another, slower search
    efforts = (32, 64, 128, 256, 512)
    growth = 1.05

    def __init__(self, dim: int, device: Device) -> None:
        if not hasattr(device.library, "GpuIndexCagra"):
            raise ProviderUnavailable(
                "the installed FAISS is built without cuVS and has no CAGRA; install faiss-gpu-cuvs in its place, or choose "
                "backend 'faiss-gpu'"
            )
        self._dim, self._device = dim, device
        self._index: Any = None
        self._device.ask(self._try)

    def make(self, vectors: Float32Array) -> None:
        """Make the graph of all rows."""
        self._device.ask(self._build, vectors)

    def take(self, vectors: Float32Array) -> bool:  # noqa: ARG002 - it takes none
        """Take nothing."""
        return False

    def find(self, queries: Float32Array, k: int, effort: int) -> Int64Array:
        """Return the nodes that a walk through the graph ends at."""
        open_nodes = min(max(k, effort), self.efforts[-1])
        return self._device.ask(self._fetch, queries, open_nodes)

    def _fetch(self, queries: Float32Array, open_nodes: int) -> Int64Array:
        # the base class's parameters would be taken for these and end the process
        parameters = self._device.library.SearchParametersCagra()
        parameters.itopk_size = open_nodes
        _, found = self._index.search(queries, open_nodes, params=parameters)
        numbers: Int64Array = found
        return numbers

    def _build(self, vectors: Float32Array) -> None:
        library = self._device.library
        settings = library.GpuIndexCagraConfig()
        settings.device = self._device.number
        self._index = None  # gives its room on the device back
        # of unit rows the nearest are the most similar; FAISS's own tests have this measure for more kinds of numbers
        self._index = library.GpuIndexCagra(self._device.resources, self._dim, library.METRIC_L2, settings)
        self._index.train(vectors)

    def _try(self) -> None:
        """See that vectors that were given are found."""
        rows = np.random.default_rng(0).standard_normal((TRIED, self._dim)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self._build(rows)
        found = self._fetch(rows[:4], self.efforts[0])
        lost = [number for number, near in enumerate(found) if number not in near]
        if lost:
            raise EngineError(f"the GPU's graph does not find {len(lost)} of 4 vectors asked for")
        self._index = None
