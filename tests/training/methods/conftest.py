"""What tests of methods share: begin a method on a dataset, train a run with persons taken away, read what it left."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from training import checkpoint, run
from training.materials import Material
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Dataset, Split
from vireid.types import Modality

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def people(blocks: Path) -> Dataset:
    """Five people to learn from: eight visible and four infrared images of each."""
    return open_dataset("sysu-mm01", blocks)


@pytest.fixture
def small(tiny: RunSettings) -> RunSettings:
    """A recipe for a one-stream network, not yet of a method; no clipping, whose norm sums over all there is."""
    return tiny.model_copy(
        update={
            "model": tiny.model.model_copy(update={"name": "one-stream-resnet18", "pooling": "average"}),
            "optimiser": tiny.optimiser.model_copy(update={"clip_norm": 0.0}),
        }
    )


@pytest.fixture(scope="session")
def forgetting() -> Callable[..., Dataset]:
    """Give the same dataset with nobody known on the training images of some modalities."""

    def forget(dataset: Dataset, *whose: Modality) -> Dataset:
        samples = (
            replace(sample, person=-1) if sample.modality in whose else sample
            for sample in dataset.train.samples
        )
        return replace(dataset, train=Split("train", tuple(samples)))

    return forget


def _left(folder: Path) -> Weights:
    """All weights, memories, banks and counters of a checkpoint."""
    with safe_open(folder / checkpoint.FILE, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("weights.")]  # noqa: SIM118 - no mapping
        return {name.removeprefix("weights."): file.get_tensor(name) for name in names}


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Weights]:
    """Train a run of a recipe on some material, in one go or stopped and gone on with."""
    made = 0

    def train(wanted: RunSettings, material: Material, stop: int | None = None) -> Weights:
        nonlocal made
        made += 1
        folder = tmp_path / f"run{made}"
        run.begin(folder, wanted, material, "cpu").loop.train(until=stop)
        if stop is not None:
            np.random.seed(0)  # noqa: NPY002 - chance that a resumed run must not depend on
            torch.manual_seed(0)
            run.go_on(folder, material, "cpu").loop.train()
        return _left(folder)

    return train


@pytest.fixture(scope="session")
def same() -> Callable[..., bool]:
    """Tell whether two checkpoints hold the same, bit for bit, under names that begin so."""

    def equal(one: Weights, other: Weights, *beginning: str) -> bool:
        a, b = (
            {name: value for name, value in each.items() if name.startswith(beginning or ("",))}
            for each in (one, other)
        )
        return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) and bool(a)

    return equal
