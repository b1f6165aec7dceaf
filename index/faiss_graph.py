"""Rows by a graph of neighbours (HNSW; Malkov and Yashunin, 2018), held by FAISS at two bytes a number.

FAISS numbers what it is given and takes nothing out, so rows have a number there that stays, rows that went are
passed by, and when half of the graph is of such rows it is built anew. Knows no ids and no scores.
"""

import faiss
import numpy as np

from index.nodes import NOWHERE, Nodes
from vireid.arrays import Float32Array, Int64Array

LINKS, BUILDING_EFFORT = 32, 64
MOST_DEAD = 0.5


class Graph:
    """An HNSW graph whose nodes are rows, or were.

    Args:
        dim: embedding dimension D.
    """

    # nodes that a search keeps open
    efforts = (16, 32, 64, 128, 256, 512)

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._graph, self._nodes = _empty(dim), Nodes()

    def add(self, vectors: Float32Array, first: int) -> None:
        """Enter more rows; see ``index.approx.Nearby.add``."""
        self._graph.add(np.ascontiguousarray(vectors[first:]))
        self._nodes.add(len(vectors) - first)

    def remove(self, holes: Int64Array, movers: Int64Array, left: int) -> None:
        """Follow rows; see ``index.approx.Nearby.remove``."""
        self._nodes.remove(holes, movers, left)
        if left < MOST_DEAD * len(self._nodes):
            vectors = np.empty((left, self._dim), np.float32)  # as the graph holds them
            for row, node in enumerate(self._nodes.number(np.arange(left)).tolist()):
                vectors[row] = self._graph.reconstruct(node)
            self._graph, self._nodes = _empty(self._dim), Nodes()
            self.add(vectors, 0)

    def rows(self, query: Float32Array, k: int, effort: int) -> Int64Array:
        """Return the rows a walk through the graph ends at; see ``index.approx.Nearby.rows``."""
        # what went still takes places in the walk
        wanted = min(-(-k * len(self._nodes) // max(self._nodes.live, 1)), len(self._nodes))
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, wanted))  # type: ignore[attr-defined]
        faiss.omp_set_num_threads(1)
        _, found = self._graph.search(query[None], max(wanted, effort), params=parameters)
        rows = self._nodes.row(found[0][found[0] >= 0])
        kept: Int64Array = rows[rows != NOWHERE]
        return kept


def _empty(dim: int) -> faiss.IndexHNSWSQ:
    graph = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)  # type: ignore[arg-type]
    graph.hnsw.efConstruction = BUILDING_EFFORT
    graph.train(np.zeros((1, dim), np.float32))
    return graph
