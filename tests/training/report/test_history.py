"""A run's metrics as curves by name."""

import json
from pathlib import Path
from typing import Any

from training.report import history


def written(folder: Path, *lines: dict[str, Any]) -> history.History:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return history.read(folder)


SCORES = {"mean": {"mAP": 0.25}, "protocol": {"name": "one"}, "synthetic": False}


def test_losses_are_told_from_what_a_method_tells(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        {"epoch": 0, "evaluation": SCORES},
        {"epoch": 1, "identity": 3.0, "modality": 1.0, "total": 4.0, "rate": 0.1, "seconds": 2.5},
        {
            "epoch": 2,
            "identity": 2.0,
            "infrared_identity": 2.0,
            "modality": 1.0,
            "total": 5.0,
            "clusters": 7.0,
            "labels": {"classes": 7, "sha256": "ab", "sizes": {"infrared": [4, 3]}, "accuracy": {"all": 0.5}},
            "rate": 0.1,
            "waited": 0.5,
            "speed": 9.0,
            "seconds": 3.0,
            "evaluation": SCORES,
            "selected": {"by": "mAP", "value": 0.25, "best": True},
        },
    )
    assert found.losses == ("identity", "infrared_identity", "modality", "total")
    assert found.told == ("clusters",)
    assert found.epochs == 2
    assert found.seconds == 5.5
    assert [epoch for epoch, _ in found.evaluations] == [0, 2]
    assert found.series["identity"] == history.Series((1, 2), (3.0, 2.0))
    assert found.series["infrared_identity"] == history.Series((2,), (2.0,))
    assert found.series["labels/accuracy/all"] == history.Series((2,), (0.5,))
    assert found.series["evaluation/mean/mAP"] == history.Series((0, 2), (0.25, 0.25))
    assert found.labels["sizes"] == {"infrared": [4, 3]}
    assert found.marks == {"ab": 2}


def test_what_was_not_finite_is_left_out(tmp_path: Path) -> None:
    found = written(tmp_path, {"epoch": 1, "total": None}, {"epoch": 2, "total": 1.0})
    assert found.series["total"] == history.Series((2,), (1.0,))
    assert found.losses == ("total",)


def test_a_run_without_metrics_is_empty(tmp_path: Path) -> None:
    found = history.read(tmp_path)
    assert (found.epochs, found.losses, found.told, dict(found.series)) == (0, (), (), {})


def test_what_is_told_before_any_loss_is_no_loss(tmp_path: Path) -> None:
    assert written(tmp_path, {"epoch": 1, "clusters": 3.0}).told == ("clusters",)
