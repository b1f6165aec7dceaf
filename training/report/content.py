"""Everything a report shows, read from a run's folder and, where it is at hand, its dataset. Knows no page."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training import checkpoint, ranks
from training.checkpoint import RECIPE, ROOTS
from training.journal import LABELS
from training.labels import pseudo
from training.labels.pseudo import PseudoLabels
from training.models import standard
from training.report import history, sight
from training.report.history import History
from training.report.sight import Sight
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Dataset
from vireid.errors import TrainingError

FRESH = "fresh weights"

NO_EPOCH = "No epoch was finished yet, so there is no network to look at."
NO_DATASET = "The dataset is not where the run read it. Name its place with --data to see what the network finds in it."
NO_TEST = "The dataset has no test images of both kinds, queries and gallery."
NO_START = (
    "What the network saw before training is left out: it began with {start}, which the run does not keep. "
    "Name the file with --init to see it."
)


@dataclass(frozen=True, slots=True)
class Content:
    """A run, read.

    Attributes:
        settings: its recipe.
        recipe: the same as the values of its file.
        origin: what it began with and where its network comes from; no path of a machine.
        synthetic: whether its dataset was drawn.
        epoch: the one whose weights the run ends with, 0 for none.
        history: its numbers.
        labels: those of the epoch that was begun last; None where there are none.
        sight: how its network sees; None where that is not known.
        missing: why ``sight``, or ``before`` of it, is not there.
    """

    settings: RunSettings
    recipe: Mapping[str, Any]
    origin: Mapping[str, Any]
    synthetic: bool
    epoch: int
    history: History
    labels: PseudoLabels | None
    sight: Sight | None
    missing: str


def read(run: Path, data: Path | None, weights: Path | None, device: str) -> Content:
    """Read a run, and look through its network.

    Args:
        run: its folder.
        data: the dataset's root; None for where the run read it.
        weights: the file of standard weights the run began with, where it did not begin with fresh ones.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: it is no run, a file of it is damaged, or dataset or weights are not those it began with.
        DatasetError: the dataset that was named is missing or incomplete.
        EvaluationError: no query of the dataset has a match.
    """
    settings, origin = checkpoint.load_settings(run), checkpoint.load_origin(run)
    told = {name: value for name, value in origin.items() if name not in ROOTS}
    epoch = 0
    if checkpoint.chosen(run).is_file():
        told = checkpoint.provenance(run)
        epoch = int(told["progress"]["epoch"])
        told.pop("recipe")
    found = history.read(run)
    labels = pseudo.load(run / LABELS) if (run / LABELS).is_file() else None
    begins = _begins(str(origin.get("start", FRESH)), weights)
    dataset = _dataset(origin, data, settings)
    seen, missing = None, ""
    if not epoch:
        missing = NO_EPOCH
    elif dataset is None:
        missing = NO_DATASET
    elif not len(dataset.query) or not len(dataset.gallery):
        missing = NO_TEST
    else:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        seen = sight.look(run, settings, dataset, begins, ranks.chosen(device))
        missing = NO_START.format(start=origin.get("start")) if begins is None else ""
    return Content(
        settings=settings,
        recipe=json.loads((run / RECIPE).read_text()),
        origin=told,
        synthetic=bool(origin.get("synthetic", False)),
        epoch=epoch,
        history=found,
        labels=labels,
        sight=seen,
        missing=missing,
    )


def _begins(start: str, weights: Path | None) -> Mapping[str, Tensor] | None:
    """Return the standard weights a run began with, none for fresh ones; None where they are not at hand."""
    if weights is None:
        return {} if start == FRESH else None
    made = standard.read(weights)
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if not start.endswith(found):
        raise TrainingError(
            f"{weights} has the sha256 {found}; the run began with {start}: name the file it began with"
        )
    return made


def _dataset(origin: Mapping[str, Any], data: Path | None, settings: RunSettings) -> Dataset | None:
    """Read the dataset of a run; None where nobody named it and it is no longer where it was."""
    root = data or Path(origin["root"])
    if data is None and not root.is_dir():
        return None
    dataset = open_dataset(origin["dataset"], root, settings.data.trial)
    if len(dataset.train) != origin["train_images"]:
        raise TrainingError(
            f"the dataset has {len(dataset.train)} training images, the run began with {origin['train_images']}; "
            f"name the dataset it was trained on with --data"
        )
    return dataset
