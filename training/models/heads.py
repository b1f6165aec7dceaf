"""From a map to an embedding: generalised-mean pooling and the batch-norm neck.

GeM: Radenovic et al., TPAMI 2019, equation 4. BNNeck: Luo et al., CVPRW 2019, section 3.6.
"""

import torch
from torch import Tensor, nn

SMALLEST = 1e-6


class GeneralisedMean(nn.Module):
    """Pool a map by the mean of its p-th powers; p is learnt.

    Args:
        p: at the beginning.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C)."""
        # powers of bfloat16 lose too much
        powers = x.float().clamp(min=SMALLEST).pow(self.p)
        return powers.mean((2, 3)).pow(1 / self.p)


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
