"""Two processes on one machine, started by torchrun: what they share, what is the same in both, and going on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training import checkpoint, methods, models, ranks, run
from training.data import loaders
from training.data.images import Images
from training.data.samplers import sampler
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess

pytestmark = pytest.mark.usefixtures("one_thread")

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WORKER = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from training import ranks, run
from training.settings import RunSettings
from vireid.errors import TrainingError

out, data = Path(sys.argv[1]), Path(sys.argv[2])
whole, step = (RunSettings.model_validate_json((out / f"{name}.json").read_text()) for name in ("whole", "step"))

def begun(name, wanted):
    return run.start(out / name, wanted, data, None, "cpu")

def kept(name, started):
    own = started.loop._method.modules.state_dict()
    save_file({key: value.contiguous() for key, value in own.items()}, out / f"{name}-{ranks.place()}.safetensors")

for name, wanted in (("whole", whole), ("step", step)):
    started = begun(name, wanted)
    assert ranks.count() == 2
    started.loop.train()
    kept(name, started)
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
try:
    ranks.agree("the numbers", str(ranks.place()))
except TrainingError as error:
    assert "the numbers differ between the 2 processes" in error.message
else:
    raise SystemExit("nothing was said of numbers that differ")
ranks.leave()
"""


TINY = {
    "epochs": 2,
    "iterations": 2,
    "seed": 5,
    "threads": 1,
    "tensorboard": "off",
    "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 64, "columns": 32},
    "data": {"persons": 3, "images": 2, "pad": 2},
    "schedule": {"warmup_epochs": 0},
}
WHOLE = RunSettings.model_validate({**TINY, "accumulate": 2})
PLAIN = {"name": "sgd", "rate": 0.1, "clip_norm": 0.0}
STEP = RunSettings.model_validate({**TINY, "epochs": 1, "iterations": 1, "optimiser": PLAIN})


@pytest.fixture(scope="module")
def made(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train in two processes: a whole run, one in two parts, and one of a single plain step."""
    out = tmp_path_factory.mktemp("together")
    (out / "worker.py").write_text(WORKER)
    (out / "whole.json").write_text(WHOLE.model_dump_json())
    (out / "step.json").write_text(STEP.model_dump_json())
    words = [*TORCHRUN, str(out / "worker.py"), str(out), str(blocks)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(run.__file__).parents[1])}  # noqa: TID251
    done = subprocess.run(words, env=alone, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return out


def weights(out: Path, name: str, place: int) -> dict[str, torch.Tensor]:
    return load_file(out / f"{name}-{place}.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_end_alike_and_go_on_as_if_they_had_not_stopped(made: Path) -> None:
    whole = weights(made, "whole", 0)
    assert same(whole, weights(made, "whole", 1))
    assert not same(whole, weights(made, "half", 0))
    assert same(whole, weights(made, "parts", 0))
    assert same(whole, weights(made, "parts", 1))
    # one of them wrote
    assert [line["epoch"] for line in checkpoint.read_metrics(made / "whole")] == [1, 2]
    assert checkpoint.provenance(made / "whole")["progress"] == {"epoch": 2, "step": 4}


def test_one_process_does_not_go_on_with_a_run_of_two(made: Path) -> None:
    with pytest.raises(TrainingError, match=r"of 2 processes, and 1 would go on.*--nproc-per-node 2"):
        run.resume(made / "whole", device="cpu")


def test_a_step_of_two_processes_is_one_along_the_mean_of_their_gradients(made: Path, blocks: Path) -> None:
    """The oracle is one process that computes both batches' gradients one after the other."""
    wanted = STEP
    found = weights(made, "step", 0)
    torch.manual_seed(wanted.seed)
    network = models.build(wanted.model)
    train = open_dataset("sysu-mm01", blocks).train
    method = methods.create(network, train, wanted.method)
    images = Images(train, Preprocess(64, 32), 64)
    draw = method.begin_epoch(0, None).draw  # type: ignore[arg-type]  # the supervised method looks at nothing
    method.modules.train()
    before = {name: value.clone() for name, value in method.modules.state_dict().items()}
    statistics = []
    for place in (0, 1):
        (batch,) = loaders.batches(images, sampler(draw, wanted), wanted.data, epoch=0, seed=5, place=place)
        (method.step(batch)["total"] / 2).backward()  # type: ignore[no-untyped-call]
        own = {name: value.clone() for name, value in method.modules.state_dict().items()}
        statistics.append({name: value for name, value in own.items() if "running" in name})
        kept = {name: value for name, value in before.items() if "running" in name}
        method.modules.load_state_dict({**own, **kept})
    optimiser = torch.optim.SGD(
        [each for each in method.modules.parameters() if each.requires_grad],
        lr=0.1, momentum=0.9, nesterov=True, weight_decay=wanted.optimiser.weight_decay,
    )  # fmt: skip
    optimiser.step()
    expected = method.modules.state_dict()
    for name, value in found.items():
        if "running" in name:
            assert torch.allclose(value, (statistics[0][name] + statistics[1][name]) / 2, atol=1e-5), name
        elif "num_batches" not in name:
            assert torch.allclose(value, expected[name], atol=1e-5), name
    moved = max(
        float((found[name] - before[name]).abs().max()) for name in dict(method.modules.named_parameters())
    )
    assert moved > 1e-3


def test_one_process_needs_nothing_of_it() -> None:
    rows = torch.arange(3.0)
    assert ranks.gather(rows) is rows
    assert (ranks.count(), ranks.place(), ranks.together()) == (1, 0, False)
    assert ranks.share(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    ranks.agree("anything", "x")
    loaded = "import sys, training.run; assert 'lightning_fabric' not in sys.modules"
    subprocess.run([sys.executable, "-c", loaded], cwd=Path(run.__file__).parents[1], check=True)


def test_processes_draw_batches_of_their_own(blocks: Path, tiny: RunSettings) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    method = methods.create(models.build(tiny.model), train, tiny.method)
    drawn = sampler(method.begin_epoch(0, None).draw, tiny)  # type: ignore[arg-type]
    first, second = ([batch.tolist() for batch in drawn.epoch(2, place)] for place in (0, 1))
    assert first != second
    assert [batch.tolist() for batch in drawn.epoch(2)] == first
