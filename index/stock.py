"""Vectors in rows, twice: as they came, and a byte a number; and exact search among any of the rows.

A sweep of the bytes with a proven bound (``index.sweep``) names few rows, as a rule some dozens of a hundred
thousand, and these are scored for good. Where rows are so crowded around a query that bytes cannot tell them apart,
all are: slower, and as exact. Backends share this; it knows none of them.
"""

import numpy as np

from index import ranking, rounded, sweep
from index.growing import Growing
from index.pages import Ahead
from index.places import Places
from index.room import MemoryRoom, Room
from vireid.arrays import Float32Array, Int64Array

QUERIES_AT_ONCE = 64
# a sweep that may leave out fewer than so many rows for each one asked for is not worth its while
LEAST_ROWS_A_HIT, LEAST_ROWS = 4, 256
# the room for rows grows by this
GROWTH = 1.25


class Stock:
    """Rows 0 to N - 1, each with an id; the last rows move to where others went.

    Args:
        dim: embedding dimension D.
        room: where the vectors lie as they came, empty; None for memory.
    """

    def __init__(self, dim: int, room: Room | None = None) -> None:
        self._dim, self._room = dim, room or MemoryRoom(dim)
        self._places = Places()
        self._longest = 0.0
        self._codes, self._notes = Growing(rounded.width(dim), np.int8), Growing(2, np.float32)
        self._everyone: Int64Array = np.empty(0, np.int64)
        self._ahead = Ahead(())
        _compile(dim)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._places)

    @property
    def ids(self) -> Int64Array:
        """The id of each row, (N,); not to be changed."""
        return self._places.ids

    @property
    def vectors(self) -> Float32Array:
        """All rows, (N, D); not to be changed, and not to be held beyond the next change."""
        return self._room.rows[: len(self._places)]

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Append rows; see ``index.backend.Backend.add``."""
        ranking.check_rows(ids, vectors, self._dim)
        first = len(self._places)
        self._make_room(first + len(ids))
        new = self._room.put(first, vectors)  # a disk may refuse, and then nothing has changed
        self._places.add(ids)
        longest = rounded.take_in(new, self._held, first)
        self._longest = max(self._longest, longest)

    def expect(self, count: int) -> None:
        """Make room for so many rows in all at once rather than step by step."""
        if self._make_room(count):
            self._ahead = Ahead((*self._room.memory, *self._held))

    def remove(self, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Take rows out; ids not held are ignored.

        Returns:
            Where the rows move that come to lie elsewhere, and where they were, (M,) each.
        """
        held = len(self)
        holes, movers = self._places.drop(ids)
        self._room.move(holes, movers, len(self), held)
        for rows in self._held:
            rows[holes] = rows[movers]
        return holes, movers

    def rows(self, allow: Int64Array | None) -> Int64Array:
        """Return the rows of the ids that are allowed, all for None, ascending."""
        return self._everyone[: len(self._places)] if allow is None else self._places.among(allow)

    def of(self, ids: Int64Array) -> Float32Array:
        """Return the vectors of ids; see ``index.backend.Backend.vectors``."""
        return self._room.rows[self._places.of(ids)]

    def search(self, queries: Float32Array, k: int, rows: Int64Array) -> list[ranking.Answer]:
        """Find the k most similar of some rows for each query, exactly.

        Args:
            queries: finite, (Q, D), as C has them.
            k: 1 to M, or 0 if M is 0.
            rows: those that may be found, (M,), each once.
        """
        if len(rows) < max(LEAST_ROWS, LEAST_ROWS_A_HIT * k):
            return [self.settle(query, k, rows) for query in queries]
        found: list[ranking.Answer] = []
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            asked = rounded.asked(some, self._longest)
            named, counts, too_many = sweep.candidates(self._held, rows, asked, k)
            for at, query in enumerate(some):
                found.append(self.settle(query, k, rows if too_many[at] else named[at, : counts[at]]))
        return found

    def settle(self, query: Float32Array, k: int, rows: Int64Array) -> ranking.Answer:
        """Score some rows for good and take the k best."""
        return ranking.settle(query, self._room.rows, rows, self._places.ids, k)

    @property
    def _held(self) -> rounded.Held:
        return rounded.Held(self._codes.rows, self._notes.rows)

    def _make_room(self, needed: int) -> bool:
        """Return whether there was too little."""
        if needed <= min(len(rows) for rows in (self._everyone, self._room.rows, *self._held)):
            return False
        self._ahead.wait()
        room, held = max(needed, int(len(self) * GROWTH)), len(self)
        self._room.widen(held, room)
        self._codes.widen(held, room)
        self._notes.widen(held, room)
        self._everyone = np.arange(room)
        return True


def _compile(dim: int) -> None:
    """Compile or load the loops now rather than while the first caller waits."""
    one = np.zeros((1, dim), np.float32)
    held = rounded.Held(np.empty((1, rounded.width(dim)), np.int8), np.empty((1, 2), np.float32))
    longest = rounded.take_in(one, held, 0)
    sweep.candidates(held, np.arange(1), rounded.asked(one, longest), 1)
    ranking.settle(one[0], one, np.arange(1), np.arange(1), 1)
