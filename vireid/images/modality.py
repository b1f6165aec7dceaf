"""Was a picture taken in visible or in infrared light? Judged from how much its colour varies.

An infrared crop is grey up to noise and a cast of the whole picture; a visible one holds several colours even where the clothes
are grey. docs/images.md says what this was measured on. Knows no model.
"""

import math

import numpy as np
from PIL import Image

from vireid.arrays import Float32Array, UInt8Array
from vireid.types import Modality

CELLS = 64  # averaging over 1/64 of the picture takes out the noise of single pixels and of JPEG's chroma
LONGEST_SIDE = 256  # what is sampled of a large picture
LARGEST_TINT = 0.2  # chroma a level of brightness that a tinted infrared picture may have
DARK_LEVELS = 48.0  # added to the mean brightness before dividing by it, so that black pictures stay grey
# logistic in log(1 + variation), by docs/images.md
MIDDLE_VARIATION = 2.5
STEEPNESS = 6.0


def colour_variation(rgb: UInt8Array) -> float:
    """Measure how much colour varies over a picture, for a picture of medium brightness, in levels.

    A cast (an offset of a channel) and a slight tint (a gain of a channel) vary nothing and do not count.

    Args:
        rgb: (h, w, 3).
    """
    cells = _cells(rgb)
    brightness = cells @ np.array([0.3, 0.6, 0.1], dtype=np.float32)
    rise = brightness - brightness.mean()
    chroma = cells[:, (0, 2)] - cells[:, 1:2]
    slope = rise @ chroma / (float(rise @ rise) + 1e-6)
    left = chroma - np.clip(slope, -LARGEST_TINT, LARGEST_TINT) * rise[:, None]
    left -= _middle(left)
    spread = math.sqrt(float((left * left).sum(axis=1).mean()))
    return 128.0 * spread / (float(brightness.mean()) + DARK_LEVELS)


def detect(rgb: UInt8Array) -> tuple[Modality, float]:
    """Decide the modality of a picture.

    Args:
        rgb: (h, w, 3).

    Returns:
        The modality, and the confidence in it, 0.5 to 1.
    """
    odds = STEEPNESS * (math.log1p(colour_variation(rgb)) - math.log1p(MIDDLE_VARIATION))
    visible = 1.0 / (1.0 + math.exp(-odds))
    if visible >= 0.5:
        return Modality.VISIBLE, visible
    return Modality.INFRARED, 1.0 - visible


def _middle(values: Float32Array) -> Float32Array:
    """Take the median of each column; at this size numpy's own is mostly overhead."""
    ranked = np.sort(values, axis=0)
    middle: Float32Array = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    return middle


def _cells(rgb: UInt8Array) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Average a picture over square cells: (cells, 3)."""
    stride = -(-max(rgb.shape[:2]) // LONGEST_SIDE)
    few = np.ascontiguousarray(rgb[::stride, ::stride])
    side = max(1, round(math.sqrt(few.shape[0] * few.shape[1] / CELLS)))
    image = Image.fromarray(few)
    averaged = np.asarray(image if side == 1 else image.reduce(side), dtype=np.float32)
    return averaged.reshape(-1, 3)
