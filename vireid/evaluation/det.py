"""The DET curve of an open search: how often a person is missed against how often a stranger raises an alarm.

The words are those of ISO/IEC 19795-1 (identification) and of NIST's FRVT 1:N reports. A *search* is one query image
against a trial's gallery. A threshold T turns the ranking into an answer: the images that score T or more.

- A **mated search** is a query with a match in the gallery (what is *valid* elsewhere here). It fails at T if no image
  of its person scores T or more. FNIR(T), the false-negative identification rate, is the share that fail. Ranks do
  not count (FRVT's R is the size of the gallery), and one of the person's images is enough.
- A **non-mated search** asks for somebody who is not enrolled. The query's own person is taken out of the gallery for
  it, so every query makes one, also one without a match. It is a false alarm at T if any image left scores T or more.
  FPIR(T), the false-positive identification rate, is the share that are.

What the exclusion rule hides from a query counts in neither. A query of an unknown person takes no part. FPIR grows
with the gallery, so a curve belongs to the size it was measured on. Knows no vectors and no drawing.
"""

from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Det:
    """A DET curve, point by point.

    Attributes:
        threshold: every score at which something changes, ascending, then infinity, (T,).
        fpir: share of the non-mated searches that answer, never rising, 0 at the end, (T,).
        fnir: share of the mated searches that miss, never falling, 1 at the end, (T,).
        mated: how many mated searches.
        nonmated: how many non-mated ones.
    """

    threshold: Float64Array
    fpir: Float64Array
    fnir: Float64Array
    mated: int
    nonmated: int

    def at(self, fpir: Float64Array) -> Float64Array:
        """Return the lowest FNIR whose FPIR is no more than asked for, (N,); nothing is interpolated."""
        step = np.searchsorted(-self.fpir, -np.asarray(fpir, dtype=np.float64), side="left")
        return self.fnir[np.minimum(step, len(self.fnir) - 1)]

    def limit(self, fpir: float) -> float:
        """Return the lowest threshold whose FPIR is no more than asked for."""
        return float(self.threshold[int(np.argmax(self.fpir <= fpir))])


def det(match: Float64Array, other: Float64Array) -> Det:
    """Make the curve.

    Args:
        match: the best score of the own person, one for each mated search, (M,).
        other: the best score of anybody else, one for each non-mated search, -inf where nobody is left, (N,).
    """
    match, other = np.sort(match), np.sort(other)
    finite = np.concatenate([match, other[np.isfinite(other)]])
    threshold = np.append(np.unique(finite), np.inf)
    below = np.searchsorted(other, threshold, side="left")
    return Det(
        threshold=threshold,
        fpir=(len(other) - below) / len(other),
        fnir=np.searchsorted(match, threshold, side="left") / len(match),
        mated=len(match),
        nonmated=len(other),
    )
