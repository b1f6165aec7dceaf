"""The batch-hard triplet loss, within a batch, across modalities, or between the pairs that masks allow.

Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017, equation 5.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.precision import distances, widened


def batch_hard(
    features: Tensor,
    labels: Tensor,
    margin: float,
    modality: Tensor | None = None,
    *,
    normalise: bool = True,
) -> Tensor:
    """Average, over anchors, of margin + farthest positive - nearest negative, cut at 0.

    With lengths kept, these are equations 1 and 2 (across modalities) of the DANet paper.

    Args:
        features: of any length, (B, D).
        labels: classes, (B,).
        margin: of Euclidean distances.
        modality: if given, positives and negatives are of the other modality than the anchor, (B,).
        normalise: compare unit vectors, so that the margin means the same at any scale of the features.

    Returns:
        A scalar; 0 if no anchor has both a positive and a negative.
    """
    same = labels[:, None] == labels[None]
    may = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if modality is not None:
        may &= modality[:, None] != modality[None]
    return batch_hard_between(features, same & may, ~same & may, margin, normalise=normalise)


def batch_hard_between(
    features: Tensor, positive: Tensor, negative: Tensor, margin: float, *, normalise: bool = True
) -> Tensor:
    """Compute the same of pairs that are named.

    Args:
        features: of any length, (B, D).
        positive: whether column is a positive of anchor row, (B, B).
        negative: whether it is a negative, (B, B).
        margin: of Euclidean distances.
        normalise: compare unit vectors.

    Returns:
        A scalar; 0 if no anchor has both a positive and a negative.
    """
    anchors = positive.any(1) & negative.any(1)
    if not anchors.any():
        return features.sum() * 0
    compared = F.normalize(widened(features)) if normalise else features
    distance = distances(compared, compared)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(1)
    nearest = distance.masked_fill(~negative, torch.inf).amin(1)
    return F.relu(margin + farthest[anchors] - nearest[anchors]).mean()
