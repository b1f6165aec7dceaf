"""DCL: what it clusters and remembers, whom batches show, and that nobody's identity is behind it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from training import methods, models
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.labels.quality import assess
from training.materials import Material
from training.method_settings import DclSettings
from training.methods import METHODS
from training.settings import RunSettings
from vireid.datasets.split import Dataset
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

# eight visible and four infrared images of each of five people
NEAR: dict[str, Any] = {"k1": 6, "k2": 2, "eps": 0.6, "min_samples": 2}


def with_method(small: RunSettings, views: int = 2, clusters: Any = None, **settings: Any) -> RunSettings:
    wanted = DclSettings.model_validate({"clusters": NEAR | (clusters or {}), **settings})
    return small.model_copy(update={"method": wanted, "data": small.data.model_copy(update={"views": views})})


class Bench:
    """A method and what it looks at, without a loop."""

    def __init__(self, people: Dataset, recipe: RunSettings) -> None:
        torch.manual_seed(0)
        self.network = models.build(recipe.model)
        self.method: Any = methods.create(self.network, people.train, recipe.method)
        self.images, self.recipe = Images(people.train, Preprocess(64, 32), 64), recipe
        self.look = Look(self.network, self.images, recipe, 0)

    def batches(self) -> list[Batch]:
        drawn = sampler(self.method.begin_epoch(0, self.look).draw, self.recipe)
        self.method.modules.train()
        return list(loaders.batches(self.images, drawn, self.recipe.data, epoch=0, seed=0))

    def rows(self) -> dict[str, torch.Tensor]:
        return {name: self.method.modules[f"{name}_bank"].rows.clone() for name in ("visible", "infrared")}


def test_no_true_person_is_told() -> None:
    assert METHODS["dcl"].told(DclSettings()) == frozenset()


@pytest.mark.parametrize("neighbours", ["own", "balanced"])
def test_clusters_stay_within_a_modality_and_outliers_are_left_out(
    people: Dataset, small: RunSettings, neighbours: str
) -> None:
    bench = Bench(people, with_method(small, clusters={"neighbours": neighbours, "eps": 0.5}))
    before = {name: value.clone() for name, value in bench.network.state_dict().items()}
    epoch = bench.method.begin_epoch(0, bench.look)
    assert all(torch.equal(value, before[name]) for name, value in bench.network.state_dict().items())
    kinds, labels = people.train.modalities, epoch.labels.labels
    assert not set(labels[kinds == 0]) & set(labels[(kinds == 1) & (labels >= 0)])
    assert (epoch.labels.outlier == (labels == -1)).all()
    # coloured blocks are told apart by an untrained network too
    assert assess(people.train.persons[kinds == 0], labels[kinds == 0]).within.precision > 0.9
    for batch in sampler(epoch.draw, bench.recipe).epoch(0):
        visible, infrared = np.split(batch, 2)
        assert (kinds[visible] == 0).all()
        assert (kinds[infrared] == 1).all()
        assert (labels[batch] >= 0).all()
        assert len(set(labels[visible])) == len(set(labels[infrared])) == 3
    assert epoch.told["clusters_visible"] == len(set(labels[kinds == 0]) - {-1})


def test_the_modalities_draw_one_without_the_other(people: Dataset, small: RunSettings) -> None:
    """Slots of a batch show the same person in both no more often than chance."""
    bench = Bench(people, with_method(small.model_copy(update={"iterations": 60})))
    persons = people.train.persons
    halves = [
        np.split(b, 2) for b in sampler(bench.method.begin_epoch(0, bench.look).draw, bench.recipe).epoch(0)
    ]
    met = np.mean([persons[visible[::2]] == persons[infrared[::2]] for visible, infrared in halves])
    assert met == pytest.approx(1 / 5, abs=0.12)


def slow_bank(
    rows: torch.Tensor, queries: torch.Tensor, labels: torch.Tensor, momentum: float
) -> torch.Tensor:
    made = [row.double() for row in rows]
    for q, y in zip(queries.double(), labels.tolist(), strict=True):
        moved = momentum * made[y] + (1 - momentum) * q
        made[y] = moved / moved.norm()
    return torch.stack(made).float()


def test_losses_and_banks_are_those_of_a_slow_reading(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small.model_copy(update={"iterations": 1}), momentum=0.3))
    (batch,) = bench.batches()
    features = bench.look.embeddings()
    before = bench.rows()
    labels = bench.method._within.labels
    for kind in Modality:
        own = np.where(people.train.modalities == kind, labels, -1)
        means = np.stack([features[own == cluster].mean(0) for cluster in range(own.max() + 1)])
        expected = means / np.linalg.norm(means, axis=1, keepdims=True)
        torch.testing.assert_close(before[kind.word], torch.from_numpy(expected), atol=1e-6, rtol=0)
    with torch.no_grad():
        seen = bench.network.features(batch.images, batch.modality).necked
    found = bench.method.step(batch)
    queries = normalize(seen)
    given = torch.from_numpy(labels)[batch.index]
    expected_total = 0.0
    for kind in Modality:
        expected_loss = 0.0
        for view in (0, 1):
            rows = ((batch.modality == kind) & (batch.view == view)).nonzero()[:, 0].tolist()
            terms = []
            for row in rows:
                logits = (before[kind.word].double() @ queries[row].double()) / 0.05
                terms.append(float(torch.logsumexp(logits, 0) - logits[given[row]]))
            expected_loss += sum(terms) / len(terms) if terms else 0.0
        assert float(found[kind.word].detach()) == pytest.approx(expected_loss, rel=1e-4)
        expected_total += expected_loss
    assert float(found["total"].detach()) == pytest.approx(expected_total, rel=1e-4)
    found["total"].backward()
    assert all(torch.equal(value, before[name]) for name, value in bench.rows().items())
    bench.method.after_step(batch)
    for kind in Modality:
        rows = batch.modality == kind
        moved = slow_bank(before[kind.word], queries[rows], given[rows], 0.3)
        torch.testing.assert_close(bench.rows()[kind.word], moved, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("setting", "value"), [("views", "averaged"), ("update", "batch_mean")])
def test_each_setting_reaches_the_banks(
    people: Dataset, small: RunSettings, setting: str, value: str
) -> None:
    found = []
    for changes in ({}, {setting: value}):
        recipe = with_method(small.model_copy(update={"iterations": 1}))
        method = recipe.method.model_copy(update=changes)
        bench = Bench(people, recipe.model_copy(update={"method": method}))
        (batch,) = bench.batches()
        told = {name: float(loss.detach()) for name, loss in bench.method.step(batch).items()}
        bench.method.after_step(batch)
        found.append((told, bench.rows()))
    (plain, moved), (other, moved_so) = found
    # of two views half of their sum; infrared images have one
    assert other["visible"] == pytest.approx(plain["visible"] / (2 if setting == "views" else 1))
    assert other["infrared"] == pytest.approx(plain["infrared"])
    for name, rows in moved.items():
        assert torch.allclose(rows, moved_so[name], atol=1e-6) == (setting == "views")


def test_in_backward_changes_what_two_views_learn_and_nothing_of_one(
    people: Dataset, small: RunSettings, trained: Any, same: Any
) -> None:
    """As its settings say: the habit harms a call only by another of the same bank in the same step."""
    few = small.model_copy(update={"epochs": 1, "iterations": 2})
    for views in (1, 2):
        plain, habit = (
            trained(with_method(few, views, compat={"in_backward": on}), Material(people))
            for on in (False, True)
        )
        assert same(plain, habit, "model.") == (views == 1)


def test_the_order_of_a_batch_changes_no_loss(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small.model_copy(update={"iterations": 1})))
    (batch,) = bench.batches()
    order = torch.randperm(len(batch.index), generator=torch.Generator().manual_seed(1))
    mixed = Batch(*(part[order] for part in (batch.images, batch.modality, batch.index, batch.view)))
    one, other = (bench.method.step(each) for each in (batch, mixed))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_too_few_clusters_name_the_modality(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, clusters={"eps": 0.01, "min_samples": 15}))
    with pytest.raises(
        TrainingError, match=r"clustering 40 visible images with eps 0\.01 and min_samples 15 made no"
    ):
        bench.method.begin_epoch(0, bench.look)
