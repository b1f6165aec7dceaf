"""``vireid train`` from the outside."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from training import checkpoint, command, materials, report, run
from training.command import app
from training.loop import Loop
from training.method_settings import SETTINGS
from training.settings import DataSettings, RunSettings, read, recipes
from vireid.errors import DatasetError, EvaluationError, SettingsError, TrainingError

SMALL = [
    "epochs=2", "iterations=2", "model.width=0.125", "model.height=64", "model.columns=32",
    "data.persons=3", "data.images=2", "schedule.warmup_epochs=1", "tensorboard=off",
]  # fmt: skip


def words(data: Path, out: Path, *more: str) -> list[str]:
    given = ["supervised", "--data", str(data), "--recipe", "synthetic-supervised", "--out", str(out)]
    given += ["--device", "cpu", "--no-report"]
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


def test_a_run_ends_with_its_report_unless_told_otherwise(blocks: Path, tmp_path: Path) -> None:
    given = [word for word in words(blocks, tmp_path / "run") if word != "--no-report"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.stdout.splitlines()[-1] == f"report    {tmp_path / 'run' / 'report.html'}"
    assert "supervised" in (tmp_path / "run" / "report.html").read_text()
    CliRunner().invoke(app, words(blocks, tmp_path / "other"), catch_exceptions=False)
    assert not (tmp_path / "other" / "report.html").exists()


def test_a_report_that_cannot_be_made_takes_nothing_from_the_run(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Path:
        raise EvaluationError("no query has a match")

    monkeypatch.setattr(report, "write", broken)
    given = [word for word in words(blocks, tmp_path / "run") if word != "--no-report"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0
    assert "report    none: no query has a match" in done.stderr
    assert (tmp_path / "run" / checkpoint.FILE).is_file()


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


def test_help_and_recipes_need_no_torch() -> None:
    asked = """
import sys
from typer.testing import CliRunner
from vireid.command import app
for words in (["--help"], ["train", "--help"], ["train", "supervised", "--help"], ["train", "recipes"]):
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    print(done.output)
assert not {"torch", "sklearn", "safetensors"} & sys.modules.keys()
"""
    root = Path(run.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in SETTINGS:
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE), name
    for name in recipes():
        assert re.search(rf"^{name} +\S", done.stdout, re.MULTILINE), name
    assert "label_smoothing: of the identity loss." in done.stdout


def test_the_recipe_is_found_by_the_dataset(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def asked(recipe: str, *_more: object) -> RunSettings:
        taken.append(recipe)
        raise SettingsError("enough")

    monkeypatch.setattr(command, "read", asked)
    for marked, name in ((False, None), (True, None), (False, "regdb")):
        data = tmp_path / f"{marked}-{name}"
        data.symlink_to(blocks)
        if marked:
            data.unlink()
            shutil.copytree(blocks, data)
            (data / "synthetic.json").write_text("{}")
        given = ["supervised", "--data", str(data)] + ([] if name is None else ["--name", name])
        with pytest.raises(SettingsError, match="enough"):
            CliRunner().invoke(app, given, catch_exceptions=False)
    assert taken == ["sysu-mm01-supervised", "synthetic-supervised", "regdb-supervised"]
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(DatasetError, match="no known layout"):
        CliRunner().invoke(app, ["supervised", "--data", str(nothing)], catch_exceptions=False)


def test_data_that_is_not_the_published_set_is_refused_where_the_recipe_demands_it(
    blocks: Path, tmp_path: Path
) -> None:
    given = words(blocks, tmp_path / "run", "data.counts=published")
    with pytest.raises(
        DatasetError, match=r"5 training persons on 60 images.*has 395 on 34167.*data\.counts=any"
    ):
        CliRunner().invoke(app, given, catch_exceptions=False)
    drawn = tmp_path / "drawn"
    shutil.copytree(blocks, drawn)
    (drawn / "synthetic.json").write_text("{}")
    assert len(materials.read(drawn, None, DataSettings(counts="published")).train) == 60
    for name in ("sysu-mm01", "regdb", "llcm"):
        assert read(f"{name}-supervised").data.counts == "published"


def test_a_choice_on_the_test_images_is_shown_as_such(blocks: Path, tmp_path: Path) -> None:
    given = words(blocks, tmp_path / "run", "select=best_on_test", "evaluate_every=1")
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0
    assert "best rank1 so far, kept: chosen on the test images" in done.stdout
