"""Variance within identities over variance between them, so that alignment does not draw people together.

Ling et al., Cross-Modality Earth Mover's Distance for Visible Thermal Person Re-Identification, AAAI 2023, cross-modality
discrimination learning. The paper's abstract gives the ratio; what is a deviation across modalities is our completion.
"""

import torch
from torch import Tensor

from training.losses.precision import exactly, widened

LEAST = 1e-6  # added to the variance between identities


def fisher_ratio(features: Tensor, labels: Tensor, modality: Tensor | None = None) -> Tensor:
    """Divide the mean squared deviation of images from their identity by that of identities from their mean.

    Gradients reach images through the centres too. The ratio is the same at any scale of the features.

    Args:
        features: (B, D).
        labels: identities, (B,).
        modality: if given, an image deviates from its identity's centre in the other modality, and images whose identity
            is not seen there are left out of the mean; else from the centre of all its images; 0 or 1, (B,).

    Returns:
        A scalar; 0 if there are fewer than two identities, or no image has a centre to deviate from.
    """
    with exactly(features):
        x = widened(features)
        names, place = torch.unique(labels, return_inverse=True)
        same = labels[:, None] == labels[None]
        to = same if modality is None else same & (modality[:, None] != modality[None])
        anchors = to.any(1)
        if len(names) < 2 or not anchors.any():
            return x.sum() * 0
        within = (x - _means(x, to))[anchors].square().sum(1).mean()
        centres = _means(x, place[None] == torch.arange(len(names), device=place.device)[:, None])
        between = (centres - centres.mean(0)).square().sum(1).mean()
        return within / (between + LEAST)


def _means(x: Tensor, members: Tensor) -> Tensor:
    """Average the members of each row, (R, D) of (B, D) and (R, B); zeros where there are none."""
    share = members.to(x.dtype)
    return share @ x / share.sum(1, keepdim=True).clamp(min=1)
