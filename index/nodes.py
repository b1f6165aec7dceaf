"""Rows under numbers that stay: for whoever takes vectors in order, and can neither move nor forget them.

Knows no vectors.
"""

import numpy as np

from vireid.arrays import Int64Array

NOWHERE = -1


class Nodes:
    """The number of each row and the row of each number; a number whose row went is dead."""

    def __init__(self) -> None:
        self._row: Int64Array = np.empty(0, np.int64)  # of each number, NOWHERE for the dead
        self._number: Int64Array = np.empty(0, np.int64)  # of each row

    def __len__(self) -> int:
        """Count the numbers given out, dead ones too."""
        return len(self._row)

    @property
    def live(self) -> int:
        """How many of them have a row."""
        return len(self._number)

    def renew(self, rows: int) -> None:
        """Give so many rows the numbers from 0 on."""
        self._row, self._number = np.arange(rows), np.arange(rows)

    def add(self, rows: int) -> None:
        """Give so many more rows the next numbers."""
        first, live = len(self._row), len(self._number)
        self._row = np.concatenate([self._row, np.arange(live, live + rows)])
        self._number = np.concatenate([self._number, np.arange(first, first + rows)])

    def remove(self, holes: Int64Array, movers: Int64Array, left: int) -> None:
        """Follow the last rows to where others went; ``left`` rows remain."""
        gone = np.ones(len(self._number), np.bool_)
        gone[:left] = False
        gone[movers] = False
        gone[holes] = True
        self._row[self._number[gone]] = NOWHERE
        self._row[self._number[movers]] = holes
        self._number[holes] = self._number[movers]
        self._number = self._number[:left].copy()

    def row(self, numbers: Int64Array) -> Int64Array:
        """Return the row of each number, ``NOWHERE`` for the dead."""
        return self._row[numbers]

    def number(self, rows: Int64Array) -> Int64Array:
        """Return the number of each row."""
        return self._number[rows]

    def since(self, first: int) -> Int64Array:
        """Return the rows whose numbers are not below one, ascending."""
        return np.flatnonzero(self._number >= first)
