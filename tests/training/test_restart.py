"""torchrun that begins its processes again: the same command goes on with its run, and with nobody else's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training import checkpoint, restart, run, stages
from training.order import Order
from training.settings import RunSettings
from vireid.errors import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

WORKER = """
import os
import signal
import sys
from training.command import app
from training.loop import Loop

whole, steps = Loop.step, []

def dying(self, batch, **more):
    steps.append(batch)
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if sys.argv[1] == os.environ["RANK"] and first and len(steps) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, batch, **more)

Loop.step = dying
app(sys.argv[2:])
"""


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As torchrun begins a process for the first time; the caller changes what it is told later."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a launch")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    return monkeypatch


def train(folder: Path, blocks: Path, wanted: RunSettings, until: int | None = None) -> int:
    """Train as the command does; return how many epochs were there already."""
    (stage,) = stages.start(folder, Order(wanted, blocks, device="cpu"))
    there = stage.started.loop.epoch
    stage.started.loop.train(until=until)
    return there


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_model(folder).state_dict()


def test_the_same_command_goes_on_when_it_is_begun_again(
    blocks: Path, tmp_path: Path, tiny: RunSettings, launched: pytest.MonkeyPatch
) -> None:
    assert train(tmp_path / "whole", blocks, tiny) == 0
    assert train(tmp_path / "parts", blocks, tiny, until=1) == 0
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train(tmp_path / "parts", blocks, tiny) == 1
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)
    # and once more, when all is done
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert train(tmp_path / "parts", blocks, tiny) == tiny.epochs


def test_a_first_epoch_that_did_not_end_is_made_again(
    blocks: Path, tmp_path: Path, tiny: RunSettings, launched: pytest.MonkeyPatch
) -> None:
    next(iter(stages.start(tmp_path / "run", Order(tiny, blocks, device="cpu"))))
    assert (tmp_path / "run" / checkpoint.RECIPE).is_file()
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train(tmp_path / "run", blocks, tiny, until=1) == 0
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert train(tmp_path / "run", blocks, tiny, until=2) == 1


@pytest.mark.parametrize("whose", ["nobody's", "another launch's", "the first time", "without torchrun"])
def test_what_the_launch_did_not_begin_is_refused(
    blocks: Path, tmp_path: Path, tiny: RunSettings, launched: pytest.MonkeyPatch, whose: str
) -> None:
    if whose == "nobody's":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.tex").write_text("years of work")
    else:
        train(tmp_path / "run", blocks, tiny, until=1)
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "0" if whose == "the first time" else "1")
    if whose == "another launch's":
        launched.setenv("TORCHELASTIC_RUN_ID", "another")
    if whose == "without torchrun":
        launched.delenv("TORCHELASTIC_RUN_ID")
    before = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises(TrainingError, match="holds something already"):
        train(tmp_path / "run", blocks, tiny)
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_a_launch_without_a_name_is_known_by_who_watches_over_it(
    tmp_path: Path, launched: pytest.MonkeyPatch
) -> None:
    launched.setenv("TORCHELASTIC_RUN_ID", "none")
    restart.claim(tmp_path)
    assert not restart.own(tmp_path)
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert restart.own(tmp_path)
    launched.setattr(os, "getppid", lambda: -1)
    assert not restart.own(tmp_path)
    (tmp_path / restart.MARK).write_text("{")
    assert not restart.own(tmp_path)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_an_epoch_changes_nothing(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    """kill -9 of one of two processes; torchrun begins both again."""
    wanted = {
        "epochs": 3, "iterations": 2, "threads": 1, "tensorboard": "off",
        "model": {**tiny.model.model_dump(), "name": "one-stream-resnet18", "pooling": "average"},
        "data": {"persons": 4, "images": 2, "pad": 2},
        "method": {"name": "spcl", "k1": 6, "k2": 2, "min_samples": 2, "reliability": False},
    }  # fmt: skip
    assert RunSettings.model_validate(wanted)
    lines = [
        f"{key} = {value!r}".replace("'", '"') for key, value in wanted.items() if not isinstance(value, dict)
    ]
    for table, values in wanted.items():
        if isinstance(values, dict):
            lines.append(f"[{table}]")
            lines += [
                f"{key} = {value!r}".replace("'", '"').replace("False", "false")
                for key, value in values.items()
            ]
    (tmp_path / "recipe.toml").write_text("\n".join(lines))
    (tmp_path / "worker.py").write_text(WORKER)
    for name, victim in (("whole", "nobody"), ("killed", "1")):
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        words += ["--max-restarts", "1", str(tmp_path / "worker.py"), victim]
        words += ["spcl", "--data", str(blocks), "--recipe", str(tmp_path / "recipe.toml"), "--device", "cpu"]
        words += ["--out", str(tmp_path / name), "--no-report"]
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(run.__file__).parents[1])}  # noqa: TID251
        done = subprocess.run(words, env=alone, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        assert ("exitcode: -9" in done.stderr) is (name == "killed"), done.stderr
    one, other = (load_file(tmp_path / name / checkpoint.FILE) for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name].nan_to_num(-7), other[name].nan_to_num(-7)) for name in one)
    assert [line["epoch"] for line in checkpoint.read_metrics(tmp_path / "killed")] == [1, 2, 3]
