"""``vireid train`` from the outside."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from training import checkpoint
from training.command import app
from training.loop import Loop
from vireid.errors import SettingsError, TrainingError

SMALL = [
    "epochs=2", "iterations=2", "model.width=0.125", "model.height=64", "model.columns=32",
    "data.persons=3", "data.images=2", "schedule.warmup_epochs=1",
]  # fmt: skip


def words(data: Path, out: Path, *more: str) -> list[str]:
    given = ["supervised", "--data", str(data), "--recipe", "synthetic-supervised", "--out", str(out)]
    given += ["--device", "cpu"]
    return given + [word for change in (*SMALL, *more) for word in ("--set", change)]


def test_train_says_where_it_began_and_where_it_ended(blocks: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    done = CliRunner().invoke(app, words(blocks, tmp_path / "run"), catch_exceptions=False)
    assert done.exit_code == 0
    assert torch.get_num_threads() == 1  # as the recipe says
    shown = done.stdout.splitlines()
    assert shown[0] == f"run       {tmp_path / 'run'}"
    before, after = (line for line in shown if line.startswith("epoch"))
    assert before.startswith("epoch 0 ")
    assert after.startswith("epoch 2 ")
    assert f"mAP {checkpoint.metrics(tmp_path / 'run')['mean']['mAP']:.4f}" in after
    assert shown[-1] == f"next      vireid export onnx {tmp_path / 'run'} --out model.bundle.zip"


def test_a_run_has_a_place_of_its_own(blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = words(blocks, tmp_path)
    at = given.index("--out")
    done = CliRunner().invoke(app, given[:at] + given[at + 2 :], catch_exceptions=False)
    assert done.exit_code == 0
    assert (tmp_path / "runs" / "synthetic-supervised" / checkpoint.FILE).is_file()


def test_interrupting_says_how_to_go_on(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Loop.train

    def interrupted(self: Loop, until: int | None = None) -> None:
        train(self, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "train", interrupted)
    stopped = CliRunner().invoke(app, words(blocks, tmp_path / "run"))
    assert stopped.exit_code == 130
    assert "stopped after 1 whole epochs" in stopped.output
    assert f"vireid train resume {tmp_path / 'run'}" in stopped.output
    monkeypatch.undo()
    done = CliRunner().invoke(
        app, ["resume", str(tmp_path / "run"), "--device", "cpu"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert [line["epoch"] for line in checkpoint.read_metrics(tmp_path / "run")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ("method.name=magic", SettingsError, "method.name: found 'magic'; known are .*supervised"),
        ("method.margn=1", SettingsError, r"method\.margin"),
        ("model.name=vgg", TrainingError, "there is no model 'vgg'; known are .*two-stream-resnet18"),
    ],
)
def test_what_is_refused(blocks: Path, tmp_path: Path, more: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        CliRunner().invoke(app, words(blocks, tmp_path / "run", more), catch_exceptions=False)
    assert not (tmp_path / "run").exists()
