"""What DCL may be told to do, and which habit of its published code it may be asked to mimic."""

from typing import Literal

from pydantic import Field

from training.method_settings.clusters import ClusterSettings
from training.method_settings.part import MethodSettings, Part


class DclCompat(Part):
    """Habits of the published code; off unless a number is to be compared with it.

    Attributes:
        in_backward: prototypes move while gradients are computed. Effect: with two visible views, the gradient of the
            first is computed with prototypes that the second has already moved; no loss shows it.
    """

    in_backward: bool = False


class DclSettings(MethodSettings):
    """Dual contrastive learning: clusters and prototypes in each modality by itself, nothing between them.

    Attributes:
        name: of the method.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a prototype.
        update: of prototypes: by ``instance``, one query after another; by the ``batch_mean`` of a class's queries;
            or by the ``hardest`` of them.
        views: with two visible views (``data.views=2``) their losses are ``added``, as published, or ``averaged``.
        clusters: of each modality.
        compat: habits of the published code.
    """

    name: Literal["dcl"] = "dcl"
    temperature: float = Field(0.05, gt=0)
    momentum: float = Field(0.1, ge=0, lt=1)
    update: Literal["instance", "batch_mean", "hardest"] = "instance"
    views: Literal["added", "averaged"] = "added"
    clusters: ClusterSettings = ClusterSettings()
    compat: DclCompat = DclCompat()
