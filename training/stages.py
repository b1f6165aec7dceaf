"""Runs of more than one stage: a first one labels the visible images that the second is trained with.

    RUN/stages.json       how the stages were begun; only if this run has a first stage of its own
    RUN/stage1/           the run of the first stage
    RUN/stage1-labels.npz the labels it ended with: images it was not sure of have none

The second stage begins from the weights the first began from, not from those it ended with. A run of one stage is begun and
gone on with here too, with its labelled source set, if it has one. Knows no method's code and no loop.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training import checkpoint, first_stage, materials, ranks, restart, run
from training import order as orders
from training.checkpoint import FILE
from training.labels import pseudo
from training.materials import Material
from training.order import Order
from training.restart import MARK
from training.run import HANDED, Started
from training.settings import RunSettings
from vireid.datasets.split import Dataset
from vireid.errors import TrainingError

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
    first_stage.demand(order)
    dataset = materials.read(order.data, order.name, order.settings.data)
    if _found(folder, order.device):
        yield from resume(folder, order.data, order.device)
        return
    if not first_stage.needed(order.settings):
        material = materials.of(dataset, order.source)
        yield Stage(folder, "", run.begin(folder, order.settings, material, order.device, order.weights))
        return
    if order.stage1 is not None:
        yield _second(folder, order, dataset, order.stage1)
        return
    first = first_stage.settings(order.settings)
    begins = materials.of(dataset, order.source)
    started = run.begin(folder / FIRST, first, begins, order.device, order.weights)
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
    dataset = materials.read(order.data, order.name, order.settings.data)
    first = folder / FIRST
    if not (first / FILE).is_file():
        shutil.rmtree(first, ignore_errors=True)
        wanted, begins = first_stage.settings(order.settings), materials.of(dataset, order.source)
        begun = run.begin(first, wanted, begins, order.device, order.weights)
        yield Stage(folder, _first_banner(wanted), begun)
    elif not first_stage.finished(first):
        yield Stage(folder, _first_banner(checkpoint.load_settings(first)), _go_on(first, data, device))
    _forget_second(folder)
    yield _second(folder, order, dataset, first)


# ---- the first stage --------------------------------------------------------------
def _first_banner(first: RunSettings) -> str:
    return f"stage 1 of 2: {first.method.name} labels the visible images"


# ---- between the stages -----------------------------------------------------------
def _second(folder: Path, order: Order, dataset: Dataset, first: Path) -> Stage:
    """Begin the second stage on the labels of the first."""
    labels = first_stage.labels(first, dataset, order.settings.data.trial)
    began_here = not folder.exists()
    if ranks.place() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        pseudo.save(folder / TAKEN, labels)
    ranks.wait()
    kept = {"classes": labels.classes, "images": int((labels.labels >= 0).sum())}
    told = {**materials.origin(dataset), "stage1": {**labels.made, **kept, "labels_sha256": labels.sha256}}
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


# ---- going on ---------------------------------------------------------------------
def _go_on(folder: Path, data: Path | None, device: str) -> Started:
    """Go on with one stage on the same images, the same source set and the same labels."""
    told, trial = checkpoint.load_origin(folder), checkpoint.load_settings(folder).data.trial
    same = materials.again(told, data, trial)
    if "stage1" in told:
        taken = pseudo.load(folder / TAKEN, told["stage1"]["labels_sha256"]).labels
        same = replace(same, taken=tuple(taken.tolist()))
    return run.go_on(folder, same, device)


def _forget_second(folder: Path) -> None:
    """Remove what a second stage left that was stopped before its first epoch ended."""
    if ranks.place() > 0:
        return
    for left in folder.iterdir():
        if left.name not in {PLAN, FIRST, MARK}:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _found(folder: Path, device: str) -> bool:
    """Tell whether a run is to be gone on with: torchrun began it, and now begins its processes again.

    Raises:
        TrainingError: the folder holds something else.
    """
    ranks.join(device)
    own = restart.own(folder)
    begun = (folder / FILE).is_file() or (folder / PLAN).is_file()
    left = [found for found in folder.iterdir() if found.name != MARK] if folder.exists() else []
    ranks.wait()  # before the first process writes
    if own and begun:
        return True
    if left and not own:
        raise TrainingError(
            f"{folder} holds something already; resume it with 'vireid train resume', or name another"
        )
    if left and ranks.place() == 0:
        run.empty(folder, [folder / MARK])  # what a first epoch left that did not end
    restart.claim(folder)
    ranks.wait()
    return False
