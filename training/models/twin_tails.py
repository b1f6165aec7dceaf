"""The network with twin tails: stem and two stages a modality's own, then two tails that both modalities share.

The multi-granularity structure of Ling et al., Cross-Modality Earth Mover's Distance for Visible Thermal Person
Re-Identification, AAAI 2023. One tail sees the whole image, the other horizontal stripes. The paper's figure gives the
division of the ResNet, stripes, accumulated and holistic features; how they are made is our completion: a stripe is pooled
and projected; what is accumulated up to a stripe is the sum so far of stripes times weights that are learnt through a
softmax; the holistic feature is all of these side by side; an embedding holds the whole image's and the holistic feature
at equal shares.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.heads import Neck, pool
from training.models.network import Embedded
from training.models.resnet import STAGES, Backbone
from training.models.staged import passed
from training.models.two_stream import TwoStream
from vireid.errors import TrainingError

SPLIT = 3  # stages that are a modality's own
SHRINKS = 16  # times fewer rows a map has than the image


@dataclass(frozen=True, slots=True, kw_only=True)
class Granular(Embedded):
    """What training sees of twin tails.

    Attributes:
        whole: of the whole image, before its neck, (B, C).
        whole_necked: after it.
        stripes: before their necks, (S, B, D).
        stripes_necked: after them.
        holistic: what is accumulated up to each stripe, side by side, before its neck, (B, S D).
        holistic_necked: after it.
    """

    whole: Tensor
    whole_necked: Tensor
    stripes: Tensor
    stripes_necked: Tensor
    holistic: Tensor
    holistic_necked: Tensor

    def accumulated(self, holistic: Tensor) -> Tensor:
        """Divide one of the two holistic features by the stripe up to which it is accumulated, (S, B, D)."""
        stripes, rows, dim = self.stripes.shape
        return holistic.view(rows, stripes, dim).transpose(0, 1)


class TwinTails(TwoStream):
    """A two-stream network with a second tail for stripes.

    What a method that knows no stripes sees of it, ``pooled`` and ``necked``, holds both tails side by side.

    Attributes:
        whole_dim: of the features of the whole image, C.
        stripe_dim: of those of a stripe, D.
        stripes: how many, S.

    Args:
        backbone: what its stages are.
        stripes: horizontal ones, S.
        stripe_dim: of the features of each, D.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``, of both tails.

    Raises:
        TrainingError: a map has fewer rows than there are stripes.
    """

    def __init__(
        self, backbone: Backbone, stripes: int, stripe_dim: int, input_size: tuple[int, int], pooling: str
    ) -> None:
        rows = -(-input_size[0] // SHRINKS)
        if rows < stripes:
            raise TrainingError(
                f"images {input_size[0]} high become maps of {rows} rows; {stripes} stripes need as many: set "
                f"model.height to {stripes * SHRINKS} at least, or lower model.stripes"
            )
        super().__init__(backbone, SPLIT, input_size, pooling)
        self.local_trunk = backbone.trunk(STAGES[SPLIT - 1 :])
        self.local_pool = pool(pooling)
        self.whole_dim, self.stripe_dim, self.stripes = self.dim, stripe_dim, stripes
        self.projections = nn.ModuleList(
            nn.Linear(self.whole_dim, stripe_dim, bias=False) for _ in range(stripes)
        )
        self.stripe_necks = nn.ModuleList(Neck(stripe_dim) for _ in range(stripes))
        self.shares = nn.Parameter(torch.zeros(stripes))
        self.holistic_neck = Neck(stripes * stripe_dim)
        self.dim = self.whole_dim + stripes * stripe_dim
        self.level_dim += sum(backbone.widths[SPLIT:])

    def features(self, images: Tensor, modality: Tensor, *, levels: bool = False) -> Granular:
        """Compute what the losses need; arguments as for every network."""
        x, means = self.before_trunk(self.normalised(images), modality, levels=levels)
        coarse, coarse_means = passed(self.trunk.stages(), x, levels=levels)
        fine, fine_means = passed(self.local_trunk.stages(), x, levels=levels)
        whole = self.pool(coarse)
        stripes = [
            project(self.local_pool(stripe)).float()
            for project, stripe in zip(self.projections, _cut(fine, self.stripes), strict=True)
        ]
        holistic = torch.cat(_accumulated(stripes, self.shares.softmax(0)), 1)
        whole_necked, holistic_necked = self.neck(whole), self.holistic_neck(holistic)
        # as long as what batch norm gives, and unit rows of it are the embeddings
        tails = torch.cat([F.normalize(whole_necked), F.normalize(holistic_necked)], 1)
        return Granular(
            pooled=torch.cat([whole, holistic], 1),
            necked=tails * (self.dim / 2) ** 0.5,
            levels=torch.cat(means + coarse_means + fine_means, 1) if levels else None,
            whole=whole,
            whole_necked=whole_necked,
            stripes=torch.stack(stripes),
            stripes_necked=torch.stack(
                [neck(stripe) for neck, stripe in zip(self.stripe_necks, stripes, strict=True)]
            ),
            holistic=holistic,
            holistic_necked=holistic_necked,
        )


def _cut(maps: Tensor, count: int) -> list[Tensor]:
    """Cut maps (B, C, H, W) into stripes as high as each other, which share a row where H is no multiple of them."""
    height = maps.shape[2]
    return [maps[:, :, at * height // count : -(-(at + 1) * height // count)] for at in range(count)]


def _accumulated(stripes: list[Tensor], shares: Tensor) -> list[Tensor]:
    sums = [stripes[0] * shares[0]]
    for at, stripe in enumerate(stripes[1:], start=1):
        sums.append(sums[-1] + stripe * shares[at])
    return sums
