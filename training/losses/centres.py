"""Centre losses across modalities: an image is drawn to its identity's centre and pushed from other identities.

The DANet paper, equation 3, with the readings it allows, and the loss of the same authors' MPANet (Wu et al., Discover
Cross-Modality Nuances for Visible-Infrared Person Re-Identification, CVPR 2021, section 3.4).
Distances are Euclidean; lengths are kept.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.precision import distances, exactly, lengths, widened


def centre_cluster(
    features: Tensor,
    labels: Tensor,
    modality: Tensor,
    margin: float,
    *,
    negatives: Literal["literal", "own"] = "literal",
    detach: bool = False,
) -> Tensor:
    """Draw images to their identity's centre in the other modality, push other identities away.

    Args:
        features: (B, D).
        labels: identities, (B,).
        modality: 0 visible, 1 infrared, (B,).
        margin: that other identities keep.
        negatives: ``literal``: the centre in the other modality is pushed from other identities' images of this
            one, as the equation is printed; ``own``: the centre in this modality is, so that nothing is pushed
            across modalities, as its text says.
        detach: let no gradient into the centres.

    Returns:
        A scalar: the mean over images whose identity is seen in the other modality, 0 if there is none. An
        image without any other identity's images in its modality is only drawn.
    """
    with exactly(features):
        features = widened(features)
        same = labels[:, None] == labels[None]
        here = modality[:, None] == modality[None]
        anchors = (same & ~here).any(1)
        if not anchors.any():
            return features.sum() * 0
        across = _centres(features, same & ~here)
        pushed = across if negatives == "literal" else _centres(features, same & here)
        if detach:
            across, pushed = across.detach(), pushed.detach()
        drawn = lengths(features - across)
        apart = distances(pushed, features).masked_fill(same | ~here, torch.inf).amin(1)
        return (drawn + F.relu(margin - apart))[anchors].mean()


def mixed_centres(features: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Draw images to their identity's centre over both modalities, push the centres apart (MPANet).

    Args:
        features: (B, D).
        labels: identities, (B,).
        margin: between centres.

    Returns:
        A scalar: mean distance of images to their centre, and mean of what centres lack to the margin over all
        pairs of them.
    """
    with exactly(features):
        features = widened(features)
        names, place = torch.unique(labels, return_inverse=True)
        members = place[None] == torch.arange(len(names), device=place.device)[:, None]
        centres = _centres(features, members)
        drawn = lengths(features - centres[place]).mean()
        one, other = torch.triu_indices(len(names), len(names), 1, device=place.device)
        if not len(one):
            return drawn
        return drawn + F.relu(margin - lengths(centres[one] - centres[other])).mean()


def _centres(features: Tensor, members: Tensor) -> Tensor:
    """Average the members of each row, (R, D) of (B, D) and (R, B); zeros where there are none."""
    share = members.to(features.dtype)
    return share @ features / share.sum(1, keepdim=True).clamp(min=1)
