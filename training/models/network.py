"""What every network is, whatever it is made of: images of two modalities in, one embedding each out.

Holds ``Network``, which every kind of network completes, and ``Embedded``, what training sees of a batch. Knows no layers
and no losses.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How pixels of 0..1 become what the first layer takes; as the standard weights of a network were learnt.

    Attributes:
        mean: taken off each channel.
        std: by which each is divided then.
    """

    mean: Colour
    std: Colour


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True)
class Embedded:
    """What training sees.

    Attributes:
        pooled: before the neck, for distances, (B, D).
        necked: after it, for classifiers, (B, D).
        levels: means of what the first layers and each of four further levels give, side by side, (B, ``level_dim``);
            None unless they were asked for.
    """

    pooled: Tensor
    necked: Tensor
    levels: Tensor | None = None


class Network(nn.Module, ABC):
    """Visible and infrared images to one space.

    Layers that standard weights may fill stand under names that end in ``stem`` or ``trunk``.

    Args:
        input_size: (height, width) of the images.
        dim: of the embeddings.
        level_dim: of ``Embedded.levels``.
        normalisation: of the pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_size: tuple[int, int],
        dim: int,
        level_dim: int,
        normalisation: Normalisation = IMAGENET,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.dim = dim
        self.level_dim = level_dim
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor, modality: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: RGB, uint8, (B, H, W, 3).
            modality: 0 visible, 1 infrared, int64, (B,).

        Returns:
            Unit rows, (B, D).
        """
        return F.normalize(self.features(images, modality).necked)

    @abstractmethod
    def features(self, images: Tensor, modality: Tensor, *, levels: bool = False) -> Embedded:
        """Compute what the losses need.

        Args:
            images: as for ``forward``; may be float 0..255.
            modality: as for ``forward``.
            levels: give the means of every level too.
        """

    def normalised(self, images: Tensor) -> Tensor:
        """Turn images (B, H, W, 3) of 0..255 into what the first layer takes, (B, 3, H, W)."""
        return (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std

    def fitted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Bring standard weights to the names and the grid of this network; as they are where it knows no other.

        Args:
            weights: by the names of their file.

        Returns:
            By the names that the layers have below a stem or a trunk.
        """
        return weights
