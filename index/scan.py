"""Exact search that reads a byte a number; what a gallery is searched by unless somebody says otherwise."""

import numpy as np

from index import ranking
from index.room import Room
from index.stock import Stock
from vireid.arrays import Float32Array, Int64Array


class ScanBackend:
    """A stock of vectors, all of which are swept.

    Args:
        dim: embedding dimension D.
        room: where the vectors lie as they came, empty; None for memory.
    """

    def __init__(self, dim: int, room: Room | None = None) -> None:
        self._stock = Stock(dim, room)

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._stock)

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        self._stock.add(ids, vectors)

    def expect(self, count: int) -> None:
        """Make room for so many vectors; see ``index.backend.Roomy.expect``."""
        self._stock.expect(count)

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        held = len(self._stock)
        self._stock.remove(ids)
        return held - len(self._stock)

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return vectors; see ``index.backend.Backend.vectors``."""
        return self._stock.of(ids)

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        ranking.check_finite(queries)
        rows = self._stock.rows(allow)
        k = min(k, len(rows))
        return ranking.stacked(self._stock.search(np.ascontiguousarray(queries, np.float32), k, rows), k)
