"""The loop's own promises: steps of several batches, labels kept, which weights a run ends with, what memory lacked."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from training import checkpoint, methods, models, run
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.journal import LABELS
from training.labels import pseudo
from training.labels.pseudo import PseudoLabels
from training.loop import Loop, Watch
from training.method import Epoch, Known
from training.method_settings import SETTINGS, SupervisedSettings
from training.methods import METHODS, Entry
from training.methods.supervised import Supervised
from training.models.two_stream import TwoStream
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = {"name": "sgd", "rate": 0.1, "clip_norm": 0.0}


def changed(tiny: RunSettings, **values: Any) -> RunSettings:
    return RunSettings.model_validate({**tiny.model_dump(), **values})


# ---- a step of several batches ---------------------------------------------------
def test_accumulated_batches_make_one_step_along_their_mean_gradient(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    """The oracle adds the gradients up by hand."""
    wanted = changed(
        tiny, epochs=1, iterations=1, accumulate=3, optimiser=PLAIN, schedule={"warmup_epochs": 0}
    )
    run.start(tmp_path / "run", wanted, blocks, None, "cpu").loop.train()
    found = checkpoint.load_model(tmp_path / "run").state_dict()
    assert checkpoint.provenance(tmp_path / "run")["progress"] == {"epoch": 1, "step": 1}
    torch.manual_seed(wanted.seed)
    network = models.build(wanted.model)
    train = open_dataset("sysu-mm01", blocks).train
    method = methods.create(network, train, wanted.method)
    method.modules.train()
    images = Images(train, Preprocess(64, 32), 64)
    draw = method.begin_epoch(0, None).draw  # type: ignore[arg-type]
    drawn = sampler(draw, wanted)
    assert len(drawn) == 3
    totals = []
    for batch in loaders.batches(images, drawn, wanted.data, epoch=0, seed=wanted.seed):
        total = method.step(batch)["total"]
        (total / 3).backward()  # type: ignore[no-untyped-call]
        totals.append(float(total.detach()))
    learnt = [each for each in method.modules.parameters() if each.requires_grad]
    decay = wanted.optimiser.weight_decay
    torch.optim.SGD(learnt, lr=0.1, momentum=0.9, nesterov=True, weight_decay=decay).step()
    for name, value in network.state_dict().items():
        assert torch.allclose(found[name], value, atol=1e-5), name
    (told,) = checkpoint.read_metrics(tmp_path / "run")
    assert told["total"] == pytest.approx(np.mean(totals), rel=1e-5)


def test_an_epoch_without_a_number_has_whole_steps(blocks: Path, tiny: RunSettings) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    draw = methods.create(models.build(tiny.model), train, tiny.method).begin_epoch(0, None).draw  # type: ignore[arg-type]
    once = len(train) / (2 * 3 * 2)
    assert len(sampler(draw, changed(tiny, iterations=0))) == round(once)
    assert len(sampler(draw, changed(tiny, iterations=0, accumulate=4))) == 4 * round(once / 4)
    assert len(sampler(draw, changed(tiny, iterations=5, accumulate=4))) == 20


@pytest.mark.parametrize("amp", [False, True])
def test_everything_together_resumes_to_the_bit(
    blocks: Path, tmp_path: Path, tiny: RunSettings, amp: bool
) -> None:
    wanted = changed(
        tiny, amp=amp, accumulate=2, bn_group=4, iterations=2,
        optimiser={"rate": 1e-3, "trunk_share": 0.1}, schedule={"warmup_epochs": 2, "stepped": True},
        data={"persons": 3, "images": 2, "pad": 2, "ahead": 3, "loaders": 2},
    )  # fmt: skip
    run.start(tmp_path / "whole", wanted, blocks, None, "cpu").loop.train()
    run.start(tmp_path / "parts", wanted, blocks, None, "cpu").loop.train(until=1)
    run.resume(tmp_path / "parts", device="cpu").loop.train()
    plain = changed(wanted, bn_group=0)
    run.start(tmp_path / "plain", plain, blocks, None, "cpu").loop.train()
    states = [checkpoint.load_model(tmp_path / name).state_dict() for name in ("whole", "parts", "plain")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    lines = checkpoint.read_metrics(tmp_path / "whole")
    assert [line["rate"] for line in lines] == pytest.approx([5e-4, 1e-3, 1e-3])
    assert all(0 <= line["waited"] <= line["seconds"] for line in lines)


# ---- labels ----------------------------------------------------------------------
class GuessingSettings(SupervisedSettings):
    name: Literal["guessing"] = "guessing"  # type: ignore[assignment]


class Guessing:
    """A method that learns true labels, and says other ones were behind its batches."""

    def __init__(self, network: TwoStream, known: Known, wanted: SupervisedSettings) -> None:
        self._inner = Supervised(network, known, wanted)
        self._known = known
        self.modules, self.network = self._inner.modules, network
        self.after_step = self._inner.after_step

    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        labels = np.unique(self._known.persons, return_inverse=True)[1].astype(np.int64)
        if epoch == 0:
            labels[self._known.modality == 1] = 0
        found = PseudoLabels(labels, np.ones(len(labels), np.float32), labels < 0, {"epoch": epoch})
        return Epoch(self._inner.begin_epoch(epoch, look).draw, found, {"clusters": float(epoch)})

    def step(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        return self._inner.step(batch)


def test_labels_of_an_epoch_are_kept_and_judged(
    blocks: Path, tmp_path: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "guessing", Entry(Guessing, lambda _wanted: frozenset(Modality)))
    monkeypatch.setitem(SETTINGS, "guessing", GuessingSettings)
    folder = tmp_path / "run"
    wanted = changed(tiny, epochs=2, method={"name": "guessing"})
    run.start(folder, wanted, blocks, None, "cpu").loop.train()
    first, second = checkpoint.read_metrics(folder)
    assert (first["clusters"], second["clusters"]) == (0.0, 1.0)
    people = len(set(open_dataset("sysu-mm01", blocks).train.persons.tolist()))
    assert first["labels"]["accuracy"] == pytest.approx(
        {"visible": 1.0, "infrared": 1 / people, "all": (2 + 1 / people) / 3}
    )
    assert second["labels"]["accuracy"] == {"visible": 1.0, "infrared": 1.0, "all": 1.0}
    assert len(first["labels"]["sizes"]["infrared"]) == 1
    assert second["labels"]["sizes"]["infrared"] == [4] * people
    kept = pseudo.load(folder / LABELS, second["labels"]["sha256"])
    assert kept.made == {"epoch": 1}


# ---- which weights ---------------------------------------------------------------
def scored(folder: Path, wanted: RunSettings, data: Path, scores: list[float]) -> Loop:
    """Begin or go on with a run whose evaluations come out as told, one an epoch from the next on."""
    started = (
        run.resume(folder, device="cpu") if folder.exists() else run.start(folder, wanted, data, None, "cpu")
    )
    left = iter(scores)

    def evaluate() -> dict[str, Any]:
        return {
            "mean": {"rank1": next(left), "mAP": 0.5},
            "synthetic": False,
            "protocol": {"words": "made up"},
        }

    started.loop._watch = Watch(evaluate)
    return started.loop


def epochs(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_a_run_ends_with_its_last_epoch_unless_told_to_choose(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    assert tiny.select == "last"
    plain = changed(tiny, evaluate_every=1)
    scored(tmp_path / "last", plain, blocks, [0.9, 0.1, 0.2]).train()
    assert not (tmp_path / "last" / checkpoint.BEST).exists()
    assert checkpoint.chosen(tmp_path / "last").name == checkpoint.FILE
    assert "selected" not in checkpoint.read_metrics(tmp_path / "last")[0]

    folder = tmp_path / "best"
    choosing = changed(plain, select="best_on_test")
    loop = scored(folder, choosing, blocks, [0.3, 0.9])
    loop.train(until=1)
    first = epochs(folder / checkpoint.BEST)
    loop.train(until=2)
    second = epochs(folder / checkpoint.BEST)
    scored(folder, choosing, blocks, [0.4]).train()
    third = epochs(folder / checkpoint.FILE)
    kept = epochs(folder / checkpoint.BEST)
    name = "weights.model.trunk.layer1.0.conv1.weight"
    assert torch.equal(kept[name], second[name])
    assert not torch.equal(kept[name], first[name])
    assert not torch.equal(kept[name], third[name])
    # everything that takes the run's network takes the chosen one, and says how it was chosen
    model = checkpoint.load_model(folder).state_dict()
    assert torch.equal(model["trunk.layer1.0.conv1.weight"], second[name])
    assert checkpoint.metrics(folder)["mean"]["rank1"] == 0.9
    assert checkpoint.provenance(folder)["progress"]["epoch"] == 2
    assert checkpoint.epochs_done(folder) == 3
    assert checkpoint.provenance(folder)["recipe"]["select"] == "best_on_test"
    chosen = [line["selected"] for line in checkpoint.read_metrics(folder)]
    assert [each["best"] for each in chosen] == [True, True, False]
    assert {each["by"] for each in chosen} == {"rank1"}
    assert all("chosen on the test images" in each["note"] for each in chosen)
    with pytest.raises(ValidationError, match="leaves one epoch to choose from"):
        changed(tiny, select="best_on_test")


# ---- what stops a run -------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError("Unable to allocate 9. GiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
)
def test_a_lack_of_memory_says_what_to_lower_and_keeps_what_there_is(
    blocks: Path, tmp_path: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = tmp_path / "run"
    run.start(folder, tiny, blocks, None, "cpu").loop.train(until=1)
    before = (folder / checkpoint.FILE).read_bytes()

    def lacking(self: Supervised, batch: Batch) -> Mapping[str, torch.Tensor]:
        raise error

    monkeypatch.setattr(Supervised, "step", lacking)
    with pytest.raises(TrainingError) as said:
        run.resume(folder, device="cpu").loop.train()
    for word in (
        "data.persons=3",
        "data.images=2",
        "64 x 32",
        "--set data.persons=2",
        "accumulate=2",
        "amp=true",
        "1 whole epochs",
    ):
        assert word in said.value.message
    assert (folder / checkpoint.FILE).read_bytes() == before
    monkeypatch.undo()
    run.resume(folder, device="cpu").loop.train()


def test_other_errors_stay_what_they_are(
    blocks: Path, tmp_path: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Supervised, batch: Batch) -> Mapping[str, torch.Tensor]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Supervised, "step", broken)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        run.start(tmp_path / "run", tiny, blocks, None, "cpu").loop.train()


def test_weights_that_the_last_step_of_an_epoch_ruins_are_not_kept(
    blocks: Path, tmp_path: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    loop = run.start(folder, changed(tiny, iterations=1), blocks, None, "cpu").loop
    loop.train(until=1)
    before = (folder / checkpoint.FILE).read_bytes()
    real = Supervised.step

    def steep(self: Supervised, batch: Batch) -> Mapping[str, torch.Tensor]:
        made, weight = real(self, batch), next(self.modules.parameters())
        return {**made, "total": made["total"] + (weight * 0).sqrt().sum()}  # adds 0, and a gradient of NaN

    monkeypatch.setattr(Supervised, "step", steep)
    with pytest.raises(TrainingError, match=r"not finite after step 2.*1 whole epochs made is kept"):
        loop.train(until=2)
    assert (folder / checkpoint.FILE).read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
from training import checkpoint, run
started = run.resume(Path(sys.argv[1]), device="cpu")
# half of the file is written, and nothing of it synced
os.fsync = lambda _descriptor: os.kill(os.getpid(), signal.SIGKILL)
started.loop.train()
"""


def test_a_kill_in_the_middle_of_writing_leaves_the_last_checkpoint(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    run.start(whole, tiny, blocks, None, "cpu").loop.train()
    run.start(folder, tiny, blocks, None, "cpu").loop.train(until=1)
    before = (folder / checkpoint.FILE).read_bytes()
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(run.__file__).parents[1])}  # noqa: TID251
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], env=alone, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (folder / checkpoint.FILE).read_bytes() == before
    assert list(folder.glob(".*.part"))
    run.resume(folder, device="cpu").loop.train()
    assert not list(folder.glob(".*.part"))
    one, other = (checkpoint.load_model(each).state_dict() for each in (whole, folder))
    assert all(torch.equal(one[name], other[name]) for name in one)
