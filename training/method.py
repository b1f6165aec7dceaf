"""The interface of a method: how labels are made and what is minimised. Knows no optimiser, no epochs' schedule, no files."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from training.data.loaders import Batch
from training.models.two_stream import TwoStream
from vireid.arrays import Int64Array


class Method(Protocol):
    """What a training loop asks of a method."""

    @property
    def modules(self) -> nn.ModuleDict:
        """Everything that is learnt and saved, the network under ``model``."""
        ...

    @property
    def network(self) -> TwoStream:
        """The network that will be exported."""
        ...

    def begin_epoch(self, epoch: int) -> Int64Array:
        """Make the labels batches are drawn by in this epoch, -1 for none, (N,)."""
        ...

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch by name; what is minimised is ``total``."""
        ...

    def after_step(self, batch: Batch) -> None:
        """Update what is not learnt by gradients (memories), after the optimiser's step."""
        ...
