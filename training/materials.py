"""What a run learns from: a dataset, a labelled source set, labels of an earlier stage; and whether it is still the same.

Knows no method and no network.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.order import Source
from training.settings import DataSettings
from vireid.datasets import SYNTHETIC_MARKER, open_dataset, published
from vireid.datasets.split import Dataset, Split
from vireid.datasets.verify import detect
from vireid.errors import DatasetError, TrainingError


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


def of(dataset: Dataset, source: Source | None = None) -> Material:
    """Put material together, with what ``run.json`` says of it.

    Args:
        dataset: to learn.
        source: a labelled set to learn from besides.

    Raises:
        DatasetError: the source set cannot be read.
        TrainingError: it has no visible training images.
    """
    told = origin(dataset)
    if source is None:
        return Material(dataset, told=told)
    read = source.read()
    told["source"] = {
        "name": source.name,
        "images": len(read),
        "persons": len(set(read.persons.tolist())),
        "sha256": _labelled(read, source.root),
    }
    told["source_root"] = str(source.root.resolve())
    return Material(dataset, read, told=told)


def origin(dataset: Dataset) -> dict[str, Any]:
    """Say of which images a run learns."""
    return {"train_files": files(dataset)}


def again(told: Mapping[str, Any], data: Path | None, trial: int) -> Material:
    """Read once more what a run began with.

    Args:
        told: what its ``run.json`` says.
        data: the dataset's root, if it moved.
        trial: identity split of the dataset.

    Raises:
        TrainingError: the images, or the source set, are no longer the same.
    """
    dataset = open_dataset(told["dataset"], data or Path(told["root"]), trial)
    if len(dataset.train) != told["train_images"]:
        raise TrainingError(
            f"the dataset has {len(dataset.train)} training images, the run began with {told['train_images']}; "
            "resume on the same dataset"
        )
    if told.get("train_files", files(dataset)) != files(dataset):
        raise TrainingError(
            f"{dataset.root} does not hold the training images the run began with; resume on the same dataset"
        )
    if "source" not in told:
        return Material(dataset)
    source, began = Source(told["source"]["name"], Path(told["source_root"])), told["source"]
    read = source.read()
    mark = _labelled(read, source.root)
    # runs that began before there was a fingerprint are known by their counts
    if len(read) != began["images"] or began.get("sha256", mark) != mark:
        raise TrainingError(
            f"the source set {source.root} has {len(read)} images, the run began with {began['images']}, or they are "
            "others, or of other persons; resume with the same set"
        )
    return Material(dataset, read)


def files(dataset: Dataset) -> str:
    """Return a fingerprint of which images are trained on, in their order; not of what they show."""
    return _sum(_names(dataset.train, dataset.root))


def _labelled(split: Split, root: Path) -> str:
    """Return a fingerprint of images and of who is on them."""
    pairs = zip(_names(split, root), split.samples, strict=True)
    return _sum([f"{name} {sample.person}" for name, sample in pairs])


def _names(split: Split, root: Path) -> list[str]:
    return [str(sample.path.resolve().relative_to(root.resolve())) for sample in split.samples]


def _sum(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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


def drawn(dataset: Dataset) -> dict[str, str]:
    """Tell which drawn people these are, whose files have the names of all others'."""
    if not dataset.synthetic:
        return {}
    return {"drawn_sha256": hashlib.sha256((dataset.root / SYNTHETIC_MARKER).read_bytes()).hexdigest()}
