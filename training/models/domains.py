"""Batch norm of its own for a labelled source set that is trained beside the target.

Chang et al., Domain-Specific Batch Normalization for Unsupervised Domain Adaptation, CVPR 2019. The network itself is the
target's and stays as it is: evaluation, export and checkpoints of it know nothing of the source.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vireid.errors import TrainingError


class SourceNorms(nn.Module):
    """The source's statistics, scales and shifts, one for each batch norm of a network; they begin as the network's.

    Args:
        network: whose batch norms; it is not changed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._names = [name for name, part in network.named_modules() if isinstance(part, _BatchNorm)]
        self.norms = nn.ModuleList(copy.deepcopy(network.get_submodule(name)) for name in self._names)

    def follow(self, network: nn.Module) -> None:
        """Become what the network's own are now."""
        for name, norm in zip(self._names, self.norms, strict=True):
            norm.load_state_dict(network.get_submodule(name).state_dict())

    @contextmanager
    def used(self, network: nn.Module, source: Tensor | None = None) -> Iterator[None]:
        """Normalise the source's rows of every batch by these norms, the others by the network's own.

        Args:
            network: the one these were made for; it is as before once the context ends.
            source: which rows are the source's, (B,); None for all, whatever the size of a batch.
        """
        rows = None if source is None else _Rows(source)
        own = [network.get_submodule(name) for name in self._names]
        try:
            for name, norm, twin in zip(self._names, own, self.norms, strict=True):
                _put(network, name, twin if rows is None else _Divided(norm, twin, rows))
            yield
        finally:
            for name, norm in zip(self._names, own, strict=True):
                _put(network, name, norm)


class _Rows:
    """Which rows are of the source, found once for all norms of a pass."""

    def __init__(self, source: Tensor) -> None:
        self.count = len(source)
        self.source, self.target = source.nonzero()[:, 0], (~source).nonzero()[:, 0]
        self.back = torch.argsort(torch.cat([self.source, self.target]))


class _Divided(nn.Module):
    """Stands for a batch norm while rows of two sets pass through it."""

    def __init__(self, target: nn.Module, source: nn.Module, rows: _Rows) -> None:
        super().__init__()
        self.target, self.source, self._rows = target, source, rows
        self.training = target.training

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...), each set by its own norm."""
        rows = self._rows
        if len(x) != rows.count:
            raise TrainingError(
                f"a batch norm got {len(x)} rows, {rows.count} are marked as source or target; "
                "take a one-stream network, or batches of one modality"
            )
        parts = ((self.source, rows.source), (self.target, rows.target))
        return torch.cat([norm(x[index]) for norm, index in parts if len(index)])[rows.back]


def _put(network: nn.Module, name: str, part: nn.Module) -> None:
    place, _, last = name.rpartition(".")
    setattr(network.get_submodule(place), last, part)
