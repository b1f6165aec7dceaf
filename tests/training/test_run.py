"""Runs: stopping and going on, what stops them, what is refused."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from training import checkpoint, models, run
from training.data.loaders import Batch
from training.features import Look
from training.method import Epoch, Known
from training.method_settings import SETTINGS, SupervisedSettings
from training.methods import METHODS, Entry
from training.methods.supervised import Supervised
from training.models.two_stream import TwoStream
from training.settings import RunSettings, ScheduleSettings, read
from vireid.errors import DatasetError, TrainingError
from vireid.settings import parse_assignments
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

VIREID = str(Path(sys.executable).parent / "vireid")


def equal(one: Path, other: Path) -> bool:
    a, b = (checkpoint.load_model(folder).state_dict() for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def lines(folder: Path) -> list[dict[str, object]]:
    return [
        {name: value for name, value in told.items() if name not in checkpoint.TIMES}
        for told in checkpoint.read_metrics(folder)
    ]


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_resuming_equals_never_having_stopped(
    blocks: Path, tmp_path: Path, tiny: RunSettings, optimiser: str
) -> None:
    wanted = tiny.model_copy(
        update={
            "optimiser": tiny.optimiser.model_copy(update={"name": optimiser}),
            "evaluate_first": True,
            "evaluate_every": 2,
        }
    )
    run.start(tmp_path / "whole", wanted, blocks, None, "cpu").loop.train()
    run.start(tmp_path / "parts", wanted, blocks, None, "cpu").loop.train(until=1)
    # another run in between changes every global random state
    other = wanted.model_copy(update={"seed": 99})
    run.start(tmp_path / "other", other, blocks, None, "cpu").loop.train(until=1)
    resumed = run.resume(tmp_path / "parts", device="cpu")
    assert resumed.loop.epoch == 1
    resumed.loop.train()
    assert equal(tmp_path / "whole", tmp_path / "parts")
    assert not equal(tmp_path / "whole", tmp_path / "other")
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    told = lines(tmp_path / "whole")
    assert [line["epoch"] for line in told] == [0, 1, 2, 3]
    assert ["evaluation" in line for line in told] == [True, False, True, True]


class RestlessSettings(SupervisedSettings):
    name: Literal["restless"] = "restless"  # type: ignore[assignment]


class Restless:
    """A method with everything a stop could lose: chance from all three sources, a memory, a counter, embeddings."""

    def __init__(self, network: TwoStream, known: Known, wanted: SupervisedSettings) -> None:
        self._inner = Supervised(network, known, wanted)
        self._memory = nn.Module()
        self._memory.register_buffer("rows", torch.zeros(len(known.persons), network.dim))
        self._memory.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.modules = nn.ModuleDict({**self._inner.modules, "memory": self._memory})
        self.network = network

    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        self._memory.rows += torch.from_numpy(look.embeddings())
        return self._inner.begin_epoch(epoch, look)

    def step(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        losses = dict(self._inner.step(batch))
        chance = random.random() + float(np.random.rand()) + torch.rand(())  # noqa: NPY002 - the global one
        remembered = self._memory.rows[batch.index].square().sum() + self._memory.steps
        losses["total"] = losses["total"] * (1 + chance + 1e-3 * remembered)
        return losses

    def after_step(self, batch: Batch) -> None:
        self._memory.steps += 1


def test_a_method_with_chance_and_a_memory_resumes_too(
    blocks: Path, tmp_path: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "restless", Entry(Restless, lambda _wanted: frozenset(Modality)))
    monkeypatch.setitem(SETTINGS, "restless", RestlessSettings)
    wanted = tiny.model_copy(update={"method": RestlessSettings()})
    whole = run.start(tmp_path / "whole", wanted, blocks, None, "cpu")
    whole.loop.train()
    run.start(tmp_path / "parts", wanted, blocks, None, "cpu").loop.train(until=1)
    run.resume(tmp_path / "parts", device="cpu").loop.train()
    assert equal(tmp_path / "whole", tmp_path / "parts")
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    with safe_open(tmp_path / "parts" / checkpoint.FILE, framework="pt") as file:
        assert int(file.get_tensor("weights.memory.steps")) == wanted.epochs * wanted.iterations


def test_a_killed_run_goes_on_as_if_it_had_not_been(blocks: Path, tmp_path: Path, tiny: RunSettings) -> None:
    """The real thing: another process, SIGKILL somewhere in the second epoch, resume from the command line."""
    wanted = tiny.model_copy(update={"iterations": 12})
    run.start(tmp_path / "whole", wanted, blocks, None, "cpu").loop.train()
    folder = tmp_path / "killed"
    changed = [
        f"epochs={wanted.epochs}",
        "iterations=12",
        "tensorboard=off",
        f"seed={wanted.seed}",
        "evaluate_first=false",
    ]
    changed += ["model.width=0.125", "model.height=64", "model.columns=32"]
    changed += [
        "data.persons=3",
        "data.images=2",
        "data.pad=2",
        "optimiser.rate=1e-3",
        "schedule.warmup_epochs=1",
    ]
    words = [VIREID, "train", "supervised", "--data", str(blocks), "--recipe", "synthetic-supervised"]
    words += ["--out", str(folder), "--device", "cpu"]
    words += [word for change in changed for word in ("--set", change)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # noqa: TID251 - passed on, not read
    process = subprocess.Popen(words, env=alone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not (folder / checkpoint.FILE).is_file():
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert checkpoint.load_settings(folder) == wanted
    resumed = run.resume(folder, device="cpu")
    assert 1 <= resumed.loop.epoch < wanted.epochs
    resumed.loop.train()
    assert equal(tmp_path / "whole", folder)
    assert lines(tmp_path / "whole") == lines(folder)


def test_metrics_of_an_epoch_whose_checkpoint_was_not_written_are_made_again(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    folder = tmp_path / "run"
    run.start(folder, tiny, blocks, None, "cpu").loop.train(until=1)
    with (folder / checkpoint.METRICS).open("a") as file:
        file.write('{"epoch": 2, "total": 0.0}\n{"epoch": 3, "tot')
    run.resume(folder, device="cpu").loop.train()
    told = checkpoint.read_metrics(folder)
    assert [line["epoch"] for line in told] == [1, 2, 3]
    assert told[1]["total"] > 0
    (folder / checkpoint.METRICS).write_text('{"epoch": 1\n{"epoch": 2}\n')
    with pytest.raises(TrainingError, match=r"metrics\.jsonl is damaged"):
        checkpoint.metrics(folder)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    folder = tmp_path / "run"
    run.start(folder, tiny, blocks, None, "cpu").loop.train(until=1)
    before = (folder / checkpoint.FILE).read_bytes()
    wild = tiny.model_copy(
        update={"optimiser": tiny.optimiser.model_copy(update={"rate": 1e30, "clip_norm": 0.0})}
    )
    (folder / checkpoint.RECIPE).write_text(wild.model_dump_json())
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*1 whole epochs.*start another") as said:
        run.resume(folder, device="cpu").loop.train()
    # the advice is a word that a new run takes
    advice = said.value.message.rpartition("--set ")[2]
    assert read("synthetic-supervised", parse_assignments([advice])).optimiser.rate == pytest.approx(1e29)
    assert (folder / checkpoint.FILE).read_bytes() == before
    saved = json.loads((folder / "not-finite.json").read_text())
    assert len(saved["index"]) == 2 * tiny.data.persons * tiny.data.images


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        (
            {"name": "step", "warmup_epochs": 1, "at": (2,), "factor": 0.1},
            [0.1, 0.4, 0.7, 1, 1, 1, 0.1, 0.1, 0.1],
        ),
        (
            {"name": "cosine", "warmup_epochs": 1},
            [0.1, 0.4, 0.7, *((1 + math.cos(math.pi * third / 6)) / 2 for third in range(6))],
        ),
    ],
)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_every_step_is_made_at_the_rate_of_the_schedule(
    blocks: Path,
    tmp_path: Path,
    tiny: RunSettings,
    optimiser: str,
    shape: dict[str, Any],
    shares: list[float],
) -> None:
    """Read from the optimiser as it steps; a run that was stopped goes on where the schedule was."""
    wanted = tiny.model_copy(
        update={
            "optimiser": tiny.optimiser.model_copy(update={"name": optimiser}),
            "schedule": ScheduleSettings.model_validate(shape),
        }
    )
    rates: list[list[float]] = []
    hook = register_optimizer_step_pre_hook(
        lambda stepping, _, __: rates.append([group["lr"] for group in stepping.param_groups])
    )
    try:
        run.start(tmp_path / "run", wanted, blocks, None, "cpu").loop.train(until=2)
        run.resume(tmp_path / "run", device="cpu").loop.train()
    finally:
        hook.remove()
    assert [set(groups) for groups in rates] == [{rate} for rate in (groups[0] for groups in rates)]
    assert [groups[0] for groups in rates] == pytest.approx([1e-3 * share for share in shares])


def test_a_step_is_no_longer_than_its_clipped_gradient_allows(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    def moved(name: str, rate: float, clip: float) -> dict[str, torch.Tensor]:
        plain = {"name": "sgd", "rate": rate, "clip_norm": clip, "weight_decay": 0.0}
        wanted = tiny.model_copy(
            update={
                "epochs": 1,
                "iterations": 1,
                "optimiser": tiny.optimiser.model_copy(update=plain),
                "schedule": tiny.schedule.model_copy(update={"warmup_epochs": 0}),
            }
        )
        run.start(tmp_path / name, wanted, blocks, None, "cpu").loop.train()
        return dict(checkpoint.load_model(tmp_path / name).named_parameters())

    still, free, held = moved("still", 1e-30, 0.0), moved("free", 1e-2, 0.0), moved("held", 1e-2, 1e-3)

    def length(one: dict[str, torch.Tensor]) -> float:
        return float(sum((one[name] - still[name]).detach().double().square().sum() for name in one) ** 0.5)

    # Nesterov's first step is 1.9 gradients
    assert 0 < length(held) <= 1.9 * 1e-2 * 1e-3 * 1.01
    assert length(free) > 100 * length(held)


def test_half_precision_trains_too(blocks: Path, tmp_path: Path, tiny: RunSettings) -> None:
    wanted = tiny.model_copy(update={"amp": True, "epochs": 1})
    run.start(tmp_path / "run", wanted, blocks, None, "cpu").loop.train()
    full = tiny.model_copy(update={"epochs": 1})
    run.start(tmp_path / "full", full, blocks, None, "cpu").loop.train()
    half, whole = (checkpoint.read_metrics(tmp_path / name)[0]["total"] for name in ("run", "full"))
    assert half != whole
    assert half == pytest.approx(whole, rel=0.05)
    assert all(
        value.dtype != torch.bfloat16
        for value in checkpoint.load_model(tmp_path / "run").state_dict().values()
    )


def test_runs_that_cannot_start(blocks: Path, tmp_path: Path, tiny: RunSettings) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(TrainingError, match="holds something already"):
        run.start(tmp_path / "full", tiny, blocks, None, "cpu")
    dark = tmp_path / "dark"
    shutil.copytree(blocks, dark)
    for camera in (3, 6):
        shutil.rmtree(dark / f"cam{camera}")
        (dark / f"cam{camera}").mkdir()
    with pytest.raises(TrainingError, match="and 0 infrared training images"):
        run.start(tmp_path / "new", tiny, dark, None, "cpu")
    with pytest.raises(DatasetError):
        run.start(tmp_path / "new", tiny, tmp_path / "nowhere", "sysu-mm01", "cpu")
    odd = tiny.model_copy(update={"method": tiny.method.model_copy(update={"name": "magic"})})
    with pytest.raises(TrainingError, match="there is no method 'magic'; known are supervised"):
        run.start(tmp_path / "new", odd, blocks, None, "cpu")
    with pytest.raises(TrainingError, match="device is auto, cpu or cuda, not 'tpu'"):
        run.start(tmp_path / "new", tiny, blocks, None, "tpu")
    # what could not start left nothing behind that would refuse the next try
    assert not (tmp_path / "new").exists()
    many = tiny.model_copy(update={"data": tiny.data.model_copy(update={"persons": 20})})
    with pytest.raises(TrainingError, match="a batch needs 20"):
        run.start(tmp_path / "new2", many, blocks, None, "cpu").loop.train()


def test_runs_that_cannot_go_on(blocks: Path, tmp_path: Path, tiny: RunSettings) -> None:
    with pytest.raises(TrainingError, match="no training run"):
        run.resume(tmp_path)
    folder = tmp_path / "run"
    started = run.start(folder, tiny, blocks, None, "cpu")
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        run.resume(folder, device="cpu")
    started.loop.train(until=1)
    fewer = tmp_path / "fewer"
    shutil.copytree(blocks, fewer)
    next((fewer / "cam1" / "0001").iterdir()).unlink()
    with pytest.raises(TrainingError, match="resume on the same dataset"):
        run.resume(folder, fewer, "cpu")
    origin = folder / checkpoint.RUN
    for damage, said in (
        ("{", "is damaged"),
        ('{"dataset": "sysu-mm01"}', "lacks root, train_images"),
        ("[]", "lacks"),
    ):
        origin.write_text(damage)
        with pytest.raises(TrainingError, match=said):
            run.resume(folder, device="cpu")
    origin.unlink()
    with pytest.raises(TrainingError, match=r"holds no run\.json"):
        run.resume(folder, device="cpu")


def test_standard_weights_are_where_a_run_begins(blocks: Path, tmp_path: Path, tiny: RunSettings) -> None:
    torch.manual_seed(3)
    donor = models.build(tiny.model)
    own = {
        key.partition(".")[2]: value
        for key, value in donor.state_dict().items()
        if key.startswith(("trunk.", "visible_stem."))
    }
    save_file({key: value.contiguous() for key, value in own.items()}, tmp_path / "resnet.safetensors")
    folder = tmp_path / "run"
    slow = tiny.model_copy(
        update={"epochs": 1, "iterations": 1, "optimiser": tiny.optimiser.model_copy(update={"rate": 1e-12})}
    )
    run.start(folder, slow, blocks, None, "cpu", tmp_path / "resnet.safetensors").loop.train()
    found = checkpoint.load_model(folder).state_dict()
    for part in ("visible_stem", "infrared_stem"):
        assert torch.allclose(found[f"{part}.conv1.weight"], own["conv1.weight"], atol=1e-6)
    assert torch.allclose(found["trunk.layer3.0.conv2.weight"], own["layer3.0.conv2.weight"], atol=1e-6)
    assert checkpoint.provenance(folder)["start"].startswith("resnet.safetensors sha256:")
    wide = tiny.model_copy(update={"model": tiny.model.model_copy(update={"width": 0.25})})
    with pytest.raises(TrainingError, match="expects"):
        run.start(tmp_path / "wide", wide, blocks, None, "cpu", tmp_path / "resnet.safetensors")
    assert not (tmp_path / "wide").exists()


@pytest.mark.parametrize(
    ("name", "phase", "plain"),
    [("mult", "dcl_epochs", {"transfer": "off"}), ("miot", "warmup_epochs", {"matching": {"way": "off"}})],
)
def test_a_run_no_longer_than_its_first_phase_says_so(
    blocks: Path,
    tmp_path: Path,
    tiny: RunSettings,
    caplog: pytest.LogCaptureFixture,
    name: str,
    phase: str,
    plain: dict[str, Any],
) -> None:
    def begun(folder: str, **method: Any) -> str:
        caplog.clear()
        wanted = SETTINGS[name].model_validate({"name": name, **method})
        changes = {"method": wanted, "epochs": 3, "data": tiny.data.model_copy(update={"views": 2})}
        run.start(tmp_path / folder, tiny.model_copy(update=changes), blocks, None, "cpu")
        return caplog.text

    assert f"all 3 epochs are {name}'s first phase of 3, which is DCL" in begun("short", **{phase: 3})
    assert begun("long", **{phase: 2}) == ""
    assert begun("on-purpose", **{phase: 3}, **plain) == ""
