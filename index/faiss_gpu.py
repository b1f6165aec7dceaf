"""Exact search with FAISS on a GPU: the device names who may be best, and those are scored for good on the host.

The device holds the vectors in half precision (2 bytes a number) in a flat index, whose rounding is bounded: only
where that bound proves that nobody else can be among the best is its answer taken, and the host answers otherwise.
What such an index does not do is done here:

- It takes nothing out: rows that went stay on the device as dead numbers, are passed by, and go when there are many.
- Every ``add`` to it allocates and copies all: new rows wait on the host, where they are searched, until there are many.
- Its classic kernels take a filter and ignore it: whether filters work is tried at the start. Where they do not, more
  is fetched than asked for and what does not pass is dropped; where that would be too much, the host searches.
- It gives 2048 hits at most: for more the host searches.
- It may be used by one thread only: see ``index.faiss_device``.
"""

from typing import Any

import faiss
import numpy as np

from index import ranking
from index.faiss_device import MOST_AT_ONCE, Device
from index.nodes import NOWHERE, Nodes
from index.stock import Stock
from vireid.arrays import BoolArray, Float32Array, Int64Array
from vireid.errors import EngineError

# rows that wait on the host: so many, or this share of those on the device
LATE, LATE_SHARE = 65_536, 0.05
# dead numbers are fetched beside the living, so there must not be many
MOST_DEAD = 512
# beyond what is asked for, for those whose half-precision score is out of order
SPARE, SPARE_SHARE = 64, 1.25
HALF, SINGLE = 2.0**-11, 2.0**-24


class GpuBackend:
    """A flat index on a GPU over a stock of vectors on the host.

    Args:
        dim: embedding dimension D.
        device: number of the GPU.
        late: rows that may wait on the host before they are moved to the device.
        library: FAISS, built with GPU support.

    Raises:
        ProviderUnavailable: FAISS knows no GPU, or there is no such GPU.
    """

    def __init__(self, dim: int, device: int = 0, late: int = LATE, library: Any = faiss) -> None:
        self._device, self._dim, self._most_late = Device(device, library), dim, late
        self._stock, self._nodes = Stock(dim), Nodes()
        self._held = 0  # numbers below this are on the device
        self._late: Int64Array = np.empty(0, np.int64)
        self._slack = slack(dim)
        self._index: Any = None
        self._filters = False
        self._device.ask(self._start)

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._stock)

    @property
    def native_filters(self) -> bool:
        """Whether the device's filters were found to work."""
        return self._filters

    @property
    def on_device(self) -> int:
        """How many vectors the device holds, dead ones too."""
        return self._held

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        self._stock.add(ids, vectors)
        self._nodes.add(len(ids))
        self._follow()

    def expect(self, count: int) -> None:
        """Make room for so many vectors; see ``index.backend.Roomy.expect``."""
        self._stock.expect(count)

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        held = len(self._stock)
        holes, movers = self._stock.remove(ids)
        self._nodes.remove(holes, movers, len(self._stock))
        self._follow()
        return held - len(self._stock)

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return vectors; see ``index.backend.Backend.vectors``."""
        return self._stock.of(ids)

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        ranking.check_finite(queries)
        queries = np.ascontiguousarray(queries, np.float32)
        rows = self._stock.rows(allow)
        k = min(k, len(rows))
        wide = self._width(k, len(rows), allow is not None)
        if not (k and self._held and len(queries)) or wide > MOST_AT_ONCE:
            return ranking.stacked(self._stock.search(queries, k, rows), k)
        passing = None
        if allow is not None:
            passing = np.zeros(len(self._stock), np.bool_)
            passing[rows] = True
        wide = min(wide, self._held)
        rough, numbers = self._device.ask(self._fetch, queries, wide, passing)
        late = self._late if passing is None else self._late[passing[self._late]]
        found: list[ranking.Answer] = []
        for query, scores, near in zip(queries, rough, numbers, strict=True):
            sure = self._sure(scores, near, k, passing)
            if sure is None:
                found += self._stock.search(query[None], k, rows)
                continue
            answers = [self._stock.settle(query, k, sure)]
            if len(late):
                answers += self._stock.search(query[None], min(k, len(late)), late)
            found.append(ranking.merged(answers, k))
        return ranking.stacked(found, k)

    def _width(self, k: int, passing: int, filtered: bool) -> int:
        """Say how many the device has to give."""
        wanted = k + SPARE + int(k * (SPARE_SHARE - 1))
        if self._filters and filtered:
            return wanted
        dead = self._held - (self._nodes.live - len(self._late))
        return -(-wanted * len(self._stock) // max(passing, 1)) + dead

    def _sure(
        self, scores: Float32Array, near: Int64Array, k: int, passing: BoolArray | None
    ) -> Int64Array | None:
        """Return the rows on the device that may be among the best; None where others may be, too."""
        there = near >= 0  # a filter of the device's may leave too few
        scores, rows = scores[there], self._nodes.row(near[there])
        whole = len(near) == self._held or not there.all()
        good = rows != NOWHERE if passing is None else (rows != NOWHERE) & passing[rows]
        rows, own = rows[good], scores[good]
        if len(rows) < k:
            return rows if whole else None
        least = own[k - 1] - self._slack
        return rows[own >= least] if whole or scores[-1] < least else None

    def _fetch(
        self, queries: Float32Array, wide: int, passing: BoolArray | None
    ) -> tuple[Float32Array, Int64Array]:
        """Ask the device; on the worker only."""
        parameters = None
        if passing is not None and self._filters:
            chosen = np.zeros(self._held, np.bool_)
            numbers = self._nodes.number(np.flatnonzero(passing))
            chosen[numbers[numbers < self._held]] = True
            parameters = self._parameters(chosen)
        scores, near = self._index.search(queries, wide, params=parameters)
        return scores, near

    def _follow(self) -> None:
        """See what waits on the host, and move all to the device where that is too much."""
        self._late = self._nodes.since(self._held)
        dead = self._held - (self._nodes.live - len(self._late))
        if len(self._late) > max(self._most_late, LATE_SHARE * self._held) or dead > MOST_DEAD:
            self._device.ask(self._move)
            self._nodes.renew(len(self._stock))
            self._held, self._late = len(self._stock), np.empty(0, np.int64)

    def _move(self) -> None:
        """Put all rows onto the device in one piece; on the worker only."""
        self._index.reset()
        self._held = 0
        if len(self._stock):
            self._index.add(self._stock.vectors)

    def _start(self) -> None:
        """Make an empty index and try its filters; on the worker only."""
        library = self._device.library
        settings = library.GpuIndexFlatConfig()
        settings.device, settings.useFloat16 = self._device.number, True
        self._index = library.GpuIndexFlatIP(self._device.resources, self._dim, settings)
        pair = np.zeros((2, self._dim), np.float32)
        pair[0, 0], pair[1, 0] = 1.0, 0.5
        self._index.add(pair)
        _, plain = self._index.search(pair[:1], 1)
        if plain.tolist() != [[0]]:
            raise EngineError(f"the GPU's index does not find the vector asked for: {plain.tolist()}")
        try:
            _, found = self._index.search(pair[:1], 1, params=self._parameters(np.array([False, True])))
            self._filters = found.tolist() == [[1]]
        except (RuntimeError, AssertionError):  # FAISS's words for what an index cannot do
            self._filters = False
        self._index.reset()

    def _parameters(self, chosen: BoolArray) -> Any:
        library = self._device.library
        return library.SearchParameters(sel=library.IDSelectorBitmap(np.packbits(chosen, bitorder="little")))


def slack(dim: int) -> float:
    """Bound how far two half-precision scores of unit rows can be out of order.

    Rounding a row or a query to half precision moves it by at most 2^-11 of its length, and by 2^-25 for each number
    too small for that; sums of D products are made in single precision, and rows may be longer than 1 by a thousandth.
    """
    moved = HALF + np.sqrt(dim) * SINGLE
    return float(2.02 * (2 * moved + moved**2 + dim * SINGLE))
