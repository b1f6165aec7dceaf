"""What every network is, whatever its first layers: images of two modalities in, one embedding each out.

Holds ``Network``, which a class per kind of stem completes, and ``Embedded``, what training sees of a batch. Knows no losses.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.heads import Neck, pool
from training.models.resnet import Stem, Trunk

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What training sees.

    Attributes:
        pooled: before the neck, for distances, (B, D).
        necked: after it, for classifiers, (B, D).
        levels: means of the maps of the stem and of the four stages, side by side, (B, ``level_dim``); None unless
            they were asked for.
    """

    pooled: Tensor
    necked: Tensor
    levels: Tensor | None = None


class Network(nn.Module, ABC):
    """Visible and infrared images to one space.

    Args:
        stems: the first layers, by the name their weights have.
        trunk: the stages both modalities share.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, stems: Mapping[str, Stem], trunk: Trunk, input_size: tuple[int, int], pooling: str
    ) -> None:
        super().__init__()
        for name, stem in stems.items():
            self.add_module(name, stem)
        self.trunk = trunk
        self.pool = pool(pooling)
        self.neck = Neck(trunk.channels)
        self.input_size = input_size
        self.dim = trunk.channels
        self.level_dim = next(iter(stems.values())).channels + sum(trunk.widths)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    @abstractmethod
    def stem_maps(self, x: Tensor, modality: Tensor) -> Tensor:
        """Pass normalised images (B, 3, H, W) through the first layers."""

    def forward(self, images: Tensor, modality: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: RGB, uint8, (B, H, W, 3).
            modality: 0 visible, 1 infrared, int64, (B,).

        Returns:
            Unit rows, (B, D).
        """
        return F.normalize(self.features(images, modality).necked)

    def features(self, images: Tensor, modality: Tensor, *, levels: bool = False) -> Embedded:
        """Compute what the losses need.

        Args:
            images: as for ``forward``; may be float 0..255.
            modality: as for ``forward``.
            levels: give the means of every level's maps too.
        """
        x = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        x = self.stem_maps(x, modality)
        means = [_mean(x)] if levels else []
        for stage in self.trunk.stages():
            x = stage(x)
            if levels:
                means.append(_mean(x))
        pooled = self.pool(x)
        return Embedded(pooled, self.neck(pooled), torch.cat(means, 1) if levels else None)


def _mean(maps: Tensor) -> Tensor:
    return maps.float().mean((2, 3))
