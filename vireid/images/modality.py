"""Was a picture taken in visible or in infrared light? Judged from how much colour it holds.

An infrared crop is grey up to compression noise and a slight cast of the whole picture; a visible one varies in colour
even when the clothes are grey. Knows no model.
"""

import math

import numpy as np

from vireid.arrays import UInt8Array
from vireid.types import Modality

SAMPLES = 4096
# logistic in log(1 + spread): spread is the mean deviation of R-G and B-G from their own medians, in levels
MIDDLE_SPREAD = 1.6
STEEPNESS = 4.0


def colour_spread(rgb: UInt8Array) -> float:
    """Measure the variation of colour in levels; a uniform cast does not count.

    Args:
        rgb: (h, w, 3).
    """
    step = max(1, int(math.sqrt(rgb.shape[0] * rgb.shape[1] / SAMPLES)))
    few = rgb[::step, ::step].reshape(-1, 3).astype(np.int16)
    chroma = few[:, (0, 2)] - few[:, 1:2]
    return float(np.abs(chroma - np.median(chroma, axis=0)).mean())


def detect(rgb: UInt8Array) -> tuple[Modality, float]:
    """Decide the modality of a picture.

    Args:
        rgb: (h, w, 3).

    Returns:
        The modality, and the confidence in it, 0.5 to 1.
    """
    odds = STEEPNESS * (math.log1p(colour_spread(rgb)) - math.log1p(MIDDLE_SPREAD))
    visible = 1.0 / (1.0 + math.exp(-odds))
    if visible >= 0.5:
        return Modality.VISIBLE, visible
    return Modality.INFRARED, 1.0 - visible
