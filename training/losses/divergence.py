"""Divergences between predictions: mutual learning of two modalities' classifiers, and prediction alignment.

Mutual learning: the DANet paper, equations 4 and 5. Prediction alignment: Wang et al., Optimal Transport for Label-Efficient
Visible-Infrared Person Re-Identification, ECCV 2022. Nothing here is detached; who wants a fixed teacher detaches it.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.precision import exactly, widened

SMALLEST = 1e-12


def kl(first: Tensor, second: Tensor) -> Tensor:
    """Average KL(first || second) over rows.

    Args:
        first: log-probabilities, (B, C).
        second: log-probabilities, (B, C).

    Returns:
        A scalar; 0 if there are no rows.
    """
    if not len(first):
        return (first.sum() + second.sum()) * 0
    return (first.exp() * (first - second)).sum(1).mean()


@dataclass(frozen=True, slots=True)
class TwoViews:
    """What the classifiers of both modalities say of images of one modality.

    Attributes:
        own: logits of the classifier of the images' modality, (B, C).
        other: logits of the other's, (B, C).
    """

    own: Tensor
    other: Tensor


def mutual(visible: TwoViews, infrared: TwoViews) -> Tensor:
    """Draw two modalities' classifiers to one another (the DANet paper, equation 5).

    KL(other || own), averaged within each modality, summed over both; gradients go through all four.
    """
    return kl(_log(visible.other), _log(visible.own)) + kl(_log(infrared.other), _log(infrared.own))


def mutual_from_teachers(visible: TwoViews, infrared: TwoViews) -> Tensor:
    """Draw each classifier to a teacher, as the same authors' MPANet code does.

    KL(own || teacher), averaged over the images of both modalities together; teachers get no gradient.

    Args:
        visible: ``other`` is what the infrared classifier's teacher says.
        infrared: ``other`` is what the visible classifier's teacher says.
    """
    own = torch.cat([visible.own, infrared.own])
    other = torch.cat([visible.other, infrared.other]).detach()
    return kl(_log(own), _log(other))


def prediction_alignment(
    visible: Tensor, infrared: Tensor, form: Literal["code", "literal"] = "code"
) -> tuple[Tensor, Tensor]:
    """Align what is predicted of two modalities, each mixed from the other by attention.

    Args:
        visible: logits, (B, C).
        infrared: logits, (B, C).
        form: ``code``: attention by the cosine of logits, logits are mixed, then made probabilities, as the
            published code does; ``literal``: attention by dot products of probabilities, probabilities are mixed,
            as the poster reads.

    Returns:
        KL(visible || visible mixed of infrared) and KL(infrared mixed of visible || infrared mixed of infrared).
    """
    with exactly(visible):
        v, r = widened(visible), widened(infrared)
        if form == "code":
            mixed = [
                _log(_attention(F.normalize(a), F.normalize(b)) @ b) for a, b in ((v, r), (r, v), (r, r))
            ]
        else:
            p, q = v.softmax(1), r.softmax(1)
            mixed = [(_attention(a, b) @ b).clamp(min=SMALLEST).log() for a, b in ((p, q), (q, p), (q, q))]
        return kl(_log(v), mixed[0]), kl(mixed[1], mixed[2])


def _attention(asking: Tensor, asked: Tensor) -> Tensor:
    return (asking @ asked.T).softmax(1)


def _log(logits: Tensor) -> Tensor:
    return F.log_softmax(widened(logits), 1)
