"""Rows by cell: k-means divides them, and a query looks into the cells whose centres are nearest.

The centres are found by FAISS; the lists, and who comes and goes, are ours. Knows no ids and no scores.
"""

import faiss
import numpy as np

from vireid.arrays import Float32Array, Int64Array

ROUNDS, SAMPLE_A_CELL = 8, 39
GROWTH = 2
ASSIGNED_AT_ONCE = 16384


class Cells:
    """A list of rows for each centre.

    Args:
        dim: embedding dimension D.
    """

    # cells that are looked into; more than these is no less work than looking everywhere
    efforts = (2, 4, 8, 16, 32, 64, 128)

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._centres: Float32Array = np.empty((0, dim), np.float32)
        self._cell: Int64Array = np.empty(0, np.int64)
        self._listed: Int64Array = np.empty(0, np.int64)
        self._starts: Int64Array = np.zeros(1, np.int64)
        self._divided = 0

    def add(self, vectors: Float32Array, first: int) -> None:
        """Assign more rows, or where they have doubled divide all anew; see ``index.approx.Nearby.add``."""
        if len(vectors) >= GROWTH * self._divided:
            self._divide(vectors)
            first = 0
        new = [
            (vectors[start : start + ASSIGNED_AT_ONCE] @ self._centres.T).argmax(axis=1)
            for start in range(first, len(vectors), ASSIGNED_AT_ONCE)
        ]
        self._cell = np.concatenate([self._cell[:first], *new])
        self._list()

    def remove(self, vectors: Float32Array, holes: Int64Array, movers: Int64Array) -> None:
        """Follow rows; see ``index.approx.Nearby.remove``."""
        self._cell[holes] = self._cell[movers]
        self._cell = self._cell[: len(vectors)]
        self._list()

    def rows(self, queries: Float32Array, k: int, effort: int) -> list[Int64Array]:  # noqa: ARG002 - cells hold what they hold
        """Return the rows of the nearest cells; see ``index.approx.Nearby.rows``."""
        return [self._near(query, effort) for query in queries]

    def _near(self, query: Float32Array, effort: int) -> Int64Array:
        likeness = self._centres @ query
        nearest = np.argpartition(-likeness, min(effort, len(likeness)) - 1)[:effort]
        return np.concatenate([self._listed[self._starts[cell] : self._starts[cell + 1]] for cell in nearest])

    def _divide(self, vectors: Float32Array) -> None:
        cells = 2 * int(np.sqrt(len(vectors)))
        means = faiss.Kmeans(
            self._dim,
            cells,
            niter=ROUNDS,
            spherical=True,
            seed=1,
            max_points_per_centroid=SAMPLE_A_CELL,
            verbose=False,
        )
        means.train(np.ascontiguousarray(vectors))
        self._centres = np.ascontiguousarray(means.centroids)
        self._divided = len(vectors)

    def _list(self) -> None:
        self._listed = np.argsort(self._cell, kind="stable")
        self._starts = np.searchsorted(self._cell[self._listed], np.arange(len(self._centres) + 1))
