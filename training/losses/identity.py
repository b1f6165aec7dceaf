"""Cross-entropy over classes, with label smoothing (Szegedy et al., CVPR 2016), with soft targets, or capped."""

import torch.nn.functional as F
from torch import Tensor

from training.losses.precision import widened

FLOOR = 1e-6


def identity(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Average the cross-entropy over a batch.

    Args:
        logits: (B, C).
        labels: classes, (B,).
        smoothing: share of the target spread over all classes.
    """
    return F.cross_entropy(widened(logits), labels, label_smoothing=smoothing)


def ce_soft(logits: Tensor, target: Tensor, *, detach_target: bool = True) -> Tensor:
    """Average the cross-entropy to given distributions.

    Args:
        logits: (B, C).
        target: probabilities, (B, C).
        detach_target: let no gradient into them.
    """
    wanted = target.detach() if detach_target else target
    return -(wanted * F.log_softmax(widened(logits), 1)).sum(1).mean()


def capped(logits: Tensor, labels: Tensor) -> Tensor:
    """Average a cross-entropy that no sample can drive above -log(1e-6) = 13.8155, where it has no gradient any more.

    Ge et al., Self-paced Contrastive Learning with Hybrid Memory, NeurIPS 2020, equation 2, with the constants of its
    published form: p = exp(z_y) / (sum exp(z) + 1e-6), loss = -log(p + 1e-6).

    Args:
        logits: (B, C).
        labels: classes, (B,).
    """
    logits = widened(logits)
    # both sides of the fraction divided by the greatest power: sharp temperatures would overflow otherwise
    shift = logits.detach().amax(1, keepdim=True).clamp(min=0)
    powers = (logits - shift).exp()
    likely = powers.gather(1, labels[:, None])[:, 0] / (powers.sum(1) + FLOOR * (-shift[:, 0]).exp())
    return -(likely + FLOOR).log().mean()
