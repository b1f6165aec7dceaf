"""From a map to an embedding and on to classes: pooling, the batch-norm neck, classifiers.

GeM: Radenovic et al., TPAMI 2019, equation 4. BNNeck: Luo et al., CVPRW 2019, section 3.6.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vireid.errors import TrainingError

SMALLEST = 1e-6


class GeneralisedMean(nn.Module):
    """Pool a map by the mean of its p-th powers.

    Args:
        p: at the beginning.
        learnt: whether it changes.
    """

    def __init__(self, p: float = 3.0, *, learnt: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p), requires_grad=learnt)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C)."""
        # powers of bfloat16 lose too much, and a tenth power of something small is 0 in any precision: powers are taken
        # of shares of the greatest value, whose gradient cancels
        x = x.float().clamp(min=SMALLEST)
        top = x.detach().amax((2, 3), keepdim=True)
        return (x / top).pow(self.p).mean((2, 3)).pow(1 / self.p) * top[:, :, 0, 0]


class Average(nn.Module):
    """Pool a map by its mean."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C)."""
        return x.float().mean((2, 3))


class Neck(nn.Module):
    """Batch norm without a bias between the triplet's features and the identity's.

    Args:
        dim: of the features.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D) to (B, D)."""
        made: Tensor = self.norm(x)
        return made


POOLING: dict[str, Callable[[], nn.Module]] = {
    "gem": GeneralisedMean,
    "gem-fixed": lambda: GeneralisedMean(learnt=False),
    "gem-fixed-10": lambda: GeneralisedMean(10.0, learnt=False),
    "average": Average,
}


def pool(name: str) -> nn.Module:
    """Make a pooling: ``gem`` learns its power from 3 on, ``gem-fixed`` keeps 3, ``gem-fixed-10`` 10, ``average`` is the mean.

    Raises:
        TrainingError: there is none of that name.
    """
    if name not in POOLING:
        raise TrainingError(f"there is no pooling {name!r}; known are {', '.join(POOLING)}")
    return POOLING[name]()


def classifier(dim: int, classes: int) -> nn.Linear:
    """Make a linear classifier without a bias, its weights small: N(0, 0.001)."""
    made = nn.Linear(dim, classes, bias=False)
    nn.init.normal_(made.weight, std=0.001)
    return made
