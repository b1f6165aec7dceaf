"""The first stage of a run of two: when it is needed, with which recipe it runs, which labels it hands over.

Knows no folder but that of its own run.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from training import checkpoint, materials, methods
from training import settings as recipes
from training.journal import LABELS
from training.labels import pseudo
from training.labels.outliers import renumber
from training.labels.pseudo import PseudoLabels
from training.method_settings import OtlaSettings
from training.order import Order
from training.settings import RunSettings
from vireid.datasets.split import Dataset
from vireid.errors import SettingsError, TrainingError
from vireid.types import Modality


def needed(wanted: RunSettings) -> bool:
    """Whether a recipe needs labels that another stage makes."""
    return isinstance(wanted.method, OtlaSettings) and wanted.method.setting == "unsupervised"


def demand(order: Order) -> None:
    """Demand that a first stage is named where one is needed, and nowhere else.

    Raises:
        SettingsError: it is not so.
    """
    wanting, named = needed(order.settings), "recipe" in order.settings.stage1
    if not wanting and (order.settings.stage1 or order.stage1 is not None):
        raise SettingsError(
            "a first stage is named, and the method's setting knows its labels; set method.setting=unsupervised, or "
            "name none"
        )
    if wanting and not named and order.stage1 is None:
        raise SettingsError(
            "an unsupervised run needs labels of visible images: name the recipe that makes them, stage1.recipe=NAME, "
            "or a finished run, --stage1 RUN"
        )
    if order.stage1 is not None and order.source is not None:
        raise SettingsError("--source is of use to a first stage, and --stage1 names one that is finished")


def settings(wanted: RunSettings) -> RunSettings:
    """Read the recipe of the first stage, with what the second's recipe changes in it.

    Raises:
        SettingsError: there is no such recipe, a change does not fit it, or its method is told persons.
    """
    changes = dict(_dotted(wanted.stage1))
    recipe = str(changes.pop("recipe"))
    try:
        return _tells_nothing(recipes.read(recipe, {"data.trial": wanted.data.trial, **changes}))
    except SettingsError as error:
        # the reader takes changes for words of the command line
        said = error.message.replace(" on the command line", "")
        raise SettingsError(f"under [stage1]: {said}") from None


def _tells_nothing(first: RunSettings) -> RunSettings:
    """Demand that a first stage is told no true persons."""
    told = methods.METHODS[first.method.name].told(first.method)
    if told:
        raise SettingsError(
            f"the first stage is {first.method.name}, which is told the persons of "
            f"{' and '.join(kind.word for kind in sorted(told))} images; expected a method that is told none, as spcl"
        )
    return first


def _dotted(tree: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


# ---- what it hands over ----------------------------------------------------------
def labels(first: Path, dataset: Dataset, trial: int) -> PseudoLabels:
    """Take the labels a finished run ended with; single images and those it was not sure of have none.

    Raises:
        TrainingError: the run is not finished, has no labels, was told persons, or has seen other images.
    """
    ended, origin = _tells_nothing(checkpoint.load_settings(first)), checkpoint.load_origin(first)
    if not finished(first):
        raise TrainingError(f"{first} is not finished; go on with it first: vireid train resume {first}")
    made = pseudo.load(first / LABELS)
    same = (origin["dataset"], origin.get("train_files"), ended.data.trial) == (
        dataset.name,
        materials.files(dataset),
        trial,
    )
    if not same:
        raise TrainingError(
            f"{first} has labelled {origin['dataset']}, trial {ended.data.trial}, this run learns from {dataset.name}, "
            f"trial {trial}, or the images are not the same; make the labels on the same dataset"
        )
    count = len(dataset.train)
    sure = (dataset.train.modalities == Modality.VISIBLE) & ~made.outlier[:count]
    labels = renumber(np.where(sure, made.labels[:count], -1))
    told = {
        "by": "stage 1",
        "method": ended.method.name,
        "epochs": ended.epochs,
        "recipe_sha256": recipe_sha256(ended),
        "made_sha256": made.sha256,
    }
    if "source" in origin:
        told["source"] = origin["source"]["name"]
    return PseudoLabels(labels, made.confidence[:count], labels < 0, told)


def recipe_sha256(ended: RunSettings) -> str:
    """Name a recipe by what changes labels: seeds of one share it."""
    kept = {
        key: value
        for key, value in _dotted(ended.model_dump(mode="json"))
        if key not in (*recipes.SEEDS, *recipes.IDLE)
    }
    return sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def finished(folder: Path) -> bool:
    """Whether a run has trained its last epoch."""
    return checkpoint.epochs_done(folder) >= checkpoint.load_settings(folder).epochs
