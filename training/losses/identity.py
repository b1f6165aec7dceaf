"""The identity loss: cross-entropy over the training identities, with label smoothing (Szegedy et al., CVPR 2016)."""

import torch.nn.functional as F
from torch import Tensor


def identity(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Average the cross-entropy over a batch.

    Args:
        logits: (B, C).
        labels: classes, (B,).
        smoothing: share of the target spread over all classes.
    """
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
