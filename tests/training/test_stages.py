"""Runs of two stages: what is handed over, stops in either, labels that are no longer the same; source sets."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from training import checkpoint, models, stages
from training.command import app
from training.first_stage import recipe_sha256
from training.labels import pseudo
from training.loop import Loop
from training.method_settings import OtlaSettings, SpclSettings
from training.order import Order, Source
from training.settings import RunSettings
from training.stages import PLAN, TAKEN
from vireid.datasets import open_dataset
from vireid.errors import SettingsError, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST = """
epochs = 2
iterations = 2
threads = 1
[model]
name = "one-stream-resnet18"
width = 0.125
height = 64
columns = 32
pooling = "average"
[data]
persons = 3
images = 2
[schedule]
warmup_epochs = 0
[method]
name = "spcl"
k1 = 6
k2 = 2
min_samples = 2
"""


@pytest.fixture
def wanted(tiny: RunSettings, tmp_path: Path) -> RunSettings:
    """An unsupervised recipe, and that of its first stage beside it."""
    (tmp_path / "first.toml").write_text(FIRST)
    return tiny.model_copy(
        update={
            "epochs": 2,
            "iterations": 2,
            "model": tiny.model.model_copy(update={"name": "one-stream-resnet18", "pooling": "average"}),
            "data": tiny.data.model_copy(update={"persons": 2}),
            "method": OtlaSettings(setting="unsupervised"),
            "stage1": {"recipe": str(tmp_path / "first.toml"), "method": {"reliability": False}},
        }
    )


def left(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / checkpoint.FILE, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def same(one: Path, other: Path) -> bool:
    a, b = left(one), left(other)
    return a.keys() == b.keys() and all(
        torch.equal(a[name].nan_to_num(-7), b[name].nan_to_num(-7)) for name in a
    )


def train(folder: Path, order: Order) -> list[str]:
    banners = []
    for stage in stages.start(folder, order):
        banners.append(stage.banner)
        stage.started.loop.train()
    return banners


def go_on(folder: Path, data: Path | None = None) -> list[str]:
    banners = []
    for stage in stages.resume(folder, data, "cpu"):
        banners.append(stage.banner)
        stage.started.loop.train()
    return banners


def order(blocks: Path, wanted: RunSettings, **more: Any) -> Order:
    return Order(wanted, blocks, device="cpu", **more)


@pytest.fixture
def whole(blocks: Path, wanted: RunSettings, tmp_path: Path) -> Path:
    """A run of both stages that was never stopped."""
    banners = train(tmp_path / "whole", order(blocks, wanted))
    assert banners[0] == "stage 1 of 2: spcl labels the visible images"
    assert banners[1].startswith("stage 2 of 2: otla with ")
    return tmp_path / "whole"


def test_the_second_stage_learns_from_what_the_first_was_sure_of(blocks: Path, whole: Path) -> None:
    made, taken = pseudo.load(whole / "stage1" / "labels.npz"), pseudo.load(whole / TAKEN)
    kinds = open_dataset("sysu-mm01", blocks).train.modalities
    sure = (kinds == 0) & ~made.outlier
    assert (taken.labels[~sure] == -1).all()
    named = taken.labels[sure]
    assert sorted(set(named.tolist())) == list(range(taken.classes))
    pairs = set(zip(made.labels[sure].tolist(), named.tolist(), strict=True))
    assert len(pairs) == taken.classes == len(set(made.labels[sure].tolist()))
    told = checkpoint.load_origin(whole)["stage1"]
    assert told["labels_sha256"] == taken.sha256
    assert (told["classes"], told["images"], told["method"]) == (taken.classes, int(sure.sum()), "spcl")
    # seeds of a recipe, and what changes no label, share its name; another recipe has another
    ended = checkpoint.load_settings(whole / "stage1")
    assert told["recipe_sha256"] == recipe_sha256(ended.model_copy(update={"seed": 9, "threads": 7}))
    assert told["recipe_sha256"] != recipe_sha256(ended.model_copy(update={"iterations": 77}))
    assert left(whole)["weights.classifier.weight"].shape[0] == taken.classes
    # visible images keep these labels in the second stage
    second = pseudo.load(whole / "labels.npz")
    assert (second.labels[sure] == named).all()


def test_both_stages_start_from_the_same_weights(blocks: Path, wanted: RunSettings, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    donor = models.build(wanted.model).state_dict()
    own = {
        key.partition(".")[2]: value for key, value in donor.items() if key.startswith(("trunk.", "stem."))
    }
    save_file({key: value.contiguous() for key, value in own.items()}, tmp_path / "start.safetensors")
    still = {"optimiser": wanted.optimiser.model_copy(update={"rate": 1e-12})}
    slow = wanted.model_copy(update={**still, "stage1": {**wanted.stage1, "optimiser": {"rate": 1e-12}}})
    train(tmp_path / "run", order(blocks, slow, weights=tmp_path / "start.safetensors"))
    for folder in (tmp_path / "run" / "stage1", tmp_path / "run"):
        found = checkpoint.load_model(folder).state_dict()
        assert torch.allclose(found["stem.conv1.weight"], own["conv1.weight"], atol=1e-6)
        assert checkpoint.provenance(folder)["start"].startswith("start.safetensors sha256:")


@pytest.mark.parametrize(("stage", "until"), [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_a_stop_in_either_stage_changes_nothing(
    blocks: Path, wanted: RunSettings, whole: Path, tmp_path: Path, stage: int, until: int
) -> None:
    folder = tmp_path / "parts"
    for number, each in enumerate(stages.start(folder, order(blocks, wanted)), start=1):
        if number == stage:
            if until:
                each.started.loop.train(until=until)
            break
        each.started.loop.train()
    torch.manual_seed(99)
    banners = go_on(folder)
    assert len(banners) == (2 if stage == 1 else 1)
    assert same(whole / "stage1", folder / "stage1")
    assert same(whole, folder)


@pytest.mark.parametrize(("stage", "until"), [(1, 0), (2, 0), (2, 1)])
def test_torchrun_goes_on_in_either_stage_with_the_same_command(
    blocks: Path,
    wanted: RunSettings,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: int,
    until: int,
) -> None:
    folder = tmp_path / "parts"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a launch")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    for number, each in enumerate(stages.start(folder, order(blocks, wanted)), start=1):
        if number == stage:
            if until:
                each.started.loop.train(until=until)
            break
        each.started.loop.train()
    for restart in ("1", "2"):
        # the second finds all done
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restart)
        train(folder, order(blocks, wanted))
        assert same(whole / "stage1", folder / "stage1")
        assert same(whole, folder)


def test_a_stop_between_the_stages_changes_nothing(
    blocks: Path, wanted: RunSettings, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    first = next(iter(stages.start(folder, order(blocks, wanted))))
    first.started.loop.train()
    assert len(go_on(folder)) == 1
    assert same(whole, folder)


def test_a_finished_first_stage_serves_again(
    blocks: Path, wanted: RunSettings, whole: Path, tmp_path: Path
) -> None:
    none = wanted.model_copy(update={"stage1": {}})
    (banner,) = train(tmp_path / "again", order(blocks, none, stage1=whole / "stage1"))
    assert banner.startswith("stage 2 of 2")
    assert {name: value for name, value in left(whole).items() if name.startswith("weights.")}.keys()
    assert same(whole, tmp_path / "again")
    # it holds the labels itself: the first stage may go
    shutil.rmtree(whole)
    (tmp_path / "again" / checkpoint.METRICS).unlink()
    for stage in stages.resume(tmp_path / "again", None, "cpu"):
        assert stage.started.loop.epoch == wanted.epochs


def test_labels_that_changed_are_noticed(blocks: Path, wanted: RunSettings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for number, stage in enumerate(stages.start(folder, order(blocks, wanted)), start=1):
        stage.started.loop.train(until=1 if number == 2 else None)
    taken = pseudo.load(folder / TAKEN)
    other = np.where(taken.labels == 0, 1, taken.labels)
    pseudo.save(folder / TAKEN, pseudo.PseudoLabels(other, taken.confidence, taken.outlier, taken.made))
    with pytest.raises(TrainingError, match="it was changed, or comes from another run"):
        go_on(folder)
    (folder / TAKEN).unlink()
    with pytest.raises(TrainingError, match="is missing"):
        go_on(folder)


def test_first_stages_that_do_not_serve(blocks: Path, wanted: RunSettings, tmp_path: Path) -> None:
    none = wanted.model_copy(update={"stage1": {}})
    unfinished = tmp_path / "unfinished"
    first = next(iter(stages.start(unfinished, order(blocks, wanted))))
    first.started.loop.train(until=1)
    with pytest.raises(TrainingError, match="is not finished; go on with it first: vireid train resume"):
        train(tmp_path / "new", order(blocks, none, stage1=unfinished / "stage1"))
    assert not (tmp_path / "new").exists()
    first.started.loop.train()
    others = tmp_path / "others"
    shutil.copytree(blocks, others)
    next((others / "cam1" / "0001").iterdir()).rename(others / "cam1" / "0001" / "0009.jpg")
    with pytest.raises(TrainingError, match="or the images are not the same"):
        train(tmp_path / "new", order(others, none, stage1=unfinished / "stage1"))
    knowing = wanted.model_copy(update={"stage1": {"recipe": "synthetic-supervised"}})
    with pytest.raises(
        SettingsError, match="supervised, which is told the persons of visible and infrared images"
    ):
        train(tmp_path / "new", order(blocks, knowing))
    many = wanted.model_copy(update={"stage1": {**wanted.stage1, "data": {"persons": "many"}}})
    with pytest.raises(SettingsError, match=r"under \[stage1\]: data\.persons: found 'many'"):
        train(tmp_path / "new", order(blocks, many))
    assert not (tmp_path / "new").exists()


def test_a_first_stage_fits_the_setting(blocks: Path, wanted: RunSettings, tmp_path: Path) -> None:
    none = wanted.model_copy(update={"stage1": {}})
    known = wanted.model_copy(update={"method": OtlaSettings()})
    source = Source("sysu-mm01", blocks)
    for asked, said in (
        (order(blocks, none), r"stage1\.recipe=NAME, or a finished run, --stage1 RUN"),
        (order(blocks, known), "the method's setting knows its labels"),
        (
            order(blocks, none.model_copy(update={"method": OtlaSettings()}), stage1=tmp_path),
            "the method's setting",
        ),
        (order(blocks, none, stage1=tmp_path, source=source), "names one that is finished"),
    ):
        with pytest.raises(SettingsError, match=said):
            train(tmp_path / "new", asked)
    with pytest.raises(TrainingError, match="supervised learns from no source set"):
        train(tmp_path / "new", order(blocks, RunSettings(model=wanted.model), source=source))
    with pytest.raises(SettingsError, match="expected NAME=DIR"):
        Source.of("market1501")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(TrainingError, match="holds something already"):
        train(tmp_path / "full", order(blocks, wanted))


def test_damaged_plans_are_named(blocks: Path, wanted: RunSettings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    next(iter(stages.start(folder, order(blocks, wanted))))
    (folder / PLAN).write_text("{}")
    with pytest.raises(TrainingError, match=r"stages\.json is damaged"):
        go_on(folder)


def test_a_run_with_a_source_set_goes_on_with_it(blocks: Path, wanted: RunSettings, tmp_path: Path) -> None:
    clusters = SpclSettings(k1=6, k2=2, min_samples=2, reliability=False)
    alone = wanted.model_copy(update={"method": clusters, "stage1": {}})
    source = tmp_path / "others"
    shutil.copytree(blocks, source)
    for folder in ("whole", "parts"):
        asked = order(blocks, alone, source=Source("sysu-mm01", source))
        for stage in stages.start(tmp_path / folder, asked):
            stage.started.loop.train(until=1 if folder == "parts" else None)
    assert go_on(tmp_path / "parts") == [""]
    assert same(tmp_path / "whole", tmp_path / "parts")
    told = checkpoint.provenance(tmp_path / "whole")
    counts = {"name": "sysu-mm01", "images": 40, "persons": 5}
    assert {name: told["source"][name] for name in counts} == counts
    assert str(tmp_path) not in json.dumps(told)
    image = next((source / "cam1" / "0001").iterdir())
    image.unlink()
    with pytest.raises(TrainingError, match="has 39 images, the run began with 40"):
        go_on(tmp_path / "parts")


@pytest.mark.parametrize("change", ["another name", "another person"])
def test_as_many_other_images_are_no_longer_the_same_source(
    blocks: Path, wanted: RunSettings, tmp_path: Path, change: str
) -> None:
    clusters = SpclSettings(k1=6, k2=2, min_samples=2, reliability=False)
    source = tmp_path / "others"
    shutil.copytree(blocks, source)
    alone = wanted.model_copy(update={"method": clusters, "stage1": {}})
    asked = order(blocks, alone, source=Source("sysu-mm01", source))
    for stage in stages.start(tmp_path / "run", asked):
        stage.started.loop.train(until=1)
    if change == "another name":
        next((source / "cam1" / "0001").iterdir()).rename(source / "cam1" / "0001" / "0009.jpg")
    else:
        image = next((source / "cam1" / "0001").iterdir())
        image.rename(source / "cam1" / "0002" / "0009.jpg")
    with pytest.raises(
        TrainingError, match="or they are others, or of other persons; resume with the same set"
    ):
        go_on(tmp_path / "run")


def test_the_command_runs_both_stages_and_goes_on(
    blocks: Path, wanted: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["otla", "--data", str(blocks), "--recipe", "synthetic-otla-usvi", "--out", str(tmp_path / "run")]
    changes = [
        f"stage1.recipe={tmp_path / 'first.toml'}",
        "stage1.method.reliability=false",
        "epochs=2",
        "iterations=2",
    ]
    changes += ["model.width=0.125", "model.height=64", "model.columns=32", "data.persons=2", "data.images=2"]
    words += ["--device", "cpu", *(word for change in changes for word in ("--set", change))]
    whole = Loop.train

    def interrupted(self: Loop, until: int | None = None) -> None:
        whole(self, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "train", interrupted)
    stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 130
    assert "stage 1 of 2: spcl labels the visible images" in stopped.output
    assert stopped.output.rstrip().endswith(f"vireid train resume {tmp_path / 'run'}")
    monkeypatch.undo()
    done = CliRunner().invoke(
        app, ["resume", str(tmp_path / "run"), "--device", "cpu"], catch_exceptions=False
    )
    assert done.exit_code == 0
    shown = done.stdout.splitlines()
    assert shown[0].startswith("stage 1 of 2")
    assert shown[1].startswith("stage 2 of 2: otla with ")
    assert shown[2] == f"run       {tmp_path / 'run'}"
