"""Small runs of two methods on drawn blocks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training import run
from training.checkpoint import RUN
from training.settings import RunSettings


@pytest.fixture(scope="session")
def recipe() -> Callable[..., RunSettings]:
    def make(**changed: Any) -> RunSettings:
        usual = {
            "epochs": 3,
            "iterations": 2,
            "seed": 5,
            "threads": 1,
            "evaluate_first": True,
            "evaluate_every": 2,
            "tensorboard": "off",
            "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 64, "columns": 32},
            "data": {"persons": 3, "images": 2, "pad": 2},
            "optimiser": {"rate": 1e-3},
            "schedule": {"warmup_epochs": 1},
        }
        return RunSettings.model_validate(usual | changed)

    return make


@pytest.fixture(scope="session")
def trained(
    blocks: Path, tmp_path_factory: pytest.TempPathFactory, recipe: Callable[..., RunSettings]
) -> dict[str, Path]:
    """A finished run of each kind; tests that change one take a copy."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("runs")
    kinds: dict[str, dict[str, Any]] = {"supervised": {}, "otla": {"method": {"name": "otla"}}}
    for name, changed in kinds.items():
        run.start(root / name, recipe(**changed), blocks, None, "cpu").loop.train()
    return {name: root / name for name in kinds}


@pytest.fixture
def alone(copy: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copy a run whose dataset is gone: its report takes a fraction of the time."""

    def make(name: str) -> Path:
        folder = copy(name)
        origin = json.loads((folder / RUN).read_text())
        (folder / RUN).write_text(json.dumps(origin | {"root": str(tmp_path / "gone")}))
        return folder

    return make


@pytest.fixture
def copy(trained: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        # without the page that another test may have made of it
        pages = shutil.ignore_patterns("report.html")
        return Path(shutil.copytree(trained[name], tmp_path / name, ignore=pages))

    return make
