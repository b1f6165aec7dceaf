"""The grids that eight bits can tell apart, and values put on them.

Maps have one scale each, weights one for each output channel. Knows no graph.
"""

from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from vireid.arrays import Float32Array

Kind = Literal["uint8", "int8", "fp8"]

FP8_MAX = 448.0  # of E4M3 without infinities
# a bias is an int32 on the grid of its products; a scale may not be so small that it leaves it
BIAS_MAX = float(2**29)
SMALLEST = 1e-12
DTYPES: dict[Kind, Any] = {
    "uint8": np.dtype(np.uint8),
    "int8": np.dtype(np.int8),
    "fp8": np.dtype(ml_dtypes.float8_e4m3fn),
}
REACH: dict[Kind, float] = {"int8": 127.0, "fp8": FP8_MAX}


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What a map is rounded to.

    Attributes:
        scale: between two neighbours, or of a float's unit.
        zero: the number that stands for nought.
        kind: of number.
    """

    scale: float
    zero: int
    kind: Kind


def of_map(low: float, high: float, kind: Kind) -> Grid:
    """Choose a map's grid: nought is always on it; ``int8`` and ``fp8`` lie evenly around nought.

    Args:
        low: least value to be told apart.
        high: greatest.
        kind: of number.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if kind == "uint8":
        scale = max((high - low) / 255.0, SMALLEST)
        return Grid(scale, int(np.clip(round(-low / scale), 0, 255)), kind)
    return Grid(max(high, -low, SMALLEST) / REACH[kind], 0, kind)


def scales(weight: Float32Array, axis: int, kind: Kind, least: Float32Array | None = None) -> Float32Array:
    """Choose the scale of each output channel of a weight, (channels,).

    Args:
        weight: any shape.
        axis: of the output channels.
        kind: ``int8`` or ``fp8``.
        least: no scale may be smaller, (channels,).
    """
    greatest = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).max(axis=1)
    found = np.where(greatest > 0, greatest / REACH[kind], 1.0)
    if least is not None:
        found = np.maximum(found, least)
    return found.astype(np.float32)


def rounded(weight: Float32Array, scale: Float32Array, axis: int, kind: Kind) -> Any:
    """Put a weight on its channels' grids."""
    shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
    steps = weight / scale.reshape(shape)
    if kind == "int8":
        return np.clip(np.rint(steps), -127, 127).astype(np.int8)
    return np.clip(steps, -FP8_MAX, FP8_MAX).astype(DTYPES[kind])


def restored(values: Any, scale: Float32Array, axis: int) -> Float32Array:
    """Return the numbers that rounded weights stand for."""
    shape = [-1 if at == axis else 1 for at in range(values.ndim)]
    wide: Float32Array = values.astype(np.float32) * scale.reshape(shape)
    return wide
