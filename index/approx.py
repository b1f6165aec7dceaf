"""Approximate search of large galleries: somebody else names rows nearby, and those are searched exactly.

How far the others must look is measured, on the gallery's own vectors, whenever it has doubled: the least effort
that finds nine and a half of ten true neighbours. Where no effort does, where a filter lets few pass, for many hits
and below ten thousand items, search stays exact; for more than ten hits the effort grows with their number. Scores
are true in any case; what may happen is that somebody is missed.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from index import ranking
from index.stock import Stock
from vireid.arrays import Float32Array, Int64Array

LEAST_ROWS = 10_000
# of the rows: a filter that lets fewer pass is searched exactly, as is for more hits than this
LEAST_SHARE, MOST_HITS = 0.3, 100
TARGET, MEASURED_K = 0.95, 10
PROBES = QUERIES_AT_ONCE = 64
# how far to look is measured anew when the gallery has grown by this
GROWTH = 2


class Nearby(Protocol):
    """Names rows that are probably among the nearest."""

    @property
    def efforts(self) -> Sequence[int]:
        """How far it can look, in its own measure, rising."""
        ...

    def add(self, vectors: Float32Array, first: int) -> None:
        """Take in rows from one on, of all there are, (N, D); from 0 on forget what was before."""
        ...

    def remove(self, vectors: Float32Array, holes: Int64Array, movers: Int64Array) -> None:
        """Follow the last rows to where others went; these rows remain, (N, D), some thousand at least."""
        ...

    def rows(self, queries: Float32Array, k: int, effort: int) -> Sequence[Int64Array]:
        """Return rows near each query, each once, k of them if it can; more effort finds more of the true ones."""
        ...


class ApproxBackend:
    """A stock of vectors, searched where others point.

    Args:
        dim: embedding dimension D.
        nearby: who points; empty, from now on ours.
    """

    def __init__(self, dim: int, nearby: Nearby) -> None:
        self._stock, self._nearby = Stock(dim), nearby
        self._known = self._measured_at = 0
        self._effort: int | None = None

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._stock)

    @property
    def effort(self) -> int | None:
        """How far others look, in their own measure; None while search is exact."""
        return self._effort

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        self._stock.add(ids, vectors)
        if self._known or len(self._stock) >= LEAST_ROWS:
            self._nearby.add(self._stock.vectors, self._known)
            self._known = len(self._stock)
        if len(self._stock) >= max(LEAST_ROWS, GROWTH * self._measured_at):
            self._measured_at, self._effort = len(self._stock), self._measured()

    def expect(self, count: int) -> None:
        """Make room for so many vectors; see ``index.backend.Roomy.expect``."""
        self._stock.expect(count)

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        held = len(self._stock)
        holes, movers = self._stock.remove(ids)
        if 2 * len(self._stock) < LEAST_ROWS:  # is searched exactly, and told anew when it has grown
            self._known = self._measured_at = 0
        elif self._known:
            self._nearby.remove(self._stock.vectors, holes, movers)
            self._known = len(self._stock)
        return held - len(self._stock)

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return vectors; see ``index.backend.Backend.vectors``."""
        return self._stock.of(ids)

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find similar vectors, as a rule the most similar; see ``index.backend.Backend.search``.

        Never fewer than an exact search would find.
        """
        ranking.check_finite(queries)
        queries = np.ascontiguousarray(queries, np.float32)
        rows = self._stock.rows(allow)
        k = min(k, len(rows))
        few = len(rows) < max(LEAST_ROWS, LEAST_SHARE * len(self._stock))
        if self._effort is None or few or k > MOST_HITS:
            return ranking.stacked(self._stock.search(queries, k, rows), k)
        passing = None
        if allow is not None:
            passing = np.zeros(len(self._stock), np.bool_)
            passing[rows] = True
        found: list[ranking.Answer] = []
        wanted = -(-k * len(self._stock) // len(rows))
        effort = self._effort * -(-wanted // MEASURED_K)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            for query, near in zip(some, self._nearby.rows(some, wanted, effort), strict=True):
                good = near if passing is None else near[passing[near]]
                found += self._stock.search(query[None], k, good if len(good) >= k else rows)
        return ranking.stacked(found, k)

    def _measured(self) -> int | None:
        """Find the least effort that reaches the target; None if exact search is the better way to it."""
        vectors = self._stock.vectors
        chosen = np.random.default_rng(len(vectors)).choice(len(vectors), PROBES, replace=False)
        probes = np.ascontiguousarray(vectors[chosen])
        wanted = MEASURED_K + 1  # a vector finds itself, which proves nothing
        exact = [set(ids.tolist()) for _, ids in self._stock.search(probes, wanted, self._stock.rows(None))]
        for effort in self._nearby.efforts:
            hits = 0
            named = self._nearby.rows(probes, wanted, effort)
            for own, near, true in zip(self._stock.ids[chosen].tolist(), named, exact, strict=True):
                hits += len(true.intersection(self._stock.ids[near].tolist()) - {own})
            if hits >= TARGET * PROBES * MEASURED_K:
                return effort
        return None
