"""The interface of a method: how labels are made and what is minimised. Knows no optimiser, no schedule, no files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from training.data.loaders import Batch
from training.models.two_stream import TwoStream
from vireid.arrays import Float32Array, Int64Array

Embed = Callable[[], Float32Array]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a method is told of the training images beside their pixels.

    Attributes:
        persons: identity of each, -1 wherever the method may not know it, (N,).
        modality: 0 visible, 1 infrared, (N,).
    """

    persons: Int64Array
    modality: Int64Array


class Method(Protocol):
    """What a training loop asks of a method."""

    @property
    def modules(self) -> nn.ModuleDict:
        """Everything that is learnt or remembered, the network under ``model``.

        All of it is saved and restored: what is no weight (a memory, a bank of labels, a counter) is a buffer.
        """
        ...

    @property
    def network(self) -> TwoStream:
        """The network that will be exported."""
        ...

    def begin_epoch(self, epoch: int, embed: Embed) -> Int64Array:
        """Make the labels batches are drawn by in this epoch.

        Args:
            epoch: from 0.
            embed: computes the embedding of every training image as it is now, unit rows, (N, D); it changes
                neither weights nor statistics, and costs a pass over the images.

        Returns:
            A label for each image, -1 for none, (N,).
        """
        ...

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch by name; what is minimised is ``total``."""
        ...

    def after_step(self, batch: Batch) -> None:
        """Update what is not learnt by gradients (memories), after the optimiser's step."""
        ...
