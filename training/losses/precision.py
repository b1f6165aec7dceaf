"""Losses are computed in single precision at least, whatever the network ran in: small differences of large numbers matter."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SMALLEST_SQUARE = 1e-12  # the square root of exactly 0 has no gradient


def widened(x: Tensor) -> Tensor:
    """Return x in single precision, or as it is if it is finer."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def exactly(x: Tensor) -> Iterator[None]:
    """Keep automatic mixed precision out of a computation on x's device."""
    with torch.autocast(x.device.type, enabled=False):
        yield


def lengths(differences: Tensor) -> Tensor:
    """Return the Euclidean length of each row, (B,) of (B, D)."""
    return differences.square().sum(1).clamp(min=SMALLEST_SQUARE).sqrt()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances of rows, (A, B) of (A, D) and (B, D)."""
    with exactly(a):
        a, b = widened(a), widened(b)
        squares = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
        return squares.clamp(min=SMALLEST_SQUARE).sqrt()
