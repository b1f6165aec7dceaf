"""The images of a split, decoded and resized, kept in memory while they fit. Knows no persons."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vireid.arrays import Int64Array, UInt8Array
from vireid.datasets import pixels
from vireid.datasets.split import Split
from vireid.images.preprocess import Preprocess


class Images:
    """Crops by index.

    Args:
        split: which images; only paths and modalities are kept.
        preprocess: the size they are brought to.
        cache_mb: kept in memory at most.
    """

    def __init__(self, split: Split, preprocess: Preprocess, cache_mb: int) -> None:
        self._paths: Sequence[Path] = [sample.path for sample in split.samples]
        self.modality: Int64Array = split.modalities
        self._preprocess = preprocess
        self._room = cache_mb * 1024 * 1024 // (preprocess.height * preprocess.width * 3)
        self._kept: dict[int, UInt8Array] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def preprocess(self) -> Preprocess:
        """The size images are brought to."""
        return self._preprocess

    def name(self, place: int) -> str:
        """Name an image by its file and the folder that holds it."""
        return "/".join(self._paths[place].parts[-2:])

    def get(self, index: Int64Array) -> UInt8Array:
        """Return crops, (B, H, W, 3).

        Raises:
            DatasetError: a file cannot be read; it is named.
        """
        return np.stack([self._one(int(place)) for place in index])

    def _one(self, place: int) -> UInt8Array:
        kept = self._kept.get(place)
        if kept is None:
            kept = self._preprocess.apply(pixels.read(self._paths[place]))
            if len(self._kept) < self._room:
                self._kept[place] = kept
        return kept
