"""Runs from outside: learning, stopping and going on, what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from training import checkpoint, methods, models, run
from training.data import loaders
from training.data.images import Images
from training.data.samplers import IdentitySampler
from training.settings import RunSettings, read
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.errors import SettingsError, TrainingError
from vireid.images.preprocess import Preprocess

TINY = RunSettings.model_validate(
    {
        "epochs": 3,
        "iterations": 3,
        "seed": 5,
        "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 64, "columns": 32},
        "data": {"persons": 3, "images": 2, "pad": 2},
        "optimiser": {"rate": 1e-3, "warmup_epochs": 1},
    }
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_model(folder).state_dict()


def lines(folder: Path) -> list[dict[str, object]]:
    kept = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        told = json.loads(line)
        del told["seconds"]
        kept.append(told)
    return kept


def test_resuming_equals_never_having_stopped(blocks: Path, tmp_path: Path) -> None:
    whole = run.start(tmp_path / "whole", TINY, blocks, None, "cpu")
    whole.loop.train()
    run.start(tmp_path / "parts", TINY, blocks, None, "cpu").loop.train(until=1)
    # another run in between changes every global random state
    run.start(tmp_path / "other", TINY.model_copy(update={"seed": 99}), blocks, None, "cpu").loop.train(
        until=1
    )
    resumed = run.resume(tmp_path / "parts", device="cpu")
    assert resumed.loop.epoch == 1
    resumed.loop.train()
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_it_learns_a_batch_by_heart(blocks: Path) -> None:
    torch.manual_seed(0)
    dataset = open_dataset("sysu-mm01", blocks)
    method = methods.create(models.build(TINY.model), dataset.train, TINY.method)
    images = Images(dataset.train, Preprocess(64, 32), 64)
    sampler = IdentitySampler(
        method.begin_epoch(0), images.modality, persons=3, images=2, iterations=1, seed=0
    )
    still = TINY.data.model_copy(update={"flip": 0, "pad": 0, "erase": 0, "exchange": 0, "grey": 0})
    (batch,) = loaders.batches(images, sampler, still, epoch=0, seed=0)
    optimiser = torch.optim.Adam(method.modules.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        loss = method.step(batch)["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_batches_do_not_depend_on_true_persons(blocks: Path) -> None:
    """A loader hands out an index; who is on the image cannot leak through it."""
    train = open_dataset("sysu-mm01", blocks).train
    unnamed = Split("train", tuple(dataclasses.replace(sample, person=-1) for sample in train.samples))
    labels = np.arange(len(train)) % 4
    drawn = []
    for split in (train, unnamed):
        images = Images(split, Preprocess(64, 32), 64)
        sampler = IdentitySampler(labels, images.modality, persons=2, images=2, iterations=2, seed=3)
        drawn.append(list(loaders.batches(images, sampler, TINY.data, epoch=4, seed=3)))
    for named, nameless in zip(*drawn, strict=True):
        assert torch.equal(named.images, nameless.images)
        assert torch.equal(named.index, nameless.index)
    assert {field.name for field in dataclasses.fields(loaders.Batch)} == {"images", "modality", "index"}


def test_a_damaged_checkpoint_is_refused_and_the_run_is_left(blocks: Path, tmp_path: Path) -> None:
    run.start(tmp_path / "run", TINY, blocks, None, "cpu").loop.train(until=1)
    file = tmp_path / "run" / checkpoint.FILE
    good = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(20):
        bad = bytearray(good)
        bad[int(random.integers(len(bad)))] ^= 1 << int(random.integers(8))
        file.write_bytes(bytes(bad))
        with pytest.raises(TrainingError):
            checkpoint.load_model(tmp_path / "run")
    for cut in (0, 7, len(good) // 2, len(good) - 1):
        file.write_bytes(good[:cut])
        with pytest.raises(TrainingError):
            run.resume(tmp_path / "run", device="cpu")
    file.write_bytes(good)
    assert run.resume(tmp_path / "run", device="cpu").loop.epoch == 1


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    blocks: Path, tmp_path: Path
) -> None:
    started = run.start(tmp_path / "run", TINY, blocks, None, "cpu")
    started.loop.train(until=1)
    before = (tmp_path / "run" / checkpoint.FILE).read_bytes()
    wild = TINY.model_copy(
        update={"optimiser": TINY.optimiser.model_copy(update={"rate": 1e30, "clip_norm": 0.0})}
    )
    (tmp_path / "run" / checkpoint.RECIPE).write_text(wild.model_dump_json())
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*lower optimiser\.rate"):
        run.resume(tmp_path / "run", device="cpu").loop.train()
    assert (tmp_path / "run" / checkpoint.FILE).read_bytes() == before
    saved = json.loads((tmp_path / "run" / "not-finite.json").read_text())
    assert len(saved["index"]) == 2 * TINY.data.persons * TINY.data.images


def test_runs_that_cannot_start(blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(TrainingError, match="holds something already"):
        run.start(tmp_path / "full", TINY, blocks, None, "cpu")
    dark = tmp_path / "dark"
    shutil.copytree(blocks, dark)
    for camera in (3, 6):
        shutil.rmtree(dark / f"cam{camera}")
        (dark / f"cam{camera}").mkdir()
    with pytest.raises(TrainingError, match="and 0 infrared training images"):
        run.start(tmp_path / "new", TINY, dark, None, "cpu")
    many = TINY.model_copy(update={"data": TINY.data.model_copy(update={"persons": 20})})
    with pytest.raises(TrainingError, match="a batch needs 20"):
        run.start(tmp_path / "new2", many, blocks, None, "cpu").loop.train()
    with pytest.raises(TrainingError, match="no training run"):
        run.resume(tmp_path)


def test_recipes() -> None:
    assert read("sysu-mm01-supervised").model.height == 288
    with pytest.raises(SettingsError, match="did you mean 'epochs'"):
        read("synthetic-supervised", {"epoch": 3})
    with pytest.raises(SettingsError, match="there is no recipe 'nothing'"):
        read("nothing")
