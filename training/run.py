"""The composition root of training: settings and a dataset to a run on disk."""

import hashlib
import json
import logging
import random
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training import checkpoint, judge, materials, methods, models, ranks, restart
from training.checkpoint import RECIPE, RUN
from training.data.images import Images
from training.evaluate import evaluate
from training.loop import Loop, Watch
from training.materials import Material
from training.models import standard
from training.ranks import Ranks
from training.settings import RunSettings
from vireid.datasets.split import Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess

log = logging.getLogger(__name__)

# what a first stage leaves in the folder of the second: how both were begun, its own run, the labels it ended with
HANDED = ("stages.json", "stage1", "stage1-labels.npz")


@dataclass(frozen=True, slots=True)
class Started:
    """A run that can be trained.

    Attributes:
        folder: where it is kept.
        loop: trains it.
    """

    folder: Path
    loop: Loop


def start(
    folder: Path,
    settings: RunSettings,
    data: Path,
    name: str | None,
    device: str = "auto",
    weights: Path | None = None,
) -> Started:
    """Begin a new run.

    Args:
        folder: new or empty.
        settings: the recipe.
        data: the dataset's root.
        name: the dataset's name; found by the layout if None.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights: a safetensors file of standard weights to start from; fresh ones if None.

    Raises:
        TrainingError: the folder holds something, the dataset lacks a modality, or the weights do not fit.
        DatasetError: the dataset is incomplete, or not the published one where the recipe demands it.
    """
    return begin(folder, settings, materials.of(materials.read(data, name, settings.data)), device, weights)


def begin(
    folder: Path, settings: RunSettings, material: Material, device: str = "auto", weights: Path | None = None
) -> Started:
    """Begin a new run on what was read; arguments and errors as for ``start``, but a first stage may have been here."""
    workers = ranks.join(device)
    handed = [folder / name for name in (*HANDED, restart.MARK)]
    taken = folder.exists() and any(found not in handed for found in folder.iterdir())
    ranks.wait()  # before the first process writes
    if taken:
        raise TrainingError(
            f"{folder} holds something already; resume it with 'vireid train resume', or name another"
        )
    first = ranks.place() == 0
    if first and settings.method.first_phase >= settings.epochs:
        log.warning(
            "all %d epochs are %s's first phase of %d, which is DCL: nothing of what sets it apart will be done; lower "
            "the phase (vireid train %s --help) or raise epochs",
            settings.epochs,
            settings.method.name,
            settings.method.first_phase,
            settings.method.name,
        )
    begins = None if weights is None else standard.read(weights)
    dataset = material.dataset
    told = {
        "dataset": dataset.name,
        "root": str(dataset.root.resolve()),
        "synthetic": dataset.synthetic,
        **materials.drawn(dataset),
        "train_images": len(dataset.train),
        "start": "fresh weights" if weights is None else _named(weights),
        "vireid": version("vireid"),
        "torch": torch.__version__,
        "commit": _commit(),
        **material.told,
    }
    folder.mkdir(parents=True, exist_ok=True)
    ranks.wait()  # the first takes the folder away if it fails, and nobody may make it again after that
    try:
        loop = build(folder, settings, material, workers, begins)
        if first:
            (folder / RECIPE).write_text(settings.model_dump_json(indent=2) + "\n")
            (folder / RUN).write_text(json.dumps(told, indent=2) + "\n")
    except BaseException:
        if first:
            empty(folder, handed)
        raise
    return Started(folder, loop)


def resume(folder: Path, data: Path | None = None, device: str = "auto") -> Started:
    """Go on with a run.

    Args:
        folder: of the run.
        data: the dataset's root, if it moved.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: it is no run, its checkpoint is missing or damaged, or the material is not the same.
    """
    told, trial = checkpoint.load_origin(folder), checkpoint.load_settings(folder).data.trial
    return go_on(folder, materials.again(told, data, trial), device)


def go_on(folder: Path, same: Material, device: str = "auto") -> Started:
    """Go on with a run.

    Args:
        folder: of the run.
        same: the material it began with.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: its checkpoint is missing or damaged.
    """
    settings = checkpoint.load_settings(folder)
    loop = build(folder, settings, same, ranks.join(device))
    loop.resume()
    if ranks.place() == 0:
        checkpoint.cut_metrics(folder, loop.epoch)
    ranks.wait()
    return Started(folder, loop)


def build(
    folder: Path,
    settings: RunSettings,
    material: Material,
    workers: Ranks,
    begins: Mapping[str, Tensor] | None = None,
) -> Loop:
    """Put a run together: network, method, images, and what is measured.

    Args:
        folder: of the run.
        settings: the recipe.
        material: what it learns from.
        workers: the device, and the processes that train together.
        begins: standard weights to start from.

    Raises:
        TrainingError: there is no such model or method, or the weights do not fit.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    random.seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 - libraries that use the global one
    torch.manual_seed(settings.seed)
    network = models.build(settings.model)
    if begins is not None:
        standard.load(network, begins)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last).to(workers.device)
    method = methods.create(network, material.dataset.train, settings.method, material.source, material.taken)
    method.modules.to(workers.device)
    size = Preprocess(settings.model.height, settings.model.columns)
    dataset = material.dataset

    def images(split: Split) -> Images:
        return Images(split, size, settings.data.cache_mb)

    query, gallery = images(dataset.query), images(dataset.gallery)

    def score() -> dict[str, Any]:
        return dict(evaluate(network, query, gallery, dataset).to_json())

    train = dataset.train
    watch = Watch(
        evaluate=score if len(query) and len(gallery) else None,
        judge=judge.judge(train.persons, train.modalities) if (train.persons >= 0).all() else None,
    )
    return Loop(folder, settings, method, images(material.images), watch, workers)


def empty(folder: Path, but: Sequence[Path]) -> None:
    """Remove what a folder holds but for some, and the folder if nothing is left."""
    for found in [found for found in folder.iterdir() if found not in but]:
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _named(weights: Path) -> str:
    """Name a weight file by what it holds, not by where it lies."""
    return f"{weights.name} sha256:{hashlib.sha256(weights.read_bytes()).hexdigest()}"


def _commit() -> str:
    """Return the commit this code is at, marked if it was changed since; empty outside its own checkout."""
    # installed into another project's folder, git would answer with that project's commit
    if not _git("ls-files", "--error-unmatch", Path(__file__).name):
        return ""
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")


def _git(*words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    found = subprocess.run(  # noqa: S603 - fixed words
        [git, "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else ""
