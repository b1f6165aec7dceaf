"""Decoded pixels to the size a bundle asks for; normalisation happens inside the model's graph.

Pillow's resize is the reference: its filters widen when shrinking, so there is no aliasing.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from vireid.arrays import UInt8Array

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a bundle wants its images.

    Attributes:
        height: rows of the model's input.
        width: columns of the model's input.
        interpolation: ``bilinear`` or ``bicubic``.
    """

    height: int
    width: int
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation is one of {sorted(INTERPOLATIONS)}, not {self.interpolation!r}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size must be positive, not {self.height} x {self.width}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def apply(self, rgb: UInt8Array) -> UInt8Array:
        """Stretch an image to the input size.

        Args:
            rgb: any size, (h, w, 3).

        Returns:
            (height, width, 3).
        """
        if rgb.shape[:2] == (self.height, self.width):
            return rgb
        image = Image.fromarray(rgb).resize((self.width, self.height), INTERPOLATIONS[self.interpolation])
        return np.asarray(image)
