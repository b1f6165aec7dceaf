"""Which id sits in which row: unique ids in the order of rows. Knows no vectors.

Ids as a gallery gives them lie close together, so a table from id to row finds them; ids that are far apart are
found by sorting.
"""

import numpy as np

from vireid.arrays import BoolArray, Int64Array

FIRST_CAPACITY = 1024
# the table may be so many times as long as there are ids
SPREAD, LEAST_TABLE = 16, 65536
NOWHERE = -1


class Places:
    """Ids by row; when ids go, the last rows move to where they were."""

    def __init__(self) -> None:
        self._count = 0
        self._room: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        # the row of each id from ``_first`` on; None where the ids are too far apart
        self._table: Int64Array | None = np.empty(0, np.int64)
        self._first = 0

    def __len__(self) -> int:
        """Count the rows."""
        return self._count

    @property
    def ids(self) -> Int64Array:
        """The id of each row, (N,); not to be changed."""
        return self._room[: self._count]

    def add(self, ids: Int64Array) -> None:
        """Append rows.

        Raises:
            ValueError: an id comes twice or is held already; nothing was added.
        """
        if len(np.unique(ids)) != len(ids):
            raise ValueError("an id comes twice")
        again = self._held(ids)
        if again.any():
            raise ValueError(f"ids {ids[again][:5].tolist()} are held already")
        whole = self._count + len(ids)
        if whole > len(self._room):
            wider = np.empty(max(whole, 2 * len(self._room)), np.int64)
            wider[: self._count] = self.ids
            self._room = wider
        self._room[self._count : whole] = ids
        self._count = whole
        self._note(ids)

    def drop(self, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Take ids out; those not held are ignored.

        Returns:
            Where the rows move that come to lie elsewhere, and where they were, (M,) each; the last rows, as
            many as ids went, are then free.
        """
        goes = np.zeros(self._count, np.bool_)
        gone = self.among(ids)
        goes[gone] = True
        left = self._count - len(gone)
        holes = np.flatnonzero(goes[:left])
        movers = left + np.flatnonzero(~goes[left:])
        if self._table is not None:
            self._table[self.ids[gone] - self._first] = NOWHERE
            self._table[self.ids[movers] - self._first] = holes
        self._room[holes] = self._room[movers]
        self._count = left
        return holes, movers

    def among(self, allow: Int64Array) -> Int64Array:
        """Return the rows whose ids are allowed, ascending; ids not held are ignored."""
        if self._table is None:
            return np.flatnonzero(np.isin(self.ids, allow))
        rows = self._looked_up(allow)
        rows = rows[rows != NOWHERE]
        return rows if (rows[1:] > rows[:-1]).all() else np.unique(rows)

    def of(self, ids: Int64Array) -> Int64Array:
        """Return the row of each id, (N,).

        Raises:
            ValueError: an id is not held.
        """
        if self._table is None:
            order = np.argsort(self.ids)
            at = np.searchsorted(self.ids, ids, sorter=order)
            rows: Int64Array = order[np.minimum(at, self._count - 1)]
            held = self.ids[rows] == ids
        else:
            rows = self._looked_up(ids)
            held = rows != NOWHERE
        if not held.all():
            raise ValueError("an id is not held")
        return rows

    def _held(self, ids: Int64Array) -> BoolArray:
        held: BoolArray = np.isin(ids, self.ids) if self._table is None else self._looked_up(ids) != NOWHERE
        return held

    def _looked_up(self, ids: Int64Array) -> Int64Array:
        assert self._table is not None
        rows = np.full(len(ids), NOWHERE)
        # differences of ids at both ends of the range do not fit: compare first
        inside = np.flatnonzero((ids >= self._first) & (ids <= self._first + len(self._table) - 1))
        rows[inside] = self._table[ids[inside] - self._first]
        return rows

    def _note(self, ids: Int64Array) -> None:
        """Enter the last rows into the table; lay a new one where they do not fit, or none."""
        if self._table is None or not len(ids):
            return
        low, high = int(ids.min()), int(ids.max())
        if len(self._table):
            low, high = min(low, self._first), max(high, self._first + len(self._table) - 1)
        span = high - low + 1
        if span > len(self._table):
            if span > max(SPREAD * self._count, LEAST_TABLE):
                low, high = int(self.ids.min()), int(self.ids.max())
                span = high - low + 1
            if span > max(SPREAD * self._count, LEAST_TABLE):
                self._table = None
                return
            # room at the end, as ids rise; never beyond the largest there is
            room = min(span + span // 2, np.iinfo(np.int64).max - low + 1)
            self._table, self._first = np.full(room, NOWHERE), low
            self._table[self.ids - low] = np.arange(self._count)
        else:
            self._table[ids - self._first] = np.arange(self._count - len(ids), self._count)
