"""The batch-hard triplet loss, within a batch or across modalities.

Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017, equation 5.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def batch_hard(
    features: Tensor,
    labels: Tensor,
    margin: float,
    modality: Tensor | None = None,
    *,
    normalise: bool = True,
) -> Tensor:
    """Average, over anchors, of margin + farthest positive - nearest negative, cut at 0.

    Args:
        features: of any length, (B, D).
        labels: classes, (B,).
        margin: of Euclidean distances.
        modality: if given, positives and negatives are of the other modality than the anchor, (B,).
        normalise: compare unit vectors, so that the margin means the same at any scale of the features.

    Returns:
        A scalar; 0 if no anchor has both a positive and a negative.
    """
    compared = F.normalize(features.float()) if normalise else features.float()
    lengths = compared.square().sum(1)
    # the square root of exactly 0 has no gradient
    distance = (lengths[:, None] + lengths[None] - 2 * compared @ compared.T).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    may = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if modality is not None:
        may &= modality[:, None] != modality[None]
    positive, negative = same & may, ~same & may
    anchors = positive.any(1) & negative.any(1)
    if not anchors.any():
        return features.sum() * 0
    farthest = distance.masked_fill(~positive, -torch.inf).amax(1)
    nearest = distance.masked_fill(~negative, torch.inf).amin(1)
    return F.relu(margin + farthest[anchors] - nearest[anchors]).mean()
