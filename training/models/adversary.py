"""A discriminator of modalities, and the reversal of its gradient that makes the network hide them.

Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015, section 3; the discriminator is that of
Wang et al., Optimal Transport for Label-Efficient Visible-Infrared Person Re-Identification, ECCV 2022. Knows no losses.
"""

from typing import Any

import torch
from torch import Tensor, nn

RAMP = 10.0
STEPS = 10_000
DROPPED = 0.5


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (share,) = ctx.saved_tensors
        return -share.to(gradients[0].dtype) * gradients[0], None


def grad_reverse(x: Tensor, share: Tensor | float) -> Tensor:
    """Return x as it is; its gradient is multiplied by ``-share`` on the way back.

    Args:
        x: of any shape.
        share: how strongly; it gets no gradient.
    """
    made: Tensor = _Reversal.apply(x, torch.as_tensor(share, device=x.device).detach())  # type: ignore[no-untyped-call]
    return made


class GrlSchedule(nn.Module):
    """How strongly gradients are reversed: from 0 towards 1 with the steps made.

    c(t) = 2 / (1 + exp(-10 t / 10000)) - 1 (Ganin and Lempitsky 2015, section 4). The count is a buffer, so a
    checkpoint holds it; it moves when it is told to, never by a forward pass.
    """

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def share(self) -> Tensor:
        """Return c of the steps made so far, a scalar."""
        done = self.count.double() / STEPS
        return 2 / (1 + torch.exp(-RAMP * done)) - 1

    def advance(self, steps: int = 1) -> None:
        """Count steps as made."""
        self.count += steps


class ModalityDiscriminator(nn.Module):
    """Tells visible from infrared by what every level of a network gives.

    Each level's means pass through a batch norm of their own, which for features side by side is one batch norm
    over all; then come three linear layers. The last step to a probability, a sigmoid, is left to the loss.

    Args:
        dim: of the levels together, ``Network.level_dim``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = max(1, dim // 2)
        self.levels = nn.BatchNorm1d(dim)
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.ReLU(),
            nn.Dropout(DROPPED),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(DROPPED),
            nn.Linear(hidden, 1),
        )
        self.norm = nn.BatchNorm1d(1)
        self.norm.bias.requires_grad_(False)

    def forward(self, levels: Tensor, share: Tensor | float) -> Tensor:
        """Score each image.

        Args:
            levels: of a batch, (B, ``dim``).
            share: of the gradient that goes back reversed.

        Returns:
            Logits of being visible, (B,).
        """
        made: Tensor = self.norm(self.layers(self.levels(grad_reverse(levels, share))))
        return made[:, 0]
