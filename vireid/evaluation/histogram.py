"""How scores of the same person and of different people are distributed, for each pair of modalities. Knows no ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import BoolArray, Float64Array, Int64Array
from vireid.datasets.split import Split
from vireid.evaluation.metrics import UNKNOWN, Labels, Rule, excluded
from vireid.types import Modality

BINS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of image pairs by score.

    A pair is a query of a known person and a gallery image it may see; a gallery image of nobody known is somebody
    else.

    Attributes:
        query: modality of the image that asks.
        gallery: modality of the image that is found.
        edges: of the bins, rising, evenly spaced, (B + 1,).
        same: pairs of one person, (B,).
        different: pairs of two, (B,).
    """

    query: Modality
    gallery: Modality
    edges: Float64Array
    same: Int64Array
    different: Int64Array


class Tally:
    """Counts pairs block by block."""

    def __init__(self, query: Split, gallery: Split, limit: float) -> None:
        """Prepare to count.

        Args:
            query: what asks.
            gallery: what is found.
            limit: the largest absolute score; what is beyond by rounding counts as there.
        """
        self._limit = limit or 1.0
        self._query = Labels(query.persons, query.cameras)
        self._gallery = Labels(gallery.persons, gallery.cameras)
        self._kinds = query.modalities, gallery.modalities
        self._counts: dict[tuple[int, int, bool], Int64Array] = {}

    def add(self, rows: Int64Array, columns: Int64Array, score: Float64Array, rule: Rule) -> None:
        """Count some queries against some of the gallery, (rows, columns)."""
        asked, found = self._query.take(rows), self._gallery.take(columns)
        counts = ~excluded(asked, found, rule) & (asked.person != UNKNOWN)[:, None]
        same = asked.person[:, None] == found.person[None, :]
        asks, finds = self._kinds[0][rows], self._kinds[1][columns]
        for query in np.unique(asks).tolist():
            for gallery in np.unique(finds).tolist():
                pair = counts & (asks == query)[:, None] & (finds == gallery)[None, :]
                self._put((query, gallery, True), score, pair & same)
                self._put((query, gallery, False), score, pair & ~same)

    def histograms(self) -> tuple[Histogram, ...]:
        """Return one for each pair of modalities that was seen."""
        edges = np.linspace(-self._limit, self._limit, BINS + 1)
        pairs = sorted({(query, gallery) for query, gallery, _ in self._counts})
        return tuple(
            Histogram(Modality(q), Modality(g), edges, self._counts[q, g, True], self._counts[q, g, False])
            for q, g in pairs
        )

    def _put(self, key: tuple[int, int, bool], score: Float64Array, which: BoolArray) -> None:
        inside = np.clip(score[which], -self._limit, self._limit)
        found, _ = np.histogram(inside, bins=BINS, range=(-self._limit, self._limit))
        self._counts[key] = self._counts.get(key, np.zeros(BINS, dtype=np.int64)) + found


def merged(parts: Sequence[Sequence[Histogram]]) -> tuple[Histogram, ...]:
    """Add histograms up; where ranges differ, counts go to the bin of the widest that holds their bin's middle."""
    every = [histogram for part in parts for histogram in part]
    edges = max(
        (h.edges for h in every), key=lambda e: float(e[-1]), default=np.linspace(-1.0, 1.0, BINS + 1)
    )
    pairs = sorted({(h.query, h.gallery) for h in every})
    return tuple(
        Histogram(
            query,
            gallery,
            edges,
            sum(
                (_onto(edges, h.edges, h.same) for h in every if (h.query, h.gallery) == (query, gallery)),
                _none(),
            ),
            sum(
                (
                    _onto(edges, h.edges, h.different)
                    for h in every
                    if (h.query, h.gallery) == (query, gallery)
                ),
                _none(),
            ),
        )
        for query, gallery in pairs
    )


def _none() -> Int64Array:
    return np.zeros(BINS, dtype=np.int64)


def _onto(edges: Float64Array, own: Float64Array, counts: Int64Array) -> Int64Array:
    if np.array_equal(edges, own):
        return counts
    middle = (own[1:] + own[:-1]) / 2
    return np.histogram(middle, bins=edges, weights=counts)[0].astype(np.int64)
