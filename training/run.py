"""The composition root of training: settings and a dataset to a run on disk."""

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training import checkpoint, methods, models
from training.checkpoint import RECIPE, RUN
from training.data.images import Images
from training.evaluate import evaluate
from training.loop import Loop
from training.models import standard
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Dataset, Split
from vireid.datasets.verify import detect
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess


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
        weights: a safetensors file of standard ResNet weights to start from; fresh ones if None.

    Raises:
        TrainingError: the folder holds something, the dataset lacks a modality, or the weights do not fit.
        DatasetError: the dataset is incomplete.
    """
    dataset = open_dataset(name or detect(data), data)
    _both_modalities(dataset)
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(
            f"{folder} holds something already; resume it with 'vireid train resume', or name another"
        )
    begins = None if weights is None else standard.read(weights)
    told = {
        "dataset": dataset.name,
        "root": str(data.resolve()),
        "synthetic": dataset.synthetic,
        "train_images": len(dataset.train),
        "start": "fresh weights" if weights is None else _named(weights),
        "vireid": version("vireid"),
        "torch": torch.__version__,
        "commit": _commit(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    try:
        loop = _loop(folder, settings, dataset, device, begins)
        (folder / RECIPE).write_text(settings.model_dump_json(indent=2) + "\n")
        (folder / RUN).write_text(json.dumps(told, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(folder)
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
    dataset = open_dataset(told["dataset"], data or Path(told["root"]))
    if len(dataset.train) != told["train_images"]:
        raise TrainingError(
            f"the dataset has {len(dataset.train)} training images, the run began with {told['train_images']}; "
            "resume on the same dataset"
        )
    loop = _loop(folder, settings, dataset, device)
    loop.resume()
    checkpoint.cut_metrics(folder, loop.epoch)
    return Started(folder, loop)


def _loop(
    folder: Path,
    settings: RunSettings,
    dataset: Dataset,
    device: str,
    begins: Mapping[str, Tensor] | None = None,
) -> Loop:
    place = _device(device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    random.seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 - libraries that use the global one
    torch.manual_seed(settings.seed)
    network = models.build(settings.model)
    if begins is not None:
        standard.load(network, begins)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last).to(place)
    method = methods.create(network, dataset.train, settings.method)
    method.modules.to(place)
    size = Preprocess(settings.model.height, settings.model.columns)

    def images(split: Split) -> Images:
        return Images(split, size, settings.data.cache_mb)

    query, gallery = images(dataset.query), images(dataset.gallery)

    def score() -> dict[str, Any]:
        return dict(evaluate(network, query, gallery, dataset).to_json())

    may_score = len(query) > 0 and len(gallery) > 0
    return Loop(
        folder, settings, method, images(dataset.train), evaluate=score if may_score else None, device=place
    )


def _both_modalities(dataset: Dataset) -> None:
    kinds = dataset.train.modalities
    visible, infrared = int((kinds == 0).sum()), int((kinds == 1).sum())
    if not visible or not infrared:
        raise TrainingError(
            f"{dataset.root} has {visible} visible and {infrared} infrared training images; expected some of both"
        )


def _device(word: str) -> torch.device:
    if word not in {"auto", "cpu", "cuda"}:
        raise TrainingError(f"device is auto, cpu or cuda, not {word!r}")
    if word == "cuda" and not torch.cuda.is_available():
        raise TrainingError("cuda was asked for, and torch finds none; install a driver, or ask for the cpu")
    return torch.device("cuda" if word != "cpu" and torch.cuda.is_available() else "cpu")


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
