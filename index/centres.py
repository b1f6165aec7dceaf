"""Centres: the mean vector of each modality, and rows with the mean of their own modality taken off them.

A camera's modality moves all its embeddings the same way, which says nothing of the person; without it the two
modalities lie closer together. Centres are learnt without labels. Knows no gallery and no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vireid.errors import EmbeddingNotFinite, FailedPrecondition, InvalidRequest
from vireid.types import Centring, Modality

# so many vectors a mean takes at least: of fewer it tells more of who they are than of the cameras
LEAST_VECTORS = 32
# what is nearer to its centre has no direction left but that of rounding, and stays as it came
LEAST_NORM = 1e-3
KINDS = tuple(Modality)


@dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """One centre for each modality.

    Attributes:
        told: how many vectors made each, since when they are in use, and how much of them is taken off.
        rows: the means, those of modalities that are left as they came zero, (2, D).
    """

    told: Centring
    rows: Float32Array

    @property
    def number(self) -> int:
        """Which they are: the version that the gallery got with them."""
        return self.told.version

    def applied(self, rows: Float32Array, modalities: Int64Array) -> Float32Array:
        """Centre unit rows, each by itself and always by the same steps.

        Args:
            rows: as they were embedded, (N, D).
            modalities: of each, (N,).

        Returns:
            Unit rows, (N, D). A row that is its centre, and one of a modality without a centre, stays as it came.
        """
        centred = np.array(rows, np.float32)
        for kind, count in zip(KINDS, self.told.counts, strict=True):
            places = np.flatnonzero(modalities == int(kind))
            if count and len(places):
                centre = self.told.strength * self.rows[int(kind)].astype(np.float64)
                centred[places] = without(rows[places], centre)
        return centred


def without(rows: Float32Array, centre: Float64Array) -> Float32Array:
    """Take a vector, (D,) or one for each row, off unit rows, and bring them back to length 1."""
    moved = rows.astype(np.float64) - centre
    norms = np.sqrt((moved * moved).sum(axis=1))
    far = norms >= LEAST_NORM
    centred = np.array(rows, np.float32)
    centred[far] = moved[far] / norms[far, None]
    return centred


def applied(centres: Centres | None, rows: Float32Array, modalities: Sequence[Modality]) -> Float32Array:
    """Bring rows as they were embedded, (N, D), to the space that is searched; without centres they are in it."""
    if centres is None:
        return rows
    return centres.applied(rows, np.array([int(one) for one in modalities], np.int64))


def check_strength(strength: float) -> None:
    """Refuse to take off less than nothing, nothing, or more than a centre.

    Raises:
        InvalidRequest: that is asked for.
    """
    if not 0 < strength <= 1:  # NaN, too
        raise InvalidRequest(f"strength is above 0 to 1, not {strength}", field="strength")


class Means:
    """Sums that become centres.

    Args:
        dim: embedding dimension D.

    Attributes:
        counts: vectors of each modality so far, (2,).
    """

    def __init__(self, dim: int) -> None:
        self._sums: Float64Array = np.zeros((len(KINDS), dim))
        self.counts: Int64Array = np.zeros(len(KINDS), np.int64)

    def take_in(self, rows: Float32Array, modalities: Int64Array, chosen: BoolArray | None = None) -> None:
        """Add unit rows, (N, D), or some of them.

        Raises:
            EmbeddingNotFinite: NaN or infinity in a row; nothing was added.
        """
        if not np.isfinite(rows).all():
            raise EmbeddingNotFinite(
                "a vector that is to make a centre holds NaN or infinity", field="embedding"
            )
        for kind in KINDS:
            mine = modalities == int(kind)
            if chosen is not None:
                mine &= chosen
            self._sums[int(kind)] += rows[mine].sum(axis=0, dtype=np.float64)
            self.counts[int(kind)] += int(mine.sum())

    def rows(self) -> Float64Array:
        """Return the means, zero where there is no vector, (2, D)."""
        means: Float64Array = self._sums / np.maximum(self.counts, 1)[:, None]
        return means

    def centres(self, strength: float = 1.0, half: bool = False) -> Centres:
        """Make centres that are in no gallery yet.

        Args:
            strength: how much of a centre is taken off, above 0 to 1.
            half: accept that a modality has too few vectors, and leave it as it came.

        Raises:
            InvalidRequest: another strength.
            FailedPrecondition: too few vectors (reason ``TOO_FEW_TO_CENTRE``).
        """
        check_strength(strength)
        enough = self.counts >= LEAST_VECTORS
        if not enough.any() or not (half or enough.all()):
            told = " and ".join(f"{self.counts[kind]} {kind.word}" for kind in KINDS)
            raise FailedPrecondition(
                f"found {told} vectors; a centre takes {LEAST_VECTORS} at least, and queries of a modality without one "
                "would be compared across two spaces: enrol more images of it, on the command line give some to learn "
                "from only (--query-images), or ask for one centre only (half)",
                reason="TOO_FEW_TO_CENTRE",
            )
        visible, infrared = np.where(enough, self.counts, 0).tolist()
        rows = np.where(enough[:, None], self.rows(), 0.0).astype(np.float32)
        return Centres(Centring(strength=float(strength), visible=visible, infrared=infrared), rows)
