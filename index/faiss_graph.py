"""Rows by a graph of neighbours (HNSW; Malkov and Yashunin, 2018), held by FAISS at two bytes a number.

FAISS numbers what it is given and takes nothing out, so rows have a number there that stays, rows that went are
passed by, and when half of the graph is of such rows it is built anew. Knows no ids and no scores.
"""

import faiss
import numpy as np

from vireid.arrays import Float32Array, Int64Array

LINKS, BUILDING_EFFORT = 32, 64
NOWHERE = -1
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
        self._graph = _empty(dim)
        self._row: Int64Array = np.empty(0, np.int64)  # of each node, NOWHERE for those that went
        self._node: Int64Array = np.empty(0, np.int64)  # of each row

    def build(self, vectors: Float32Array) -> None:
        """Begin anew; see ``index.approx.Nearby.build``."""
        self._graph = _empty(self._dim)
        self._row, self._node = np.empty(0, np.int64), np.empty(0, np.int64)
        self.add(vectors)

    def add(self, vectors: Float32Array) -> None:
        """Enter more rows; see ``index.approx.Nearby.add``."""
        first = self._graph.ntotal
        self._graph.add(np.ascontiguousarray(vectors))
        nodes = np.arange(first, self._graph.ntotal)
        self._row = np.concatenate([self._row, np.arange(len(self._node), len(self._node) + len(nodes))])
        self._node = np.concatenate([self._node, nodes])

    def remove(self, holes: Int64Array, movers: Int64Array, left: int) -> None:
        """Follow rows; see ``index.approx.Nearby.remove``."""
        gone = np.ones(len(self._node), np.bool_)
        gone[:left] = False
        gone[movers] = False
        gone[holes] = True
        self._row[self._node[gone]] = NOWHERE
        self._row[self._node[movers]] = holes
        self._node[holes] = self._node[movers]
        self._node = self._node[:left]
        if left < MOST_DEAD * self._graph.ntotal:
            self._renew()

    def rows(self, query: Float32Array, k: int, effort: int) -> Int64Array:
        """Return the rows a walk through the graph ends at; see ``index.approx.Nearby.rows``."""
        # what went still takes places in the walk
        wanted = min(-(-k * self._graph.ntotal // max(len(self._node), 1)), self._graph.ntotal)
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, wanted))  # type: ignore[attr-defined]
        faiss.omp_set_num_threads(1)
        _, nodes = self._graph.search(query[None], max(wanted, effort), params=parameters)
        rows = self._row[nodes[0][nodes[0] >= 0]]
        found: Int64Array = rows[rows != NOWHERE]
        return found

    def _renew(self) -> None:
        """Build the graph anew of the rows that are left, as it holds them."""
        vectors = np.empty((len(self._node), self._dim), np.float32)
        for row, node in enumerate(self._node.tolist()):
            vectors[row] = self._graph.reconstruct(node)
        self.build(vectors)


def _empty(dim: int) -> faiss.IndexHNSWSQ:
    graph = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)  # type: ignore[arg-type]
    graph.hnsw.efConstruction = BUILDING_EFFORT
    graph.train(np.zeros((1, dim), np.float32))
    return graph
