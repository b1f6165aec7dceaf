"""Exact search in NumPy: the reference the other backends are tested against; clear before fast."""

import numpy as np

from index import ranking
from index.places import Places
from vireid.arrays import Float32Array, Int64Array


class ExactBackend:
    """All vectors in one matrix, each scored in double precision for each query.

    Args:
        dim: embedding dimension D.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._places = Places()
        self._room: Float32Array = np.empty((0, dim), np.float32)

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._places)

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        ranking.check_rows(ids, vectors, self._dim)
        held = len(self._places)
        self._places.add(ids)
        if len(self._places) > len(self._room):
            wider = np.empty((max(len(self._places), 2 * held), self._dim), np.float32)
            wider[:held] = self._room[:held]
            self._room = wider
        self._room[held : len(self._places)] = vectors

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        held = len(self._places)
        holes, movers = self._places.drop(ids)
        self._room[holes] = self._room[movers]
        return held - len(self._places)

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return vectors; see ``index.backend.Backend.vectors``."""
        return self._room[self._places.of(ids)]

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        ranking.check_finite(queries)
        queries = np.ascontiguousarray(queries, np.float32)
        rows = np.arange(len(self._places)) if allow is None else self._places.among(allow)
        ids = self._places.ids
        found = [ranking.settle(query, self._room, rows, ids, k) for query in queries]
        return ranking.stacked(found, min(k, len(rows)))
