"""Which id sits in which row: unique ids in the order of rows. Knows no vectors."""

import numpy as np

from vireid.arrays import BoolArray, Int64Array

FIRST_CAPACITY = 1024


class Places:
    """Ids by row; rows close up when ids go."""

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

    def drop(self, ids: Int64Array) -> BoolArray:
        """Take rows out; ids not held are ignored.

        Returns:
            Which of the former rows stay, (N,).
        """
        stay: BoolArray = ~np.isin(self.ids, ids)
        left = self.ids[stay]
        self._room[: len(left)] = left
        self._count = len(left)
        return stay

    def among(self, allow: Int64Array) -> Int64Array:
        """Return the rows whose ids are allowed, ascending; ids not held are ignored."""
        return np.flatnonzero(np.isin(self.ids, allow))

    def of(self, ids: Int64Array) -> Int64Array:
        """Return the row of each id, (N,).

        Raises:
            ValueError: an id is not held.
        """
        order = np.argsort(self.ids, kind="stable")
        at = np.searchsorted(self.ids, ids, sorter=order)
        inside = at < self._count
        rows: Int64Array = order[at[inside]]
        if not inside.all() or (self.ids[rows] != ids).any():
            raise ValueError("an id is not held")
        return rows
