"""Two processes on one machine, started by torchrun: what they share, what is the same in both, and going on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import checkpoint, ranks, run
from training.journal import LABELS
from training.labels import pseudo
from training.settings import RunSettings
from vireid.errors import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WORKER = """
import json
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from training import objective, ranks, run
from training.journal import LABELS
from training.settings import RunSettings
from vireid.errors import TrainingError

out, data = Path(sys.argv[1]), Path(sys.argv[2])
recipes = {
    name: RunSettings.model_validate(told) for name, told in json.loads((out / "recipes.json").read_text()).items()
}

def begun(name, wanted):
    return run.start(out / name, wanted, data, None, "cpu")

def kept(name, started):
    own = started.loop._method.modules.state_dict()
    save_file({key: value.contiguous() for key, value in own.items()}, out / f"{name}-{ranks.place()}.safetensors")

for name, wanted in recipes.items():
    started = begun(name, wanted)
    assert ranks.count() == 2
    for epoch in range(wanted.epochs):
        started.loop.train(until=epoch + 1)
        if ranks.place() == 0 and (started.folder / LABELS).is_file():
            (started.folder / LABELS).rename(started.folder / f"labels-{epoch}.npz")
    kept(name, started)
if "supervised" not in recipes:
    ranks.leave()
    sys.exit()
whole = recipes["supervised"]
started = begun("parts", whole)
started.loop.train(until=1)
kept("half", started)
begun("other", whole.model_copy(update={"seed": 99})).loop.train(until=1)
resumed = run.resume(out / "parts", device="cpu")
assert resumed.loop.epoch == 1
resumed.loop.train()
kept("parts", resumed)

rows = torch.arange(2.0 + ranks.place())[:, None] + 10 * ranks.place()
assert ranks.gather(rows).flatten().tolist() == [0, 1, 10, 11, 12]
assert ranks.of_first(rows[:2].numpy()).flatten().tolist() == [0, 1]
rows = torch.arange(4.0)[:, None] + 10 * ranks.place()
assert ranks.gather(rows, 2).tolist() == [[0], [1], [10], [11], [2], [3], [12], [13]]
assert ranks.averaged(torch.tensor([2.0 * ranks.place(), 5.0])).tolist() == [1, 5]
told = {"total": 1.0, "late": 3.0} if ranks.place() else {"total": 2.0}
assert objective.mean(told) == {"total": 1.5, "late": 1.5}
try:
    ranks.agree("the numbers", str(ranks.place()))
except TrainingError as error:
    assert "the numbers differ between the 2 processes" in error.message
else:
    raise SystemExit("nothing was said of numbers that differ")
try:
    begun("uneven", whole.model_copy(update={"data": whole.data.model_copy(update={"persons": 3})}))
except TrainingError as error:
    assert "data.persons is 3, and 2 processes divide every batch" in error.message
else:
    raise SystemExit("three identities were divided by two")
ranks.wait()
assert not (out / "uneven").exists()
ranks.leave()
"""


TINY = {
    "epochs": 2,
    "iterations": 2,
    "seed": 5,
    "threads": 1,
    "tensorboard": "off",
    "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 64, "columns": 32},
    "data": {"persons": 4, "images": 2, "pad": 2},
    "schedule": {"warmup_epochs": 0},
}
ONE = {**TINY["model"], "name": "one-stream-resnet18", "pooling": "average"}  # type: ignore[dict-item]
PLAIN = {"name": "sgd", "rate": 0.01, "clip_norm": 1.0}
SLOW = {**PLAIN, "rate": 0.003}
NEAR = {"k1": 6, "k2": 2, "min_samples": 2}
SPCL = {"name": "spcl", **NEAR, "reliability": False}
CLUSTERS = {"k1": 4, "k2": 2, "min_samples": 2, "eps": 0.5}
MIOT = {"name": "miot", "warmup_epochs": 1, "clusters": CLUSTERS}
MULT = {"name": "mult", "dcl_epochs": 1, "clusters": CLUSTERS}
TWICE = {**TINY["data"], "views": 2}  # type: ignore[dict-item]
# of a batch's rows a process has half, and so has a group of one process
RECIPES = {
    "supervised": {**TINY, "accumulate": 2},
    "identity": {
        **TINY, "epochs": 3, "optimiser": PLAIN, "bn_group": 8,
        "method": {"name": "supervised", "triplet_weight": 0, "cross_weight": 0},
    },
    "spcl": {**TINY, "epochs": 3, "model": ONE, "method": SPCL, "optimiser": PLAIN, "bn_group": 4},
}  # fmt: skip
MORE = {
    "dcl": {
        **TINY, "epochs": 3, "model": ONE, "data": TWICE, "optimiser": SLOW, "bn_group": 12,
        "method": {"name": "dcl", "clusters": CLUSTERS},
    },
    "miot": {
        **TINY, "epochs": 2, "model": ONE, "data": TWICE, "optimiser": SLOW, "bn_group": 12, "method": MIOT,
    },
    "mult": {**TINY, "epochs": 3, "data": TWICE, "optimiser": SLOW, "bn_group": 12, "method": MULT},
    "otla": {**TINY, "epochs": 1, "model": ONE, "method": {"name": "otla"}, "optimiser": PLAIN, "bn_group": 8},
}  # fmt: skip


def together(out: Path, blocks: Path, recipes: dict[str, Any]) -> Path:
    """Train in two processes, one recipe after another."""
    (out / "worker.py").write_text(WORKER)
    (out / "recipes.json").write_text(json.dumps(recipes))
    words = [*TORCHRUN, str(out / "worker.py"), str(out), str(blocks)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(run.__file__).parents[1])}  # noqa: TID251
    done = subprocess.run(words, env=alone, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def made(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return together(tmp_path_factory.mktemp("together"), blocks, RECIPES)


@pytest.fixture(scope="module")
def more(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return together(tmp_path_factory.mktemp("more"), blocks, MORE)


def weights(out: Path, name: str, place: int) -> dict[str, torch.Tensor]:
    return load_file(out / f"{name}-{place}.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name].nan_to_num(-7), other[name].nan_to_num(-7)) for name in one
    )


@pytest.mark.parametrize("name", RECIPES)
def test_both_processes_end_with_the_same(made: Path, name: str) -> None:
    assert same(weights(made, name, 0), weights(made, name, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_both_processes_end_with_the_same_whatever_the_method(more: Path, name: str) -> None:
    assert same(weights(more, name, 0), weights(more, name, 1))


def test_two_processes_go_on_as_if_they_had_not_stopped(made: Path) -> None:
    whole = weights(made, "supervised", 0)
    assert not same(whole, weights(made, "half", 0))
    assert same(whole, weights(made, "parts", 0))
    assert same(whole, weights(made, "parts", 1))
    # one of them wrote
    assert [line["epoch"] for line in checkpoint.read_metrics(made / "supervised")] == [1, 2]
    assert checkpoint.provenance(made / "supervised")["progress"] == {"epoch": 2, "step": 4}


def test_one_process_does_not_go_on_with_a_run_of_two(made: Path) -> None:
    with pytest.raises(TrainingError, match=r"of 2 processes, and 1 would go on.*--nproc-per-node 2"):
        run.resume(made / "supervised", device="cpu")


def as_one(made: Path, blocks: Path, folder: Path, wanted: RunSettings) -> None:
    """Demand the same labels in every epoch, the same losses, the same weights and memories at the end."""
    alone = run.start(folder, wanted, blocks, None, "cpu")
    for epoch in range(wanted.epochs):
        alone.loop.train(until=epoch + 1)
        if (folder / LABELS).is_file():
            one, two = (pseudo.load(made / f"labels-{epoch}.npz"), pseudo.load(folder / LABELS))
            assert np.array_equal(one.labels, two.labels)
            assert np.array_equal(one.outlier, two.outlier)
    curves = [[line["total"] for line in checkpoint.read_metrics(each)] for each in (made, folder)]
    np.testing.assert_allclose(*curves, rtol=0, atol=1e-4)
    assert np.ptp(curves[0]) > 3e-3
    found, expected = weights(made.parent, made.name, 0), alone.loop._method.modules.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key].float(), value.float(), rtol=1e-3, atol=1e-4, equal_nan=True), key


@pytest.mark.parametrize("name", ["identity", "spcl"])
def test_two_processes_are_one_whose_batch_norm_sees_their_shares(
    made: Path, blocks: Path, tmp_path: Path, name: str
) -> None:
    as_one(made / name, blocks, tmp_path / name, RunSettings.model_validate(RECIPES[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcl", "mult"])
def test_two_processes_are_one_for_methods_of_memories(
    more: Path, blocks: Path, tmp_path: Path, name: str
) -> None:
    as_one(more / name, blocks, tmp_path / name, RunSettings.model_validate(MORE[name]))


@pytest.mark.slow
def test_where_a_batch_is_mined_a_process_sees_its_share(more: Path, blocks: Path, tmp_path: Path) -> None:
    """OTLA's triplets and alignment, and the chance of its discriminator: near to one process, and not the same."""
    alone = run.start(tmp_path / "otla", RunSettings.model_validate(MORE["otla"]), blocks, None, "cpu")
    alone.loop.train()
    one, two = (checkpoint.read_metrics(folder)[0] for folder in (more / "otla", alone.folder))
    assert one["triplet"] != pytest.approx(two["triplet"], abs=1e-4)
    assert one["identity"] == pytest.approx(two["identity"], rel=0.2)


def test_one_process_needs_nothing_of_it() -> None:
    rows = torch.arange(3.0)
    assert ranks.gather(rows) is rows
    assert (ranks.count(), ranks.place(), ranks.together()) == (1, 0, False)
    assert ranks.share(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    ranks.agree("anything", "x")
    loaded = "import sys, training.run; assert 'lightning_fabric' not in sys.modules"
    subprocess.run([sys.executable, "-c", loaded], cwd=Path(run.__file__).parents[1], check=True)


def test_processes_that_do_not_answer_are_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = pytest.importorskip("lightning_fabric").Fabric

    def alone(self: object) -> None:
        raise RuntimeError("Gloo connectFullMesh failed\nand much more")

    monkeypatch.setattr(fabric, "launch", alone)
    told = {
        "TORCHELASTIC_RUN_ID": "7",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }
    for name, value in (told | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        TrainingError,
        match=r"one of 2 processes did not find the others \(Gloo connectFullMesh failed\); one may",
    ):
        ranks.join("cpu")
