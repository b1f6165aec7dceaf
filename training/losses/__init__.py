"""Losses, one file a kind: what they take is tensors, what they give is a scalar. They know no method and no memory."""

from training.losses.centres import centre_cluster, mixed_centres
from training.losses.divergence import (
    TwoViews,
    kl,
    mutual,
    mutual_from_teachers,
    prediction_alignment,
)
from training.losses.emd import Ground, Solver, earth_movers
from training.losses.fisher import fisher_ratio
from training.losses.identity import capped, ce_soft, identity
from training.losses.modality import modality_bce
from training.losses.refinement import oclr
from training.losses.triplet import batch_hard, batch_hard_between

__all__ = [
    "Ground",
    "Solver",
    "TwoViews",
    "batch_hard",
    "batch_hard_between",
    "capped",
    "ce_soft",
    "centre_cluster",
    "earth_movers",
    "fisher_ratio",
    "identity",
    "kl",
    "mixed_centres",
    "modality_bce",
    "mutual",
    "mutual_from_teachers",
    "oclr",
    "prediction_alignment",
]
