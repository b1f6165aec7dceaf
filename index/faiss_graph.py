"""Rows by a graph of neighbours (HNSW; Malkov and Yashunin, 2018), held by FAISS at two bytes a number.

Knows no ids, no scores and no row that went.
"""

import math

import faiss
import numpy as np

from vireid.arrays import Float32Array, Int64Array

LINKS, BUILDING_EFFORT = 32, 64


class Graph:
    """An HNSW graph; see ``index.numbered.Taker``.

    Args:
        dim: embedding dimension D.
    """

    # nodes that a search keeps open
    efforts = (16, 32, 64, 128, 256, 512)
    growth = math.inf

    def __init__(self, dim: int) -> None:
        self._graph = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)  # type: ignore[arg-type]
        self._graph.hnsw.efConstruction = BUILDING_EFFORT
        self._graph.train(np.zeros((1, dim), np.float32))

    def make(self, vectors: Float32Array) -> None:
        """Enter all rows."""
        self._graph.reset()
        self.take(vectors)

    def take(self, vectors: Float32Array) -> bool:
        """Enter more rows."""
        self._graph.add(np.ascontiguousarray(vectors))
        return True

    def find(self, queries: Float32Array, k: int, effort: int) -> Int64Array:
        """Return the nodes that a walk through the graph ends at."""
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, k))  # type: ignore[attr-defined]
        faiss.omp_set_num_threads(1)
        _, found = self._graph.search(queries, min(max(k, effort), self._graph.ntotal), params=parameters)
        return found
