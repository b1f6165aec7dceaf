"""Methods: what they are told, and that the supervised one learns."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import methods, models
from training.data import loaders
from training.data.images import Images
from training.data.samplers import IdentitySampler
from training.method import Known, Method
from training.methods import Entry
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")


NEVER: Any = None  # the supervised method looks at nothing before an epoch


@pytest.mark.parametrize("told", [frozenset(), frozenset({Modality.VISIBLE}), frozenset(Modality)])
def test_a_method_is_told_no_more_than_its_entry_says(
    blocks: Path, tiny: RunSettings, told: frozenset[Modality], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    seen: list[Known] = []

    def build(network: models.TwoStream, known: Known, wanted: object) -> Method:
        seen.append(known)
        return methods.METHODS["supervised"].build(
            network, dataclasses.replace(known, persons=train.persons), tiny.method
        )

    monkeypatch.setitem(methods.METHODS, "curious", Entry(build, lambda _wanted: told))
    methods.create(models.build(tiny.model), train, tiny.method.model_copy(update={"name": "curious"}))
    (known,) = seen
    for sample, person, kind in zip(train.samples, known.persons, known.modality, strict=True):
        assert kind == sample.modality
        assert person == (sample.person if sample.modality in told else -1)


def test_supervised_needs_every_person(blocks: Path, tiny: RunSettings) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    first = dataclasses.replace(train.samples[0], person=-1)
    with pytest.raises(TrainingError, match="1 training images have no person"):
        methods.create(models.build(tiny.model), Split("train", (first, *train.samples[1:])), tiny.method)


def test_labels_count_from_0_and_keep_people_apart(blocks: Path, tiny: RunSettings) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    draw = methods.create(models.build(tiny.model), train, tiny.method).begin_epoch(0, NEVER).draw
    labels = np.maximum(draw.parts[0].labels, draw.parts[1].labels)
    assert sorted(set(labels.tolist())) == list(range(len(set(train.persons.tolist()))))
    assert len(set(zip(labels.tolist(), train.persons.tolist(), strict=True))) == labels.max() + 1


def test_a_batch_is_learnt_by_heart(blocks: Path, tiny: RunSettings) -> None:
    torch.manual_seed(0)
    train = open_dataset("sysu-mm01", blocks).train
    wanted = tiny.method.model_copy(update={"label_smoothing": 0.0})
    method = methods.create(models.build(tiny.model), train, wanted)
    images = Images(train, Preprocess(64, 32), 64)
    sampler = IdentitySampler(method.begin_epoch(0, NEVER).draw, persons=3, images=2, iterations=1, seed=0)
    still = tiny.data.model_copy(update={"flip": 0, "pad": 0, "erase": 0, "exchange": 0, "grey": 0})
    (batch,) = loaders.batches(images, sampler, still, epoch=0, seed=0)
    optimiser = torch.optim.Adam(method.modules.parameters(), lr=3e-3)
    for _ in range(60):
        losses = method.step(batch)
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        method.after_step(batch)
    found = {name: float(value.detach()) for name, value in losses.items()}
    assert found["identity"] < 0.1
    assert found["triplet"] < 0.02
    assert found["cross"] < 0.02


def test_the_total_is_the_weighted_sum(blocks: Path, tiny: RunSettings) -> None:
    train = open_dataset("sysu-mm01", blocks).train
    images = Images(train, Preprocess(64, 32), 64)
    network = models.build(tiny.model)
    plain = tiny.method.model_copy(update={"triplet_weight": 0.5, "cross_weight": 0.25})
    method = methods.create(network, train, plain)
    sampler = IdentitySampler(method.begin_epoch(0, NEVER).draw, persons=3, images=2, iterations=1, seed=0)
    (batch,) = loaders.batches(images, sampler, tiny.data, epoch=0, seed=0)
    found = {name: float(value.detach()) for name, value in method.step(batch).items()}
    assert found["total"] == pytest.approx(found["identity"] + 0.5 * found["triplet"] + 0.25 * found["cross"])
    assert np.isfinite(list(found.values())).all()
