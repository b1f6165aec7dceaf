"""Precision over recall, averaged over queries exactly: nothing is interpolated and nothing is sampled. Knows no scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """The mean precision at each recall, as a step function.

    A query with n matches has the precision k / (rank of its k-th match) where recall is in ((k - 1) / n, k / n]:
    what a reader has seen who stops at the first rank that reaches the recall. The mean over the valid queries is
    again a step function, and the area under it is exactly the mean average precision.

    Attributes:
        recall: right ends of the steps, rising to 1, (K,).
        precision: from the end before (or 0) to this one, (K,).
    """

    recall: Float64Array
    precision: Float64Array

    @property
    def area(self) -> float:
        """The area under the steps."""
        return float(np.diff(self.recall, prepend=0.0) @ self.precision)

    def at(self, recall: Float64Array) -> Float64Array:
        """Return the precision at recalls in (0, 1], (N,)."""
        step = np.searchsorted(self.recall, recall, side="left")
        return self.precision[np.minimum(step, len(self.recall) - 1)]


class PrecisionTally:
    """Collects match ranks query by query."""

    def __init__(self) -> None:
        self._queries: dict[int, int] = {}
        self._precision: dict[int, Float64Array] = {}

    def add(self, n_match: int, precision: Float64Array) -> None:
        """Add queries that have the same number of matches.

        Args:
            n_match: how many.
            precision: k / (rank of the k-th match), (queries, n_match).
        """
        before = self._precision.get(n_match, np.zeros(n_match))
        self._precision[n_match] = before + precision.sum(axis=0)
        self._queries[n_match] = self._queries.get(n_match, 0) + len(precision)

    def curve(self) -> PrecisionRecall:
        """Return the mean over everything added; at least one query must have been."""
        return _mean(self._precision, self._queries)


def mean(curves: Sequence[PrecisionRecall]) -> PrecisionRecall:
    """Return the plain mean of several curves; its area is the mean of theirs."""
    recall = np.unique(np.concatenate([c.recall for c in curves]))
    return PrecisionRecall(recall, np.mean([c.at(recall) for c in curves], axis=0))


def _mean(precision: Mapping[int, Float64Array], queries: Mapping[int, int]) -> PrecisionRecall:
    """Average step functions of different step widths: sort where any of them changes, and sum the changes."""
    ends, changes = [], []
    for n in sorted(precision):
        ends.append(
            np.arange(n) / n
        )  # the k-th step begins where the one before ends; equal fractions are equal
        changes.append(np.diff(precision[n], prepend=0.0))
    begins, place = np.unique(np.concatenate(ends), return_inverse=True)
    change = np.bincount(place, np.concatenate(changes))
    return PrecisionRecall(np.append(begins[1:], 1.0), np.cumsum(change) / sum(queries.values()))
