"""The composition root of training: settings and a dataset to a run on disk."""

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training import checkpoint, judge, methods, models, ranks
from training.checkpoint import RECIPE, RUN
from training.data.images import Images
from training.evaluate import evaluate
from training.loop import Loop, Watch
from training.models import standard
from training.ranks import Ranks
from training.settings import DataSettings, RunSettings
from vireid.datasets import SYNTHETIC_MARKER, open_dataset, published
from vireid.datasets.split import Dataset, Split
from vireid.datasets.verify import detect
from vireid.errors import DatasetError, TrainingError
from vireid.images.preprocess import Preprocess

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


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from.

    Attributes:
        dataset: read from its root.
        source: a labelled set it learns from besides; its images come after the dataset's.
        taken: labels that an earlier stage made of the training images, -1 for none, (N,); told to the method in
            place of true persons.
        told: what ``run.json`` says of where all this came from, beside dataset and root.
    """

    dataset: Dataset
    source: Split | None = None
    taken: tuple[int, ...] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> Split:
        """The training images and the source's after them."""
        more = () if self.source is None else self.source.samples
        return Split("train", self.dataset.train.samples + more)


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
    return begin(folder, settings, Material(read(data, name, settings.data)), device, weights)


def read(data: Path, name: str | None, wanted: DataSettings) -> Dataset:
    """Read the dataset of a run.

    Args:
        data: its root.
        name: found by the layout if None.
        wanted: which trial, and whether its counts must be the published ones.

    Raises:
        TrainingError: it lacks a modality.
        DatasetError: it is incomplete, or not the published one where that is demanded.
    """
    dataset = open_dataset(name or detect(data), data, wanted.trial)
    _both_modalities(dataset)
    if wanted.counts == "published":
        _as_published(dataset)
    return dataset


def begin(
    folder: Path, settings: RunSettings, material: Material, device: str = "auto", weights: Path | None = None
) -> Started:
    """Begin a new run on what was read; arguments and errors as for ``start``, but a first stage may have been here."""
    workers = ranks.join(device)
    handed = [folder / name for name in HANDED]
    taken = folder.exists() and any(found not in handed for found in folder.iterdir())
    ranks.wait()  # before the first process writes
    if taken:
        raise TrainingError(
            f"{folder} holds something already; resume it with 'vireid train resume', or name another"
        )
    begins = None if weights is None else standard.read(weights)
    dataset = material.dataset
    told = {
        "dataset": dataset.name,
        "root": str(dataset.root.resolve()),
        "synthetic": dataset.synthetic,
        **_drawn(dataset),
        "train_images": len(dataset.train),
        "start": "fresh weights" if weights is None else _named(weights),
        "vireid": version("vireid"),
        "torch": torch.__version__,
        "commit": _commit(),
        **material.told,
    }
    first = ranks.place() == 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        loop = build(folder, settings, material, workers, begins)
        if first:
            (folder / RECIPE).write_text(settings.model_dump_json(indent=2) + "\n")
            (folder / RUN).write_text(json.dumps(told, indent=2) + "\n")
    except BaseException:
        if first:
            _empty(folder, handed)
        raise
    return Started(folder, loop)


def resume(folder: Path, data: Path | None = None, device: str = "auto") -> Started:
    """Go on with a run.

    Args:
        folder: of the run.
        data: the dataset's root, if it moved.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: it is no run, or its checkpoint is missing or damaged.
    """
    settings = checkpoint.load_settings(folder)
    told = checkpoint.load_origin(folder)
    dataset = open_dataset(told["dataset"], data or Path(told["root"]), settings.data.trial)
    return go_on(folder, Material(dataset), device)


def go_on(folder: Path, material: Material, device: str = "auto") -> Started:
    """Go on with a run on the same material as before; arguments and errors as for ``resume``."""
    settings = checkpoint.load_settings(folder)
    told = checkpoint.load_origin(folder)
    if len(material.dataset.train) != told["train_images"]:
        raise TrainingError(
            f"the dataset has {len(material.dataset.train)} training images, the run began with "
            f"{told['train_images']}; resume on the same dataset"
        )
    loop = build(folder, settings, material, ranks.join(device))
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


def _empty(folder: Path, but: Sequence[Path]) -> None:
    """Remove what a folder holds but for some, and the folder if nothing is left."""
    for found in [found for found in folder.iterdir() if found not in but]:
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _as_published(dataset: Dataset) -> None:
    """Demand the published number of training images and persons of what was not drawn."""
    if dataset.synthetic or dataset.name not in published.IMAGES:
        return
    found = (len(set(dataset.train.persons.tolist())), len(dataset.train))
    counts = published.IMAGES[dataset.name]
    images = sum(number for (part, _, _), number in counts.items() if part == "train")
    expected = (published.PERSONS[dataset.name]["train"], images)
    if found != expected:
        raise DatasetError(
            f"{dataset.root} has {found[0]} training persons on {found[1]} images, {dataset.name} as published has "
            f"{expected[0]} on {expected[1]}; 'vireid data verify' tells what is missing, "
            "--set data.counts=any trains on it as it is"
        )


def _both_modalities(dataset: Dataset) -> None:
    kinds = dataset.train.modalities
    visible, infrared = int((kinds == 0).sum()), int((kinds == 1).sum())
    if not visible or not infrared:
        raise TrainingError(
            f"{dataset.root} has {visible} visible and {infrared} infrared training images; expected some of both"
        )


def _drawn(dataset: Dataset) -> dict[str, str]:
    """Tell which drawn people these are, whose files have the names of all others'."""
    if not dataset.synthetic:
        return {}
    return {"drawn_sha256": hashlib.sha256((dataset.root / SYNTHETIC_MARKER).read_bytes()).hexdigest()}


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
