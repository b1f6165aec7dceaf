"""The settings of a run: a recipe, a TOML file one can read whole. Paths and devices are not part of a recipe."""

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, create_model, field_validator, model_validator

from training.method_settings import SETTINGS, MethodSettings, Part, SupervisedSettings
from vireid import settings as loader
from vireid.errors import SettingsError

# keys of a recipe: what tells runs of one recipe apart, and what changes no weight
SEEDS = ("seed", "data.trial")
IDLE = (
    "evaluate_first",
    "evaluate_every",
    "tensorboard",
    "threads",
    "data.cache_mb",
    "data.ahead",
    "data.loaders",
)


class ModelSettings(Part):
    """The network.

    Attributes:
        name: a key of ``training.models.MODELS``.
        width: share of the standard number of channels, or of a vision transformer's heads.
        depth: blocks of a vision transformer, 0 for as many as its name stands for.
        height: rows of the input.
        columns: columns of the input.
        pooling: of a ResNet's map ``gem``, whose power is learnt, ``gem-fixed`` (3), ``gem-fixed-10`` or ``average``; of a
            vision transformer's tokens the ``class`` token, the ``average`` of the others, or ``class-average``, both side
            by side.
        split: of a two-stream network: how many of its five stages, the stem and four of residual blocks, each
            modality has for itself; 0 shares all, 1 has a stem each, 5 shares pooling and neck only.
        stripes: of a network with twin tails: horizontal stripes its local tail sees.
        stripe_dim: of the same, of the features of a stripe at width 1.
    """

    name: str = "two-stream-resnet50"
    width: float = Field(1.0, gt=0, le=2)
    depth: int = Field(0, ge=0)
    height: int = Field(288, ge=32)
    columns: int = Field(144, ge=16)
    pooling: Literal["gem", "gem-fixed", "gem-fixed-10", "average", "class", "class-average"] = "gem"
    split: int = Field(1, ge=0, le=5)
    stripes: int = Field(6, ge=1)
    stripe_dim: int = Field(256, ge=8)

    @model_validator(mode="after")
    def _of_its_own_kind_of_network(self) -> "ModelSettings":
        if self.split != 1 and not self.name.startswith("two-stream"):
            raise ValueError(f"split={self.split} is of a two-stream network; {self.name!r} has one stream")
        if self.depth and "resnet" in self.name:
            raise ValueError(f"depth={self.depth} is of a vision transformer; {self.name!r} is none")
        for key in ("stripes", "stripe_dim"):
            given = getattr(self, key)
            if given != type(self).model_fields[key].default and not self.name.startswith("twin-tails"):
                raise ValueError(f"{key}={given} is of a network with twin tails; {self.name!r} has none")
        return self


class DataSettings(Part):
    """Batches: P identities, K images of each in each modality.

    Attributes:
        persons: P.
        images: K, of each modality.
        flip: chance to mirror.
        pad: pixels added around before a random crop.
        erase: chance to erase a rectangle.
        erase_with: the image's ``own`` mean colour, or the ``mean`` of the images standard weights were learnt on.
        exchange: chance to replace a visible image's channels by one of them (CAJ's channel exchange).
        grey: chance to turn a visible image grey.
        views: of each visible image in a batch; with 2 it stands there once more, after all other rows, varied by
            chances of its own.
        second_exchange: chance of the second view to have its channels replaced by one of them, in place of ``exchange``.
        second_jitter: by which share brightness, contrast and saturation of the second view change at most.
        cache_mb: decoded crops kept in memory at most.
        ahead: batches other threads prepare while the network works, 0 for none.
        loaders: how many such threads; what they make is the same whatever their number.
        few: an identity with fewer than K images in a part of a batch: ``repeat`` shows some of them again, with a
            warning; ``refuse`` stops.
        trial: identity split of a dataset that has several (RegDB: 1 to 10).
        counts: ``published`` demands the published number of training images and persons of data that was not
            drawn; ``any`` takes what there is.
    """

    persons: int = Field(8, ge=2)
    images: int = Field(4, ge=2)
    flip: float = Field(0.5, ge=0, le=1)
    pad: int = Field(10, ge=0)
    erase: float = Field(0.5, ge=0, le=1)
    erase_with: Literal["own", "mean"] = "own"
    exchange: float = Field(0.3, ge=0, le=1)
    grey: float = Field(0.2, ge=0, le=1)
    views: Literal[1, 2] = 1
    second_exchange: float = Field(1.0, ge=0, le=1)
    second_jitter: float = Field(0.0, ge=0, le=1)
    cache_mb: int = Field(4096, ge=1)
    ahead: int = Field(2, ge=0)
    loaders: int = Field(1, ge=1)
    few: Literal["repeat", "refuse"] = "repeat"
    trial: int = Field(1, ge=1)
    counts: Literal["any", "published"] = "any"


class OptimiserSettings(Part):
    """Adam or SGD.

    Attributes:
        name: ``adam`` or ``sgd``.
        rate: learning rate at its highest.
        trunk_share: of the rate, for what may be pretrained (stems and trunk); neck, classifiers and
            discriminators learn at the full rate.
        weight_decay: of all weights.
        clip_norm: of gradients, 0 for none.
    """

    name: Literal["adam", "sgd"] = "adam"
    rate: float = Field(3.5e-4, gt=0)
    trunk_share: float = Field(1.0, ge=0)
    weight_decay: float = Field(5e-4, ge=0)
    clip_norm: float = Field(5.0, ge=0)


class ScheduleSettings(Part):
    """How the learning rate changes: linear growth first, then a half cosine or steps.

    Attributes:
        name: ``cosine`` or ``step``.
        warmup_epochs: of linear growth.
        at: epochs after which a step schedule multiplies the rate.
        factor: by which.
        stepped: the rate stays as it is within an epoch, and epoch e of W of growth, from 0, has the share (e+1)/W;
            else it changes at every step, and growth begins at a tenth.
    """

    name: Literal["cosine", "step"] = "cosine"
    warmup_epochs: int = Field(5, ge=0)
    at: tuple[int, ...] = ()
    factor: float = Field(0.1, gt=0, le=1)
    stepped: bool = False

    @model_validator(mode="after")
    def _steps_are_named(self) -> "ScheduleSettings":
        if (self.name == "step") != bool(self.at):
            raise ValueError("'at' names the epochs of a step schedule, and of no other")
        return self


class RunSettings(Part):
    """A whole recipe.

    Attributes:
        epochs: passes.
        iterations: optimiser steps in an epoch, 0 for as many as show every image about once.
        seed: everything random follows from it.
        evaluate_first: score the network before its first epoch too.
        evaluate_every: epochs between evaluations, 0 for the last only.
        select: which weights a run ends with: those of its ``last`` epoch, or ``best_on_test``: the epoch whose first
            mean score on the test images was highest. Published code does the latter, which chooses on what it
            reports; it is there for comparison only, and every score so chosen says so.
        accumulate: batches whose gradients are added up, as a mean, to one optimiser step. Batch norm and the mining
            of hard examples still see one batch at a time.
        bn_group: rows of a batch that batch norm in training sees together, 0 for all; mimics, on one device, batches
            that were divided over several. A group holds whole identities, in every part of the batch; a batch with
            fewer rows is one group.
        amp: bfloat16 in the forward pass.
        threads: of the processor, 0 for one a core. It changes the last bits of a sum, so it belongs to the run.
        tensorboard: event files in the run's folder: ``auto`` where the package is installed, ``on`` or ``off``.
        model: the network.
        data: batches.
        optimiser: steps.
        schedule: their learning rate.
        method: losses.
        stage1: of a method that needs labels of visible images: the recipe that makes them, under ``recipe``, and what
            is to be changed in it, under the keys it has there.
    """

    epochs: int = Field(60, ge=1)
    iterations: int = Field(0, ge=0)
    seed: int = 0
    evaluate_first: bool = False
    evaluate_every: int = Field(0, ge=0)
    select: Literal["last", "best_on_test"] = "last"
    accumulate: int = Field(1, ge=1)
    bn_group: int = Field(0, ge=0)
    amp: bool = False
    threads: int = Field(0, ge=0)
    tensorboard: Literal["auto", "on", "off"] = "auto"
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    method: SerializeAsAny[MethodSettings] = SupervisedSettings()
    stage1: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _there_is_a_choice(self) -> "RunSettings":
        if self.select == "best_on_test" and not self.evaluate_every:
            raise ValueError("select is best_on_test, and evaluate_every=0 leaves one epoch to choose from")
        return self

    @field_validator("method", mode="before")
    @classmethod
    def _of_its_own_kind(cls, given: Any) -> Any:
        return _kind(given).model_validate(given) if isinstance(given, dict) else given


def _kind(given: dict[str, Any]) -> type[MethodSettings]:
    """Tell which settings a ``[method]`` table holds; one that names none is the baseline's."""
    name = given.get("name", "supervised")
    if name not in SETTINGS:
        raise SettingsError(f"method.name: found {name!r}; known are {', '.join(SETTINGS)}")
    return SETTINGS[name]


def shape(method: str) -> type[RunSettings]:
    """Return the shape of a recipe of one method, its own keys and no others under ``method``.

    Raises:
        SettingsError: there is no such method.
    """
    kind = _kind({"name": method})
    return create_model("RunSettings", __base__=RunSettings, method=(kind, kind.model_validate({})))


def recipes() -> dict[str, Path]:
    """Name the recipes that come with vireid."""
    folder = Path(str(resources.files("training") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def fitting(method: str) -> list[str]:
    """Name the recipes of one method."""
    return [name for name, path in recipes().items() if (_named(path) or "supervised") == method]


def described(path: Path) -> str:
    """Return the first sentence of the comment a recipe begins with."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    return " ".join(words).partition(". ")[0].rstrip(".")


def read(recipe: str, overrides: dict[str, Any] | None = None, method: str | None = None) -> RunSettings:
    """Read a recipe by name or path.

    Args:
        recipe: one of ``recipes()``, or a TOML file.
        overrides: dotted keys to values, over the recipe's.
        method: what it must be for; None for the one it names.

    Raises:
        SettingsError: there is none, it is of another method, or it has an unknown key or a bad value.
    """
    known = recipes()
    path = known.get(recipe) or Path(recipe)
    if not path.is_file():
        near = difflib.get_close_matches(recipe, known, n=3) or (fitting(method) if method else [])
        raise SettingsError(
            f"there is no recipe {recipe!r}, and no such file; near it: {', '.join(near) or 'none'}; "
            "'vireid train recipes' lists all"
        )
    named = (overrides or {}).get("method.name") or _named(path) or method or "supervised"
    kind = shape(named)
    if method is not None and named != method:
        raise SettingsError(
            f"method.name: found {named!r}; 'vireid train {method}' runs {method!r}; take one of its recipes "
            f"({', '.join(fitting(method))}), or run: vireid train {named}"
        )
    return loader.load(kind, file=path, overrides=overrides)


def _named(path: Path) -> str | None:
    """Tell which method a recipe names; whatever is wrong with the file is told by who reads it whole."""
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["method"]["name"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, LookupError, TypeError):
        return None
