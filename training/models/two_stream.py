"""The two-stream network: a stem of its own for each modality, one trunk, one embedding.

Both stems run over the whole batch and each row takes its own, so one exported graph serves any mixture (the second stem costs
about 2 % of ResNet-50). In training, batch norm of a stem sees its own modality's rows only.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.heads import Average, GeneralisedMean, Neck
from training.models.resnet import Stem, Trunk

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What training sees.

    Attributes:
        pooled: before the neck, for the triplet, (B, D).
        necked: after it, for the identity, (B, D).
    """

    pooled: Tensor
    necked: Tensor


class TwoStream(nn.Module):
    """Visible and infrared images to one space.

    Args:
        trunk: the shared stages.
        width: share of the standard channels.
        input_size: (height, width) of the images.
        pooling: ``gem`` or ``average``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: Trunk, width: float, input_size: tuple[int, int], pooling: str) -> None:
        super().__init__()
        self.visible_stem = Stem(width)
        self.infrared_stem = Stem(width)
        self.trunk = trunk
        self.pool = GeneralisedMean() if pooling == "gem" else Average()
        self.neck = Neck(trunk.channels)
        self.input_size = input_size
        self.dim = trunk.channels
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor, modality: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: RGB, uint8, (B, H, W, 3).
            modality: 0 visible, 1 infrared, int64, (B,).

        Returns:
            Unit rows, (B, D).
        """
        return F.normalize(self.features(images, modality).necked)

    def features(self, images: Tensor, modality: Tensor) -> Embedded:
        """Compute what the losses need; arguments as for ``forward``, images may be float 0..255."""
        x = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        pooled = self.pool(self.trunk(self._stems(x, modality)))
        return Embedded(pooled, self.neck(pooled))

    def _stems(self, x: Tensor, modality: Tensor) -> Tensor:
        if not self.training:
            choose = modality.view(-1, 1, 1, 1) == 1
            return torch.where(choose, self.infrared_stem(x), self.visible_stem(x))
        parts = [(modality == 0).nonzero()[:, 0], (modality == 1).nonzero()[:, 0]]
        made = [
            stem(x[rows])
            for stem, rows in zip((self.visible_stem, self.infrared_stem), parts, strict=True)
            if len(rows)
        ]
        back = torch.argsort(torch.cat([rows for rows in parts if len(rows)]))
        return torch.cat(made)[back]
