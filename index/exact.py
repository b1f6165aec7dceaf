"""Exact search in NumPy: the reference the other backends are tested against."""

import numpy as np

from vireid.arrays import Float32Array, Int64Array
from vireid.errors import EmbeddingNotFinite


class ExactBackend:
    """All vectors in one matrix.

    Args:
        dim: embedding dimension D.
    """

    def __init__(self, dim: int) -> None:
        self._ids: Int64Array = np.empty(0, np.int64)
        self._vectors: Float32Array = np.empty((0, dim), np.float32)

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._ids)

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        check_rows(ids, vectors, self._vectors.shape[1])
        if np.isin(ids, self._ids).any():
            raise ValueError(f"ids {ids[np.isin(ids, self._ids)][:5].tolist()} are held already")
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, vectors])

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        stay = ~np.isin(self._ids, ids)
        removed = int((~stay).sum())
        self._ids, self._vectors = self._ids[stay], self._vectors[stay]
        return removed

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        check_finite(queries)
        ids, vectors = self._ids, self._vectors
        if allow is not None:
            may = np.isin(ids, allow)
            ids, vectors = ids[may], vectors[may]
        return best(queries @ vectors.T, ids, k)


def best(scores: Float32Array, ids: Int64Array, k: int) -> tuple[Float32Array, Int64Array]:
    """Take the k best of each row; equal scores in the order of ids.

    Args:
        scores: (Q, N).
        ids: (N,).
        k: at least 1.
    """
    k = min(k, scores.shape[1])
    chosen = np.empty((len(scores), k), np.int64)
    for row, values in enumerate(scores):
        chosen[row] = np.lexsort((ids, -values))[:k]
    return np.take_along_axis(scores, chosen, axis=1), ids[chosen]


def check_finite(vectors: Float32Array) -> None:
    """Refuse NaN and infinity.

    Raises:
        EmbeddingNotFinite: there is one.
    """
    if not np.isfinite(vectors).all():
        bad = int((~np.isfinite(vectors).all(axis=-1)).sum())
        raise EmbeddingNotFinite(
            f"{bad} of {len(vectors)} embeddings hold NaN or infinity", field="embedding"
        )


def check_rows(ids: Int64Array, vectors: Float32Array, dim: int) -> None:
    """Refuse rows no backend may hold.

    Raises:
        ValueError: shapes disagree, or an id comes twice.
        EmbeddingNotFinite: a row holds NaN or infinity.
    """
    if vectors.shape != (len(ids), dim):
        raise ValueError(f"found vectors {vectors.shape} for {len(ids)} ids; expected ({len(ids)}, {dim})")
    if len(np.unique(ids)) != len(ids):
        raise ValueError("an id comes twice")
    check_finite(vectors)
