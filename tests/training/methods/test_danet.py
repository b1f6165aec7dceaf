"""DANet: its terms, its switches, and that with all of them off it is the identity loss alone."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import checkpoint, losses, methods, models, run
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import IdentitySampler
from training.losses import TwoViews
from training.method import Method
from training.method_settings import DanetSettings
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess

pytestmark = pytest.mark.usefixtures("one_thread")

NEVER: Any = None  # DANet looks at nothing before an epoch
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "own": {"cc": "own", "cc_detached": True},
    "cc": {"ml": False},
    "ml": {"cc": "off"},
    "mpanet": {"compat": {"centres": True, "teachers": True}},
}


@pytest.fixture
def one(tiny: RunSettings) -> RunSettings:
    network = {"name": "one-stream-resnet18", "pooling": "average"}
    return tiny.model_copy(update={"model": tiny.model.model_copy(update=network)})


def made(blocks: Path, wanted: RunSettings, **settings: Any) -> Method:
    torch.manual_seed(0)
    train = open_dataset("sysu-mm01", blocks).train
    return methods.create(models.build(wanted.model), train, DanetSettings.model_validate(settings))


def batch_of(blocks: Path, method: Method, wanted: RunSettings) -> Batch:
    images = Images(open_dataset("sysu-mm01", blocks).train, Preprocess(64, 32), 64)
    sampler = IdentitySampler(method.begin_epoch(0, NEVER).draw, persons=3, images=2, iterations=1, seed=0)
    still = wanted.data.model_copy(update={"flip": 0, "pad": 0, "erase": 0, "exchange": 0, "grey": 0})
    (batch,) = loaders.batches(images, sampler, still, epoch=0, seed=0)
    return batch


def values(found: Any) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in found.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_is_learnt_by_heart(blocks: Path, one: RunSettings, name: str) -> None:
    method = made(blocks, one, **VARIANTS[name])
    batch = batch_of(blocks, method, one)
    optimiser = torch.optim.Adam(
        [each for each in method.modules.parameters() if each.requires_grad], lr=3e-3
    )
    first: dict[str, float] = {}
    for _ in range(70):
        found = method.step(batch)
        optimiser.zero_grad()
        found["total"].backward()
        optimiser.step()
        method.after_step(batch)
        first = first or values(found)
    last = values(found)
    assert last["identity"] < 0.1
    for term in set(last) & {"cc", "sid"}:
        assert last[term] < 0.25 * first[term]
    # the two classifiers begin by agreeing that nobody is anybody
    assert last.get("ml", 0) < 0.05


def test_the_total_is_equation_6_with_equation_4(blocks: Path, one: RunSettings) -> None:
    """Every term computed again here, from the network's features and the classifiers' weights."""
    settings = {"cc_weight": 0.5, "ml_weight": 3.0, "sid_weight": 0.25, "margin": 5.0}
    method = made(blocks, one, **settings)
    for part in method.modules["specific"].children():
        torch.nn.init.normal_(part.weight, std=0.5)
    batch = batch_of(blocks, method, one)
    found = values(method.step(batch))
    with torch.no_grad():
        seen = method.network.features(batch.images, batch.modality)
        persons = open_dataset("sysu-mm01", blocks).train.persons
        labels = torch.from_numpy(np.searchsorted(np.unique(persons), persons[batch.index.numpy()]))
        visible = batch.modality == 0
        c_v, c_r = (method.modules["specific"][kind].weight for kind in ("visible", "infrared"))
        v, r = seen.necked[visible], seen.necked[~visible]
        expected = {
            "identity": losses.identity(seen.necked @ method.modules["classifier"].weight.T, labels),
            "cc": losses.centre_cluster(seen.pooled, labels, batch.modality, 5.0),
            "sid": losses.identity(v @ c_v.T, labels[visible]) + losses.identity(r @ c_r.T, labels[~visible]),
            "ml": losses.mutual(TwoViews(v @ c_v.T, v @ c_r.T), TwoViews(r @ c_r.T, r @ c_v.T)),
        }
    for term, value in expected.items():
        assert found[term] == pytest.approx(float(value), rel=1e-4), term
    total = found["identity"] + 0.5 * found["cc"] + 0.25 * found["sid"] + 3 * found["ml"]
    assert found["total"] == pytest.approx(total, rel=1e-6)
    assert found["ml"] > 0.1


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_model(folder).state_dict()


def test_a_run_with_teachers_resumes_as_if_it_had_not_stopped(
    blocks: Path, tmp_path: Path, one: RunSettings
) -> None:
    wanted = one.model_copy(update={"method": DanetSettings.model_validate(VARIANTS["mpanet"])})
    run.start(tmp_path / "whole", wanted, blocks, None, "cpu").loop.train()
    run.start(tmp_path / "parts", wanted, blocks, None, "cpu").loop.train(until=1)
    run.resume(tmp_path / "parts", device="cpu").loop.train()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_teachers_follow_slowly_and_are_not_taught(blocks: Path, one: RunSettings) -> None:
    method = made(blocks, one, compat={"teachers": True, "teacher_rate": 0.2})
    own, teacher = (method.modules[name]["visible"].weight for name in ("specific", "teachers"))
    assert torch.equal(own, teacher)
    batch = batch_of(blocks, method, one)
    with torch.no_grad():
        own.add_(1.0)
    before = teacher.clone()
    method.step(batch)["total"].backward()
    assert teacher.grad is None
    assert own.grad is not None
    method.after_step(batch)
    assert torch.allclose(teacher, before + 0.2, atol=1e-6)


def test_it_needs_every_person(blocks: Path, one: RunSettings) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    unknown = dataclasses.replace(train.samples[0], person=-1)
    with pytest.raises(TrainingError, match="1 training images have no person; DANet needs all of them"):
        methods.create(
            models.build(one.model), Split("train", (unknown, *train.samples[1:])), DanetSettings()
        )
