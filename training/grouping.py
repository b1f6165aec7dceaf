"""Batch norm over groups of rows: on one device, the statistics of batches that were divided over several.

Methods published with DataParallel see a device's share of the batch in every batch norm, and their scores depend on it.
A group holds the same slots of every part of the batch; the sampler puts the K images of an identity next to each other
and the same identities into the same slots of the parts, so a group has whole identities, in both modalities. Of a part
that is filled up with smaller clusters a group holds as many rows, and a cluster may stand in two groups.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vireid.errors import TrainingError


class Grouping:
    """Divides what batch norms in training see, while a batch is announced.

    Args:
        rows: of a group, over all parts of a batch.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._part = 0  # rows of a part of the batch, 0 while none is announced
        self._slots = 0  # rows of a part in a group

    def apply(self, modules: nn.Module) -> None:
        """Make every batch norm in ``modules`` ask this grouping; names and weights stay as they are."""
        for module in modules.modules():
            if isinstance(module, _BatchNorm):
                module.forward = partial(self._forward, module)  # type: ignore[method-assign]

    @contextmanager
    def of(self, batch: int, parts: int, images: int) -> Iterator[None]:
        """Announce a batch.

        Args:
            batch: its rows; fewer than a group's are one group, as pseudo-labels may make smaller batches.
            parts: its parts.
            images: K, of each identity in each part.

        Raises:
            TrainingError: a group would divide an identity.
        """
        if self._rows % (parts * images):
            raise TrainingError(
                f"bn_group is {self._rows}; expected a multiple of {parts * images} rows "
                f"({parts} parts x {images} images of an identity)"
            )
        self._part, self._slots = batch // parts, self._rows // parts
        try:
            yield
        finally:
            self._part = 0

    def _forward(self, norm: _BatchNorm, x: Tensor) -> Tensor:
        if not (norm.training and self._part) or len(x) % self._part:
            return type(norm).forward(norm, x)
        parts = len(x) // self._part
        sizes = [min(self._slots, self._part - at) for at in range(0, self._part, self._slots)]
        pieces = torch.split(x, sizes * parts)
        made: list[Tensor] = [x] * len(pieces)
        seen: list[tuple[Tensor, Tensor]] = []
        for group in range(len(sizes)):
            places = range(group, len(pieces), len(sizes))
            whole, statistics = _normal(norm, torch.cat([pieces[place] for place in places]))
            seen.append(statistics)
            for place, piece in zip(places, torch.split(whole, sizes[group]), strict=True):
                made[place] = piece
        _remember(norm, seen)
        return torch.cat(made)


def _normal(norm: _BatchNorm, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Normalise one group; the running statistics it would leave come back beside it."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    made = F.batch_norm(x, mean, var, norm.weight, norm.bias, True, norm.momentum, norm.eps)
    return made, (mean, var)


def _remember(norm: _BatchNorm, seen: list[tuple[Tensor, Tensor]]) -> None:
    """Keep the mean of what the groups would leave: one step of the running statistics, not one a group."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    with torch.no_grad():
        norm.running_mean.copy_(torch.stack([mean for mean, _ in seen]).mean(0))
        norm.running_var.copy_(torch.stack([var for _, var in seen]).mean(0))
        norm.num_batches_tracked += 1
