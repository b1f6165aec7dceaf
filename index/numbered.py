"""Rows nearby, named by who takes vectors in order, numbers them from 0, and can neither move nor forget one of them.

What such an index does not do is done here: a row keeps its number wherever it moves, numbers whose row went are passed
by, and all is given anew when half of the numbers are of such rows, or when the index was made of too few of the
rows that there are now. Rows that the index has not got yet are always near. Knows no ids and no scores.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from index.nodes import NOWHERE, Nodes
from vireid.arrays import Float32Array, Int64Array

MOST_DEAD = 0.5


class Taker(Protocol):
    """Takes vectors and finds numbers."""

    @property
    def efforts(self) -> Sequence[int]:
        """How far it can look, in its own measure, rising."""
        ...

    @property
    def growth(self) -> float:
        """It has to be made anew of all rows when they have grown by this."""
        ...

    def make(self, vectors: Float32Array) -> None:
        """Forget all there was and take rows, (N, D), under the numbers from 0 on."""
        ...

    def take(self, vectors: Float32Array) -> bool:
        """Take more rows, (M, D), under the next numbers; return False if it cannot."""
        ...

    def find(self, queries: Float32Array, k: int, effort: int) -> Int64Array:
        """Return the numbers of rows near each query, (Q, any), each once, anything not a number for none."""
        ...


class Numbered:
    """Rows by number.

    Args:
        taker: empty; from now on ours.
    """

    def __init__(self, taker: Taker) -> None:
        self._taker, self._nodes = taker, Nodes()
        self._made = self._taken = 0

    @property
    def efforts(self) -> Sequence[int]:
        """How far it can look; see ``index.approx.Nearby.efforts``."""
        return self._taker.efforts

    def add(self, vectors: Float32Array, first: int) -> None:
        """Take in rows; see ``index.approx.Nearby.add``."""
        if not first or len(vectors) >= self._taker.growth * self._made:
            self._make(vectors)
            return
        self._nodes.add(len(vectors) - first)
        if self._taker.take(vectors[first:]):
            self._taken = len(self._nodes)

    def remove(self, vectors: Float32Array, holes: Int64Array, movers: Int64Array) -> None:
        """Follow rows; see ``index.approx.Nearby.remove``."""
        self._nodes.remove(holes, movers, len(vectors))
        if len(vectors) < MOST_DEAD * len(self._nodes):
            self._make(vectors)

    def rows(self, queries: Float32Array, k: int, effort: int) -> list[Int64Array]:
        """Return the rows found; see ``index.approx.Nearby.rows``."""
        # what went still takes places among those found
        wanted = min(-(-k * len(self._nodes) // max(self._nodes.live, 1)), self._taken)
        late = self._nodes.since(self._taken)
        named = []
        for found in self._taker.find(queries, wanted, effort):
            rows = self._nodes.row(found[(found >= 0) & (found < self._taken)])
            named.append(np.concatenate([rows[rows != NOWHERE], late]))
        return named

    def _make(self, vectors: Float32Array) -> None:
        self._taker.make(vectors)
        self._nodes.renew(len(vectors))
        self._made = self._taken = len(vectors)
