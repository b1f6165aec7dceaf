"""Answers of one memory refined by those of another: MULT's online cross-memory label refinement.

He et al., Exploring Homogeneous and Heterogeneous Consistent Label Associations for Unsupervised Visible-Infrared Person
ReID, arXiv 2402.00672, 2024. Knows no memories.
"""

import torch.nn.functional as F
from torch import Tensor

from training.losses.identity import ce_soft
from training.losses.precision import exactly, widened


def oclr(
    prediction: Tensor, target: Tensor, temperature: float = 0.2, *, detach_target: bool = True
) -> Tensor:
    """Average the cross-entropy of one memory's answers to the sharpened ones of another.

    Logits of a memory are similarities that were divided by its temperature already, so what sharpens the target is the
    product of both: 0.2 on logits over 0.05 makes 0.01, which is nearly the greatest answer alone.

    Args:
        prediction: logits of the memory that learns, (B, C).
        target: logits of the memory that refines, of the same classes, (B, C).
        temperature: the target's logits are divided by it.
        detach_target: let no gradient into the target; the published code lets it in.
    """
    with exactly(prediction):
        wanted = F.softmax(widened(target) / temperature, 1)
        return ce_soft(widened(prediction), wanted, detach_target=detach_target)
