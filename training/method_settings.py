"""What each method may be told to do: the ``[method]`` part of a recipe, one model a method. Knows no method's code."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a recipe: frozen, and without a key that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodSettings(Part):
    """What every method has.

    Attributes:
        name: a key of ``SETTINGS``.
    """

    name: str


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


SETTINGS: dict[str, type[MethodSettings]] = {"supervised": SupervisedSettings}
