"""Networks of five stages, the first convolution and four of residual blocks, then pooling and the neck.

Holds ``Staged``, which a class per way to divide the stages between modalities completes. Knows no losses.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from training.models.heads import Neck, pool
from training.models.network import Embedded, Network
from training.models.resnet import Backbone, Trunk

Passed = tuple[Tensor, list[Tensor]]  # maps, and the means of every level so far


class Staged(Network):
    """A ResNet for two modalities.

    Args:
        backbone: what its stages are.
        first: the stages before the trunk, by the names their weights have.
        trunk: the stages both modalities share.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``.
    """

    def __init__(
        self,
        backbone: Backbone,
        first: Mapping[str, nn.Module],
        trunk: Trunk,
        input_size: tuple[int, int],
        pooling: str,
    ) -> None:
        super().__init__(input_size, backbone.widths[-1], sum(backbone.widths))
        for name, stage in first.items():
            self.add_module(name, stage)
        self.trunk = trunk
        self.pool = pool(pooling)
        self.neck = Neck(self.dim)

    @abstractmethod
    def before_trunk(self, x: Tensor, modality: Tensor, *, levels: bool) -> Passed:
        """Pass normalised images (B, 3, H, W) through the stages before the trunk.

        Args:
            x: the images.
            modality: 0 visible, 1 infrared, (B,).
            levels: give the means of each of these stages too.
        """

    def features(self, images: Tensor, modality: Tensor, *, levels: bool = False) -> Embedded:
        """Compute what the losses need; arguments as for every network."""
        x, means = self.before_trunk(self.normalised(images), modality, levels=levels)
        x, more = passed(self.trunk.stages(), x, levels=levels)
        pooled = self.pool(x)
        return Embedded(pooled, self.neck(pooled), torch.cat(means + more, 1) if levels else None)


def passed(stages: Iterable[nn.Module], x: Tensor, *, levels: bool) -> Passed:
    """Pass maps through stages.

    Args:
        stages: in order.
        x: (B, C, H, W).
        levels: give the means of what each stage makes too.
    """
    means = []
    for stage in stages:
        x = stage(x)
        if levels:
            means.append(x.float().mean((2, 3)))
    return x, means
