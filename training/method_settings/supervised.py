"""What the supervised baseline may be told to do."""

from typing import Literal

from pydantic import Field

from training.method_settings.part import MethodSettings


class SupervisedSettings(MethodSettings):
    """The supervised baseline.

    Attributes:
        name: of the method.
        label_smoothing: of the identity loss.
        triplet_weight: of the batch-hard triplet loss.
        cross_weight: of the same across modalities.
        margin: of both.
    """

    name: Literal["supervised"] = "supervised"
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    triplet_weight: float = Field(1.0, ge=0)
    cross_weight: float = Field(1.0, ge=0)
    margin: float = Field(0.3, ge=0)
