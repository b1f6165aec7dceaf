"""The interface of a method: how labels are made and what is minimised. Knows no optimiser, no schedule, no files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from training.data.loaders import Batch
from training.data.samplers import Draw
from training.features import Look
from training.labels.pseudo import PseudoLabels
from training.models.network import Network
from vireid.arrays import BoolArray, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a method is told of the training images beside their pixels.

    Attributes:
        persons: identity of each, -1 wherever the method may not know it, (N,).
        modality: 0 visible, 1 infrared, (N,).
        camera: of each, (N,).
        source: whether it is of a labelled source set and no image of the dataset that is learnt, (N,).
    """

    persons: Int64Array
    modality: Int64Array
    camera: Int64Array
    source: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """What an epoch is trained on.

    Attributes:
        draw: what batches are made of.
        labels: the pseudo-labels behind it, of every training image; None for a method that needs none.
        told: what is worth telling of how they were made (clusters, iterations of a solver), by name.
    """

    draw: Draw
    labels: PseudoLabels | None = None
    told: Mapping[str, float] = field(default_factory=dict)


class Method(Protocol):
    """What a training loop asks of a method."""

    @property
    def modules(self) -> nn.ModuleDict:
        """Everything that is learnt or remembered, the network under ``model``.

        All of it is saved and restored: what is no weight (a memory, a bank of labels, a counter) is a buffer.
        """
        ...

    @property
    def network(self) -> Network:
        """The network that will be exported."""
        ...

    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        """Make the labels batches are drawn by in this epoch.

        Args:
            epoch: from 0.
            look: runs the network over the training images as it is now; it changes neither weights nor
                statistics, and costs a pass over the images.
        """
        ...

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch by name; what is minimised is ``total``."""
        ...

    def after_step(self, batch: Batch) -> None:
        """Update what is not learnt by gradients (memories), after each batch and after the step it may have ended."""
        ...
