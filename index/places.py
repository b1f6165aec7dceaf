"""Which id sits in which row: unique ids in the order of rows. Knows no vectors."""

import numpy as np

from vireid.arrays import Int64Array

FIRST_CAPACITY = 1024


class Places:
    """Ids by row; when ids go, the last rows move to where they were."""

    def __init__(self) -> None:
        self._count = 0
        self._room: Int64Array = np.empty(FIRST_CAPACITY, np.int64)

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
        again = np.isin(ids, self.ids)
        if again.any():
            raise ValueError(f"ids {ids[again][:5].tolist()} are held already")
        whole = self._count + len(ids)
        if whole > len(self._room):
            wider = np.empty(max(whole, 2 * len(self._room)), np.int64)
            wider[: self._count] = self.ids
            self._room = wider
        self._room[self._count : whole] = ids
        self._count = whole

    def drop(self, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Take ids out; those not held are ignored.

        Returns:
            Where the rows move that come to lie elsewhere, and where they were, (M,) each; the last rows, as
            many as ids went, are then free.
        """
        goes = np.isin(self.ids, ids)
        left = self._count - int(goes.sum())
        holes = np.flatnonzero(goes[:left])
        movers = left + np.flatnonzero(~goes[left:])
        self._room[holes] = self._room[movers]
        self._count = left
        return holes, movers

    def among(self, allow: Int64Array) -> Int64Array:
        """Return the rows whose ids are allowed, ascending; ids not held are ignored."""
        return np.flatnonzero(np.isin(self.ids, allow))

    def of(self, ids: Int64Array) -> Int64Array:
        """Return the row of each id, (N,).

        Raises:
            ValueError: an id is not held.
        """
        rows = self.among(ids)
        held = self.ids[rows]
        order = np.argsort(held)
        at = np.searchsorted(held, ids, sorter=order)
        inside = at < len(held)
        found: Int64Array = rows[order[at[inside]]]
        if not inside.all() or (self.ids[found] != ids).any():
            raise ValueError("an id is not held")
        return found
