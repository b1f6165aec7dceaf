"""What a run writes beside its checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training import checkpoint, journal, run
from training.journal import EVENTS, LABELS, Journal, numbers
from training.labels import pseudo
from training.labels.pseudo import PseudoLabels
from training.settings import RunSettings
from vireid.errors import TrainingError


def test_numbers_are_named_by_where_they_stand() -> None:
    told = {
        "total": 1,
        "labels": {"accuracy": {"infrared": 0.5}, "sizes": {"visible": [3]}},
        "note": "x",
        "best": True,
    }
    assert dict(numbers(told)) == {"total": 1.0, "labels/accuracy/infrared": 0.5}


def test_what_is_not_finite_is_written_as_null(tmp_path: Path) -> None:
    told = {"epoch": 1, "within": {"recall": float("nan")}, "curve": [1.0, float("inf")]}
    Journal(tmp_path, "off").tell(told)
    line = (tmp_path / checkpoint.METRICS).read_text()
    assert json.loads(line, parse_constant=lambda word: pytest.fail(word)) == {
        "epoch": 1, "within": {"recall": None}, "curve": [1.0, None],
    }  # fmt: skip


def test_event_files_hold_what_the_metrics_say(blocks: Path, tmp_path: Path, tiny: RunSettings) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "run"
    wanted = tiny.model_copy(update={"tensorboard": "on"})
    run.start(folder, wanted, blocks, None, "cpu").loop.train(until=2)
    # an epoch whose checkpoint was lost is made, and drawn, again
    lines = checkpoint.read_metrics(folder)
    run.resume(folder, device="cpu").loop.train()
    lines += checkpoint.read_metrics(folder)[2:]
    shown = accumulator.EventAccumulator(str(folder / EVENTS)).Reload()
    drawn = {event.step: event.value for event in shown.Scalars("total")}
    assert list(drawn) == [1, 2, 3]
    assert [drawn[line["epoch"]] for line in lines] == pytest.approx([line["total"] for line in lines])
    assert shown.Scalars("evaluation/mean/mAP")[-1].value == pytest.approx(
        lines[-1]["evaluation"]["mean"]["mAP"]
    )


def test_event_files_are_left_out_or_demanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(tmp_path, "off").tell({"epoch": 1, "total": 1.0})
    monkeypatch.setattr(journal, "find_spec", lambda _name: None)
    Journal(tmp_path, "auto").tell({"epoch": 2, "total": 1.0})
    assert not (tmp_path / EVENTS).exists()
    with pytest.raises(
        TrainingError, match="tensorboard is 'on' and not installed; run: pip install tensorboard"
    ):
        Journal(tmp_path, "on")


def test_labels_replace_those_of_the_last_epoch(tmp_path: Path) -> None:
    book = Journal(tmp_path, "off")
    for labels in ([0, 1, 1], [1, 1, -1]):
        book.keep(PseudoLabels(np.array(labels), np.ones(3, np.float32), np.array(labels) < 0, {"eps": 0.6}))
    assert pseudo.load(tmp_path / LABELS).labels.tolist() == [1, 1, -1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LABELS]


def test_tensorboard_is_imported_only_to_draw() -> None:
    loaded = "import sys, training.run; assert not [m for m in sys.modules if m.startswith('tensorboard')]"
    subprocess.run([sys.executable, "-c", loaded], cwd=Path(run.__file__).parents[1], check=True)
