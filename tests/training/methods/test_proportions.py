"""Methods of clusters where the modalities have clusters in any proportion, or nobody in common."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training import checkpoint, run
from training.materials import Material
from training.settings import RunSettings
from vireid.datasets.split import Dataset, Sample, Split
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

NEAR = {"k1": 4, "k2": 1, "eps": 0.5, "min_samples": 2}
METHODS = {
    "dcl": {"name": "dcl", "clusters": NEAR},
    "miot": {"name": "miot", "warmup_epochs": 1, "clusters": NEAR},
    "mult": {"name": "mult", "dcl_epochs": 1, "clusters": NEAR},
}
TINY = {
    "epochs": 3,
    "iterations": 2,
    "seed": 5,
    "threads": 1,
    "tensorboard": "off",
    "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 32, "columns": 16},
    "data": {"persons": 4, "images": 2, "pad": 2, "views": 2, "ahead": 0},
    "optimiser": {"rate": 1e-3},
    "schedule": {"warmup_epochs": 0},
}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Callable[[range, range], Split]:
    """Draw people of plain colours, four pictures of each in the modalities they are seen in."""
    root = tmp_path_factory.mktemp("crowd")

    def drawn(kind: Modality, person: int) -> list[Sample]:
        look = np.random.default_rng(person).integers(0, 256, (4, 2, 3))
        made = []
        for shot in range(4):
            cells = np.clip(
                look + np.random.default_rng([person, shot, kind]).normal(0, 4, look.shape), 0, 255
            )
            if kind is Modality.INFRARED:
                cells = np.repeat(cells.mean(2, keepdims=True), 3, 2)
            path = root / f"{kind.word}-{person}-{shot}.png"
            picture = Image.fromarray(cells.astype(np.uint8)).resize((16, 32), Image.Resampling.NEAREST)
            picture.save(path)
            made.append(Sample(path, person, 1 + shot % 2 + 2 * kind, kind))
        return made

    def draw(visible: range, infrared: range) -> Split:
        samples = [drawn(Modality.VISIBLE, person) for person in visible]
        samples += [drawn(Modality.INFRARED, person) for person in infrared]
        return Split("train", tuple(sample for each in samples for sample in each))

    return draw


PROPORTIONS = {
    "1:1": (range(6), range(6)),
    "2:1": (range(8), range(4)),
    "5:1": (range(10), range(2)),
    "1:3": (range(4), range(12)),
    "nobody in both": (range(6), range(6, 12)),
}


@pytest.mark.parametrize("proportion", PROPORTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_clusters_in_any_proportion_train_and_are_told(
    name: str, proportion: str, people: Dataset, crowd: Any, tmp_path: Path
) -> None:
    visible, infrared = PROPORTIONS[proportion]
    nobody = Split("query", ())
    dataset = replace(people, train=crowd(visible, infrared), query=nobody, gallery=nobody)
    wanted = RunSettings.model_validate({**TINY, "method": METHODS[name]})
    run.begin(tmp_path / "run", wanted, Material(dataset), "cpu").loop.train()
    lines = checkpoint.read_metrics(tmp_path / "run")
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert np.isfinite(line["total"])
    # of an untrained network
    assert lines[0]["clusters_visible"] == len(visible)
    assert lines[0]["clusters_infrared"] == len(infrared)
    if proportion == "nobody in both":
        # no pair across modalities is right, and where some were made it says so
        assert {line["labels"]["across"]["precision"] for line in lines} <= {None, 0.0}
