"""Runs of more than one stage: a first one labels the visible images that the second is trained with.

    RUN/stages.json       how the stages were begun; only if this run has a first stage of its own
    RUN/stage1/           the run of the first stage
    RUN/stage1-labels.npz the labels it ended with: images it was not sure of have none

The second stage begins from the weights the first began from, not from those it ended with. A run of one stage is begun and
gone on with here too, with its labelled source set, if it has one. Knows no method's code and no loop.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import checkpoint, methods, ranks, run, settings
from training import order as orders
from training.checkpoint import FILE
from training.journal import LABELS
from training.labels import pseudo
from training.labels.outliers import renumber
from training.labels.pseudo import PseudoLabels
from training.method_settings import OtlaSettings
from training.order import Order, Source
from training.run import HANDED, Material, Started
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Dataset
from vireid.errors import SettingsError, TrainingError
from vireid.types import Modality

PLAN, FIRST, TAKEN = HANDED


@dataclass(frozen=True, slots=True)
class Stage:
    """One to be trained before the next is asked for.

    Attributes:
        folder: of the whole run.
        banner: what it is, of how many; empty for a run of one stage.
        started: the stage's own run.
    """

    folder: Path
    banner: str
    started: Started


def start(folder: Path, order: Order) -> Iterator[Stage]:
    """Begin a run, stage by stage: the next begins when it is asked for.

    Args:
        folder: new or empty.
        order: what is to be trained.

    Yields:
        Each stage, to be trained at once.

    Raises:
        TrainingError: as ``run.start``; or labels are taken from a run that is not finished, or of other images.
        SettingsError: a first stage, or its lack, does not fit the method's setting.
    """
    _fitting(order)
    dataset = run.read(order.data, order.name, order.settings.data)
    if not _labelled_for(order.settings):
        material = _material(dataset, order.source)
        yield Stage(folder, "", run.begin(folder, order.settings, material, order.device, order.weights))
        return
    if order.stage1 is not None:
        _demand_empty(folder)
        yield _second(folder, order, dataset, order.stage1)
        return
    _demand_empty(folder)
    first = _first_settings(order.settings)
    started = run.begin(folder / FIRST, first, _material(dataset, order.source), order.device, order.weights)
    if ranks.place() == 0:
        orders.write(folder / PLAN, order)
    ranks.wait()
    yield Stage(folder, _first_banner(first), started)
    yield _second(folder, order, dataset, folder / FIRST)


def resume(folder: Path, data: Path | None = None, device: str = "auto") -> Iterator[Stage]:
    """Go on with a run in whichever stage it was stopped.

    Args:
        folder: of the run.
        data: the dataset's root, if it moved.
        device: ``auto``, ``cpu`` or ``cuda``.

    Yields:
        Each stage that is not finished, and the last one in any case.

    Raises:
        TrainingError: as ``run.resume``; or the labels of the first stage are no longer those it ended with.
    """
    if (folder / FILE).is_file() or not (folder / PLAN).is_file():
        yield Stage(folder, "", _go_on(folder, data, device))
        return
    order = orders.read(folder / PLAN, data, device)
    dataset = run.read(order.data, order.name, order.settings.data)
    first = folder / FIRST
    if not (first / FILE).is_file():
        shutil.rmtree(first, ignore_errors=True)
        begun = run.begin(
            first, _first_settings(order.settings), _material(dataset, order.source), device, order.weights
        )
        yield Stage(folder, _first_banner(_first_settings(order.settings)), begun)
    elif not _finished(first):
        yield Stage(folder, _first_banner(checkpoint.load_settings(first)), _go_on(first, data, device))
    _forget_second(folder)
    yield _second(folder, order, dataset, first)


# ---- the first stage --------------------------------------------------------------
def _labelled_for(wanted: RunSettings) -> bool:
    """Whether a recipe needs labels that another stage makes."""
    return isinstance(wanted.method, OtlaSettings) and wanted.method.setting == "unsupervised"


def _fitting(order: Order) -> None:
    """Demand that a first stage is named where one is needed, and nowhere else."""
    needed, named = _labelled_for(order.settings), "recipe" in order.settings.stage1
    if not needed and (order.settings.stage1 or order.stage1 is not None):
        raise SettingsError(
            "a first stage is named, and the method's setting knows its labels; set method.setting=unsupervised, or "
            "name none"
        )
    if needed and not named and order.stage1 is None:
        raise SettingsError(
            "an unsupervised run needs labels of visible images: name the recipe that makes them, stage1.recipe=NAME, "
            "or a finished run, --stage1 RUN"
        )
    if order.stage1 is not None and order.source is not None:
        raise SettingsError("--source is of use to a first stage, and --stage1 names one that is finished")


def _first_settings(wanted: RunSettings) -> RunSettings:
    """Read the recipe of the first stage, with what the second's recipe changes in it."""
    changes = dict(_dotted(wanted.stage1))
    recipe = str(changes.pop("recipe"))
    try:
        return _tells_nothing(settings.read(recipe, {"data.trial": wanted.data.trial, **changes}))
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


def _first_banner(first: RunSettings) -> str:
    return f"stage 1 of 2: {first.method.name} labels the visible images"


# ---- between the stages -----------------------------------------------------------
def _second(folder: Path, order: Order, dataset: Dataset, first: Path) -> Stage:
    """Begin the second stage on the labels of the first."""
    labels = _handed_over(first, dataset, order.settings.data.trial)
    began_here = not folder.exists()
    if ranks.place() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        pseudo.save(folder / TAKEN, labels)
    ranks.wait()
    kept = {"classes": labels.classes, "images": int((labels.labels >= 0).sum())}
    told = {**_told(dataset), "stage1": {**labels.made, **kept, "labels_sha256": labels.sha256}}
    material = Material(dataset, taken=tuple(labels.labels.tolist()), told=told)
    try:
        started = run.begin(folder, order.settings, material, order.device, order.weights)
    except BaseException:
        if began_here and ranks.place() == 0:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return Stage(folder, _second_banner(order.settings, told["stage1"]), started)


def _second_banner(wanted: RunSettings, labels: Mapping[str, Any]) -> str:
    return f"stage 2 of 2: {wanted.method.name} with {labels['classes']} classes of {labels['images']} visible images"


def _handed_over(first: Path, dataset: Dataset, trial: int) -> PseudoLabels:
    """Take the labels a finished run ended with; single images and those it was not sure of have none.

    Raises:
        TrainingError: the run is not finished, has no labels, was told persons, or has seen other images.
    """
    ended, origin = _tells_nothing(checkpoint.load_settings(first)), checkpoint.load_origin(first)
    if not _finished(first):
        raise TrainingError(f"{first} is not finished; go on with it first: vireid train resume {first}")
    made = pseudo.load(first / LABELS)
    same = (origin["dataset"], origin.get("train_files"), ended.data.trial) == (
        dataset.name,
        _files(dataset),
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
    told = {"by": "stage 1", "method": ended.method.name, "epochs": ended.epochs, "made_sha256": made.sha256}
    if "source" in origin:
        told["source"] = origin["source"]["name"]
    return PseudoLabels(labels, made.confidence[:count], labels < 0, told)


def _finished(folder: Path) -> bool:
    return checkpoint.epochs_done(folder) >= checkpoint.load_settings(folder).epochs


# ---- going on ---------------------------------------------------------------------
def _go_on(folder: Path, data: Path | None, device: str) -> Started:
    """Go on with one stage on the same images, the same source set and the same labels."""
    wanted, told = checkpoint.load_settings(folder), checkpoint.load_origin(folder)
    dataset = open_dataset(told["dataset"], data or Path(told["root"]), wanted.data.trial)
    if told.get("train_files", _files(dataset)) != _files(dataset):
        raise TrainingError(
            f"{dataset.root} does not hold the training images the run began with; resume on the same dataset"
        )
    source = taken = None
    if "source" in told:
        source = Source(told["source"]["name"], Path(told["source_root"])).read()
        if len(source) != told["source"]["images"]:
            raise TrainingError(
                f"the source set has {len(source)} images, the run began with {told['source']['images']}; resume with "
                "the same set"
            )
    if "stage1" in told:
        taken = tuple(pseudo.load(folder / TAKEN, told["stage1"]["labels_sha256"]).labels.tolist())
    return run.go_on(folder, Material(dataset, source, taken), device)


def _forget_second(folder: Path) -> None:
    """Remove what a second stage left that was stopped before its first epoch ended."""
    if ranks.place() > 0:
        return
    for left in folder.iterdir():
        if left.name not in {PLAN, FIRST}:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _material(dataset: Dataset, source: Source | None) -> Material:
    told = _told(dataset)
    if source is None:
        return Material(dataset, told=told)
    read = source.read()
    told["source"] = {"name": source.name, "images": len(read), "persons": len(set(read.persons.tolist()))}
    told["source_root"] = str(source.root.resolve())
    return Material(dataset, read, told=told)


def _told(dataset: Dataset) -> dict[str, Any]:
    return {"train_files": _files(dataset)}


def _files(dataset: Dataset) -> str:
    """Return a fingerprint of which images are trained on, in their order; not of what they show."""
    root = dataset.root.resolve()
    names = (str(sample.path.resolve().relative_to(root)) for sample in dataset.train.samples)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _demand_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(
            f"{folder} holds something already; resume it with 'vireid train resume', or name another"
        )


def _dotted(tree: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value
