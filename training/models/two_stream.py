"""The two-stream network: a stem of its own for each modality, one trunk, one embedding.

In evaluation both stems run over the whole batch and each row takes its own, so one exported graph serves any mixture (the second
stem costs about 2 % of ResNet-50). In training, batch norm of a stem sees its own modality's rows only.
"""

import torch
from torch import Tensor

from training.models.network import Network
from training.models.resnet import Stem, Trunk


class TwoStream(Network):
    """A network whose first layers are a modality's own.

    Args:
        trunk: the shared stages.
        width: share of the standard channels.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``.
    """

    visible_stem: Stem
    infrared_stem: Stem

    def __init__(self, trunk: Trunk, width: float, input_size: tuple[int, int], pooling: str) -> None:
        stems = {"visible_stem": Stem(width), "infrared_stem": Stem(width)}
        super().__init__(stems, trunk, input_size, pooling)

    def stem_maps(self, x: Tensor, modality: Tensor) -> Tensor:
        """Pass each image through its modality's stem."""
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
