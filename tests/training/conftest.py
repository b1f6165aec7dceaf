"""A tiny labelled dataset in the layout of SYSU-MM01, drawn as coloured blocks, and a recipe that fits it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.settings import RunSettings

PEOPLE = 8


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blocks")
    for person in range(1, PEOPLE + 1):
        look = np.random.default_rng(person).integers(40, 216, (8, 4, 3))
        for camera in (1, 2, 3, 4, 5, 6):
            random = np.random.default_rng([person, camera])
            for shot in (1, 2):
                cells = np.clip(look + random.normal(0, 12, look.shape), 0, 255)
                if camera in (3, 6):
                    cells = np.repeat(cells.mean(2, keepdims=True), 3, 2)
                picture = Image.fromarray(cells.astype(np.uint8)).resize((32, 64), Image.Resampling.NEAREST)
                path = root / f"cam{camera}" / f"{person:04d}" / f"{shot:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path, quality=92)
    (root / "exp").mkdir()
    for part, people in (
        ("train", "1,2,3,4"),
        ("val", "5"),
        ("test", "6,7,8"),
        ("available", "1,2,3,4,5,6,7,8"),
    ):
        (root / "exp" / f"{part}_id.txt").write_text(people)
    return root


@pytest.fixture
def one_thread() -> None:
    """Two threads that wait for each other crawl when a machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny() -> RunSettings:
    return RunSettings.model_validate(
        {
            "epochs": 3,
            "iterations": 3,
            "seed": 5,
            "threads": 1,
            "tensorboard": "off",
            "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 64, "columns": 32},
            "data": {"persons": 3, "images": 2, "pad": 2},
            "optimiser": {"rate": 1e-3},
            "schedule": {"warmup_epochs": 1},
        }
    )
