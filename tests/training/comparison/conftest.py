"""Runs as they leave their folders, without training any: a comparison reads no weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training import checkpoint
from training.settings import RunSettings

PROTOCOL = {
    "name": "sysu-mm01/all/single",
    "words": "sysu-mm01/all/single: infrared images ask, visible ones are found; ranks count persons",
    "trials": [0, 1],
    "cmc": "identity",
    "flip": "none",
}


def evaluation(value: float, **changed: Any) -> dict[str, Any]:
    """Make an evaluation whose scores all follow from one number."""
    mean = {
        "rank1": value,
        "rank5": value + 0.1,
        "rank10": value + 0.2,
        "mAP": value - 0.05,
        "mINP": value / 2,
    }
    return {
        "protocol": PROTOCOL | changed,
        "synthetic": False,
        "mean": mean,
        "std": dict.fromkeys(mean, 0.0),
        "cmc": [min(1.0, value + 0.02 * rank) for rank in range(50)],
        "trials": [{"trial": 0, "n_query": 30, "n_gallery": 12, "n_valid": 30, **mean}],
    }


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Write a run: its name, the scores of its epochs, what differs from a supervised one of three epochs."""

    def make(
        called: str,
        scores: dict[int, float],
        /,
        *,
        settings: dict[str, Any] | None = None,
        origin: dict[str, Any] | None = None,
        lines: Callable[[dict[str, Any]], object] | None = None,
        **protocol: Any,
    ) -> Path:
        folder = tmp_path / "runs" / called
        folder.mkdir(parents=True)
        recipe = {"epochs": 3, "iterations": 2, "evaluate_every": 1, **(settings or {})}
        wanted = RunSettings.model_validate(recipe)
        (folder / checkpoint.RECIPE).write_text(wanted.model_dump_json())
        told = {
            "dataset": "sysu-mm01",
            "root": str(tmp_path / "data"),
            "synthetic": False,
            "train_images": 60,
            "start": "resnet50.safetensors sha256:abc",
            "train_files": "f1",
            **(origin or {}),
        }
        (folder / checkpoint.RUN).write_text(json.dumps(told))
        metrics = []
        for epoch in range(1, wanted.epochs + 1):
            line = {"epoch": epoch, "total": 1.0 / epoch, "rate": 1e-3, "seconds": 2.0 + epoch}
            if epoch in scores:
                line["evaluation"] = evaluation(scores[epoch], **protocol)
                line["evaluation"]["synthetic"] = told["synthetic"]
            if lines is not None:
                lines(line)
            metrics.append(line)
        (folder / checkpoint.METRICS).write_text("".join(json.dumps(line) + "\n" for line in metrics))
        return folder

    return make
