"""The settings of a run: a recipe, a TOML file one can read whole. Paths and devices are not part of a recipe."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vireid import settings as loader
from vireid.errors import SettingsError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Part):
    """The network.

    Attributes:
        name: a key of ``training.models.MODELS``.
        width: share of the standard number of channels.
        height: rows of the input.
        columns: columns of the input.
        pooling: ``gem`` or ``average``.
    """

    name: str = "two-stream-resnet50"
    width: float = Field(1.0, gt=0, le=2)
    height: int = Field(288, ge=32)
    columns: int = Field(144, ge=16)
    pooling: Literal["gem", "average"] = "gem"


class DataSettings(_Part):
    """Batches: P identities, K images of each in each modality.

    Attributes:
        persons: P.
        images: K, of each modality.
        flip: chance to mirror.
        pad: pixels added around before a random crop.
        erase: chance to erase a rectangle.
        exchange: chance to replace a visible image's channels by one of them (CAJ's channel exchange).
        grey: chance to turn a visible image grey.
        cache_mb: decoded crops kept in memory at most.
        ahead: batches a second thread prepares while the network works, 0 for none; for training on a GPU.
    """

    persons: int = Field(8, ge=2)
    images: int = Field(4, ge=2)
    flip: float = Field(0.5, ge=0, le=1)
    pad: int = Field(10, ge=0)
    erase: float = Field(0.5, ge=0, le=1)
    exchange: float = Field(0.3, ge=0, le=1)
    grey: float = Field(0.2, ge=0, le=1)
    cache_mb: int = Field(4096, ge=1)
    ahead: int = Field(0, ge=0)


class OptimiserSettings(_Part):
    """Adam or SGD.

    Attributes:
        name: ``adam`` or ``sgd``.
        rate: learning rate at its highest.
        weight_decay: of all weights.
        clip_norm: of gradients, 0 for none.
    """

    name: Literal["adam", "sgd"] = "adam"
    rate: float = Field(3.5e-4, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    clip_norm: float = Field(5.0, ge=0)


class ScheduleSettings(_Part):
    """How the learning rate changes: linear growth first, then a half cosine or steps.

    Attributes:
        name: ``cosine`` or ``step``.
        warmup_epochs: of linear growth.
        at: epochs after which a step schedule multiplies the rate.
        factor: by which.
    """

    name: Literal["cosine", "step"] = "cosine"
    warmup_epochs: int = Field(5, ge=0)
    at: tuple[int, ...] = ()
    factor: float = Field(0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _steps_are_named(self) -> "ScheduleSettings":
        if (self.name == "step") != bool(self.at):
            raise ValueError("'at' names the epochs of a step schedule, and of no other")
        return self


class MethodSettings(_Part):
    """What is minimised.

    Attributes:
        name: a key of ``training.methods.METHODS``.
        label_smoothing: of the identity loss.
        triplet_weight: of the batch-hard triplet loss.
        cross_weight: of the same across modalities.
        margin: of both.
    """

    name: str = "supervised"
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    triplet_weight: float = Field(1.0, ge=0)
    cross_weight: float = Field(1.0, ge=0)
    margin: float = Field(0.3, ge=0)


class RunSettings(_Part):
    """A whole recipe.

    Attributes:
        epochs: passes.
        iterations: optimiser steps in an epoch, 0 for as many as show every image about once.
        seed: everything random follows from it.
        evaluate_first: score the network before its first epoch too.
        evaluate_every: epochs between evaluations, 0 for the last only.
        amp: bfloat16 in the forward pass.
        threads: of the processor, 0 for one a core. It changes the last bits of a sum, so it belongs to the run.
        model: the network.
        data: batches.
        optimiser: steps.
        schedule: their learning rate.
        method: losses.
    """

    epochs: int = Field(60, ge=1)
    iterations: int = Field(0, ge=0)
    seed: int = 0
    evaluate_first: bool = False
    evaluate_every: int = Field(0, ge=0)
    amp: bool = False
    threads: int = Field(0, ge=0)
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    method: MethodSettings = MethodSettings()


def recipes() -> dict[str, Path]:
    """Name the recipes that come with vireid."""
    folder = Path(str(resources.files("training") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read(recipe: str, overrides: dict[str, Any] | None = None) -> RunSettings:
    """Read a recipe by name or path.

    Raises:
        SettingsError: there is none, or it has an unknown key or a bad value.
    """
    known = recipes()
    path = known.get(recipe) or Path(recipe)
    if not path.is_file():
        raise SettingsError(
            f"there is no recipe {recipe!r}; known are {', '.join(known)}, or name a TOML file"
        )
    return loader.load(RunSettings, file=path, overrides=overrides)
