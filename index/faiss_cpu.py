"""Exact search in FAISS on the CPU; the one module that imports faiss.

FAISS scans; ids, removal and the order of equal scores are ours: a flat index has no upsert, orders ties by
accident, and its own id map accepts an id twice.
"""

import faiss
import numpy as np

from index.exact import best, check_finite, check_rows
from vireid.arrays import Float32Array, Int64Array

GATHER_SHARE = 0.3


class FaissBackend:
    """A flat inner-product index over rows whose ids are held beside it.

    Args:
        dim: embedding dimension D.
    """

    def __init__(self, dim: int) -> None:
        self._index = faiss.IndexFlatIP(dim)
        self._ids: Int64Array = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._ids)

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        check_rows(ids, vectors, self._index.d)
        if np.isin(ids, self._ids).any():
            raise ValueError(f"ids {ids[np.isin(ids, self._ids)][:5].tolist()} are held already")
        self._index.add(np.ascontiguousarray(vectors))
        self._ids = np.concatenate([self._ids, ids])

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        rows = np.flatnonzero(np.isin(self._ids, ids))
        if len(rows):
            self._index.remove_ids(faiss.IDSelectorBatch(rows))
            self._ids = np.delete(self._ids, rows)
        return len(rows)

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        check_finite(queries)
        rows = None if allow is None else np.flatnonzero(np.isin(self._ids, allow))
        possible = len(self._ids) if rows is None else len(rows)
        k = min(k, possible)
        if k == 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        queries = np.ascontiguousarray(queries, np.float32)
        if rows is not None and len(rows) < GATHER_SHARE * len(self._ids):
            # few may be found: multiplying just those beats a scan that skips
            return best(queries @ self._vectors()[rows].T, self._ids[rows], k)
        return self._scan(queries, k, possible, rows)

    def _scan(
        self, queries: Float32Array, k: int, possible: int, rows: Int64Array | None
    ) -> tuple[Float32Array, Int64Array]:
        selector = None if rows is None else faiss.IDSelectorBatch(rows)
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        # one more than asked: if the last score is tied with the next, the tie is resolved over the whole row
        wide = min(k + 1, possible)
        scores, places = self._index.search(queries, wide, params=parameters)
        ids = self._ids[places]
        order = np.lexsort((ids, -scores), axis=1)
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
        if wide > k:
            for row in np.flatnonzero(scores[:, k - 1] == scores[:, k]):
                within = np.arange(len(self._ids)) if rows is None else rows
                exact, found = best(queries[row : row + 1] @ self._vectors()[within].T, self._ids[within], k)
                scores[row, :k], ids[row, :k] = exact[0], found[0]
        return scores[:, :k], ids[:, :k]

    def _vectors(self) -> Float32Array:
        flat = faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self._index.d)
        rows: Float32Array = flat.reshape(self._index.ntotal, self._index.d)
        return rows
