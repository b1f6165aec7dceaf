"""What CM-EMD may be told to do. The paper's abstract and figure leave much open: each such choice is a setting here."""

from typing import Literal

from pydantic import Field

from training.method_settings.part import MethodSettings


class CmEmdSettings(MethodSettings):
    """Cross-modality earth mover's distance; what the paper is not known to say is marked as our completion.

    Attributes:
        name: of the method.
        label_smoothing: of the identity losses (ours).
        local: what of the local tail is told identities and aligned: its ``stripes``, what is ``accumulated`` up to each
            of them, or ``both``, as the paper's figure has it.
        local_weight: of the local identity loss, a mean over heads (ours).
        emd_weight: of the earth mover's distances, of the whole image and a mean over local heads (ours).
        aligned: which tails' features they are of.
        at: whether they are of features before the necks, ``pooled``, or after them, ``necked`` (ours). Where the necks'
            batch norm has spread features out, the same weight draws people together before a small network tells them
            apart.
        emd_normalised: of unit vectors, so that nothing is gained by making features small (ours).
        ground: what moving an image to another costs: ``euclidean`` distance, its square, or 1 - ``cosine`` (ours).
        plan: ``exact``, a one-to-one matching of an identity's images, or ``sinkhorn``, with entropy (ours).
        epsilon: weight of that entropy in units of the cost; without effect on exact plans (ours).
        dl: discrimination learning: the variance within identities is that of images around their identity's centre in the
            other modality, ``cross``, or around the centre of all its images, ``plain``; or ``off`` (ours).
        dl_weight: of discrimination learning (ours).
        dl_normalised: of unit vectors (ours).
    """

    name: Literal["cm-emd"] = "cm-emd"
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    local: Literal["stripes", "accumulated", "both"] = "both"
    local_weight: float = Field(1.0, ge=0)
    emd_weight: float = Field(1.0, ge=0)
    aligned: Literal["both", "whole", "local"] = "both"
    at: Literal["pooled", "necked"] = "pooled"
    emd_normalised: bool = True
    ground: Literal["euclidean", "squared", "cosine"] = "euclidean"
    plan: Literal["exact", "sinkhorn"] = "exact"
    epsilon: float = Field(0.1, gt=0)
    dl: Literal["cross", "plain", "off"] = "cross"
    dl_weight: float = Field(0.1, ge=0)
    dl_normalised: bool = False
