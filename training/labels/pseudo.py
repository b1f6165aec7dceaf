"""Pseudo-labels: who is taken for whom, how sure that is, and how it was found. Knows no way of making them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vireid.arrays import BoolArray, Float32Array, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """Labels of images by index.

    Attributes:
        labels: class of each image, from 0, -1 for none, (N,).
        confidence: 0 to 1, (N,).
        outlier: whether it belongs to no class, or to one of its own, (N,).
        made: how: the method, its settings, what came out.
    """

    labels: Int64Array
    confidence: Float32Array
    outlier: BoolArray
    made: Mapping[str, Any] = field(default_factory=dict)
