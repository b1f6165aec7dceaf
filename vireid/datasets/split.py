"""What a dataset is once read: named splits of samples, and the marker of drawn data.

Knows no layout; the readers beside it do.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vireid.arrays import Int64Array
from vireid.types import Modality, Sample

# The generator writes this file at the root of what it draws: counts are then reported and never compared
# with the published ones, and every score is labelled synthetic.
SYNTHETIC_MARKER = "synthetic.json"


@dataclass(frozen=True, slots=True)
class Split:
    """A named part of a dataset.

    Attributes:
        name: ``train``, ``query`` or ``gallery``.
        samples: its images, in the dataset's own order (draws depend on it).
    """

    name: str
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def persons(self) -> Int64Array:
        """Identity of each sample, (N,)."""
        return np.array([s.person for s in self.samples], dtype=np.int64)

    @property
    def cameras(self) -> Int64Array:
        """Camera of each sample, (N,)."""
        return np.array([s.camera for s in self.samples], dtype=np.int64)

    @property
    def modalities(self) -> Int64Array:
        """Modality of each sample, 0 visible and 1 infrared, (N,)."""
        return np.array([s.modality for s in self.samples], dtype=np.int64)

    def of(self, modality: Modality) -> "Split":
        """Return the samples of one modality."""
        return Split(self.name, tuple(s for s in self.samples if s.modality is modality))


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as read from disk.

    Attributes:
        name: ``sysu-mm01``, ``regdb``, ``llcm`` or ``folder``.
        root: the folder it was read from.
        train: training images of both modalities.
        query: every test image that may ask: the infrared ones.
        gallery: every test image that may be found, the visible ones; protocols draw from it or turn
            the direction round.
        trial: the identity split, 1 to 10, where a dataset has several (RegDB); else 0.
        synthetic: whether the generator drew it.
    """

    name: str
    root: Path
    train: Split
    query: Split
    gallery: Split
    trial: int = 0
    synthetic: bool = False


def is_synthetic(root: Path) -> bool:
    """Whether the generator drew the dataset at ``root``."""
    return (root / SYNTHETIC_MARKER).is_file()
