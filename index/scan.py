"""Exact search that reads a byte a number: a sweep over rounded rows names who may be best, and those are scored.

Beside the rows themselves it holds them rounded to bytes, a quarter more memory. A sweep of these with a
proven bound leaves few rows to score for good, as a rule some dozens of a hundred thousand. Where a gallery is
so crowded around a query that bytes cannot tell its rows apart, that query is answered from the rows themselves:
slower, and as exact.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index import ranking, rounded, sweep
from index.places import Places
from vireid.arrays import Float32Array, Int64Array

QUERIES_AT_ONCE = 64
# a sweep that may leave out fewer than so many rows for each one asked for is not worth its while
LEAST_ROWS_A_HIT, LEAST_ROWS = 4, 256


class ScanBackend:
    """Vectors twice: as they came, and a byte a number.

    Args:
        dim: embedding dimension D.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._places = Places()
        self._longest = 0.0
        self._vectors: Float32Array = np.empty((0, dim), np.float32)
        self._held = rounded.Held(np.empty((0, rounded.width(dim)), np.int8), np.empty((0, 2), np.float32))
        self._everyone: Int64Array = np.empty(0, np.int64)
        _compile(dim)

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._places)

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        ranking.check_rows(ids, vectors, self._dim)
        first = len(self._places)
        self._make_room(first, first + len(ids))
        self._places.add(ids)
        self._vectors[first : first + len(ids)] = vectors
        longest = rounded.take_in(self._vectors[first : first + len(ids)], self._held, first)
        self._longest = max(self._longest, longest)

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        held = len(self._places)
        holes, movers = self._places.drop(ids)
        for rows in (self._vectors, *self._held):
            rows[holes] = rows[movers]
        return held - len(self._places)

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return vectors; see ``index.backend.Backend.vectors``."""
        return self._vectors[self._places.of(ids)]

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        ranking.check_finite(queries)
        queries = np.ascontiguousarray(queries, np.float32)
        rows = self._everyone[: len(self._places)] if allow is None else self._places.among(allow)
        k = min(k, len(rows))
        if len(rows) < max(LEAST_ROWS, LEAST_ROWS_A_HIT * k):
            return ranking.stacked([self._best(query, k, rows) for query in queries], k)
        found: list[ranking.Answer] = []
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            asked = rounded.asked(some, self._longest)
            named, counts, too_many = sweep.candidates(self._held, rows, asked, k)
            for at, query in enumerate(some):
                found.append(self._best(query, k, rows if too_many[at] else named[at, : counts[at]]))
        return ranking.stacked(found, k)

    def _best(self, query: Float32Array, k: int, rows: Int64Array) -> ranking.Answer:
        return ranking.settle(query, self._vectors, rows, self._places.ids, k)

    def _make_room(self, count: int, needed: int) -> None:
        if needed <= len(self._vectors):
            return
        room = max(needed, count + count // 2)
        self._vectors = _wider(self._vectors, count, room)
        self._held = rounded.Held(*(_wider(rows, count, room) for rows in self._held))
        self._everyone = np.arange(room)


def _compile(dim: int) -> None:
    """Compile or load the loops now rather than while the first caller waits."""
    one = np.zeros((1, dim), np.float32)
    held = rounded.Held(np.empty((1, rounded.width(dim)), np.int8), np.empty((1, 2), np.float32))
    longest = rounded.take_in(one, held, 0)
    sweep.candidates(held, np.arange(1), rounded.asked(one, longest), 1)
    ranking.settle(one[0], one, np.arange(1), np.arange(1), 1)


def _wider(rows: NDArray[Any], count: int, room: int) -> NDArray[Any]:
    wider = np.empty((room, *rows.shape[1:]), rows.dtype)
    wider[:count] = rows[:count]
    return wider
