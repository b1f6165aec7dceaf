"""The discriminator's loss: binary cross-entropy of visible (1) against infrared (0)."""

import torch.nn.functional as F
from torch import Tensor

from training.losses.precision import widened


def modality_bce(logits: Tensor, modality: Tensor) -> Tensor:
    """Average over a batch.

    Args:
        logits: of being visible, (B,).
        modality: 0 visible, 1 infrared, (B,).
    """
    logits = widened(logits)
    return F.binary_cross_entropy_with_logits(logits, (modality == 0).to(logits.dtype))
