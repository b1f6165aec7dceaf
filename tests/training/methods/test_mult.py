"""MULT: what it is told, which labels it learns by turns, what its memories do, and what a stop must not lose."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from training import losses, methods, models
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.labels.by_modality import cluster_each
from training.materials import Material
from training.method_settings import DclSettings, MultSettings
from training.methods import METHODS
from training.methods.contrast import Contrast, query
from training.methods.mult_labels import Space
from training.settings import RunSettings
from vireid.datasets.split import Dataset, Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

V, R = Modality.VISIBLE, Modality.INFRARED
# eight visible and four infrared images of each of five people
NEAR: dict[str, Any] = {"k1": 4, "k2": 2, "eps": 0.7, "min_samples": 2}


def with_method(small: RunSettings, views: int = 2, **settings: Any) -> RunSettings:
    wanted = MultSettings.model_validate({"dcl_epochs": 1, "clusters": NEAR, **settings})
    data = small.data.model_copy(update={"persons": 4, "views": views})
    model = small.model.model_copy(update={"name": "two-stream-resnet18"})
    return small.model_copy(update={"method": wanted, "data": data, "model": model, "iterations": 2})


class Bench:
    """A method and what it looks at, without a loop."""

    def __init__(self, train: Split, recipe: RunSettings) -> None:
        torch.manual_seed(0)
        self.network = models.build(recipe.model)
        self.method: Any = methods.create(self.network, train, recipe.method)
        self.images, self.recipe = Images(train, Preprocess(64, 32), 64), recipe
        self.kinds = train.modalities

    def begin(self, epoch: int) -> Any:
        return self.method.begin_epoch(epoch, Look(self.network, self.images, self.recipe, epoch))

    def batch(self, epoch: int) -> Batch:
        drawn = sampler(self.begin(epoch).draw, self.recipe)
        self.method.modules.train()
        return next(loaders.batches(self.images, drawn, self.recipe.data, epoch=epoch, seed=0))

    def gradients(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.network.zero_grad()
        self.method.step(batch)["total"].backward()
        return {
            name: each.grad.clone() for name, each in self.network.named_parameters() if each.grad is not None
        }

    def rows(self) -> dict[str, torch.Tensor]:
        state: Mapping[str, torch.Tensor] = self.method.modules.state_dict()
        return {name: value.clone() for name, value in state.items() if name.endswith(".rows")}


@pytest.fixture
def bench(people: Dataset, small: RunSettings) -> Bench:
    return Bench(people.train, with_method(small))


# ---- what it is told ------------------------------------------------------------------
def test_who_is_on_the_images_changes_nothing(
    people: Dataset, small: RunSettings, trained: Any, same: Any, forgetting: Any
) -> None:
    wanted = with_method(small)
    known = trained(wanted, Material(people))
    assert same(known, trained(wanted, Material(forgetting(people, V, R))))
    assert METHODS["mult"].told(wanted.method) == frozenset()


# ---- labels ---------------------------------------------------------------------------
def test_labelling_changes_no_weight_and_no_statistic(bench: Bench) -> None:
    before = {name: value.clone() for name, value in bench.network.state_dict().items()}
    for epoch in (0, 2):
        bench.begin(epoch)
    assert all(torch.equal(before[name], value) for name, value in bench.network.state_dict().items())


def test_every_image_gets_a_label_in_either_space_and_epochs_take_turns(bench: Bench) -> None:
    for epoch, owner in ((2, V), (3, R)):
        made = bench.begin(epoch)
        classes = int(made.told[f"clusters_{owner.word}"])
        assert made.labels.made["space"] == owner.word
        assert made.labels.labels.min() >= 0
        assert made.labels.labels.max() < classes
        assert not made.labels.outlier.any()
        assert made.labels.confidence.min() >= 0.7
        shared = set(made.labels.labels[bench.kinds == V]) & set(made.labels.labels[bench.kinds == R])
        assert made.told[f"shared_{owner.word}"] == len(shared)
        assert made.told["sweeps_visible"] > 1


def test_first_epochs_and_an_epoch_without_transfer_learn_from_clusters(
    people: Dataset, small: RunSettings, bench: Bench
) -> None:
    off = Bench(people.train, with_method(small, transfer="off"))
    for each, epoch in ((bench, 0), (off, 2)):
        made = each.begin(epoch)
        labels, kinds = made.labels.labels, each.kinds
        assert not set(labels[kinds == V]) & set(labels[kinds == R]) - {-1}
        assert "sweeps_visible" not in made.told
        assert set(each.method.step(each.batch(epoch))) == {"visible", "infrared", "total"}


def test_without_transfer_it_is_dcl(people: Dataset, small: RunSettings, trained: Any, same: Any) -> None:
    wanted = with_method(small, transfer="off")
    plain = wanted.model_copy(update={"method": DclSettings.model_validate({"clusters": NEAR})})
    one, two = trained(wanted, Material(people)), trained(plain, Material(people))
    assert same(one, two, "model.")


def test_both_spaces_bring_half_of_a_batch_whatever_the_epoch(bench: Bench) -> None:
    for epoch in (2, 3):
        made = bench.begin(epoch)
        if made.draw.spaces == 1:
            pytest.fail("the drawn people share too few classes for this test")
        spaces = [bench.method._hard[kind].numpy() for kind in (V, R)]
        for index in sampler(made.draw, bench.recipe).epoch(epoch):
            parts = np.split(index, 4)
            assert [set(bench.kinds[part]) for part in parts] == [{V}, {R}, {V}, {R}]
            for place, hard in enumerate(spaces):
                assert (hard[parts[2 * place]] == hard[parts[2 * place + 1]]).all()


def test_halves_need_an_even_number_from_the_first_epoch_on(people: Dataset, small: RunSettings) -> None:
    odd = with_method(small)
    odd = odd.model_copy(update={"data": odd.data.model_copy(update={"persons": 3})})
    with pytest.raises(TrainingError, match=r"data\.persons is 3; two label spaces .* multiple of 2"):
        Bench(people.train, odd).begin(0)


def some(train: Split, visible: int, infrared: int) -> Split:
    """Keep the images of the first people of each modality; below zero: of the last."""
    names = sorted({sample.person for sample in train.samples})
    keep = {V: names[:visible], R: names[infrared:] if infrared < 0 else names[:infrared]}
    return Split("train", tuple(each for each in train.samples if each.person in keep[each.modality]))


@pytest.mark.parametrize(
    ("visible", "infrared"), [(4, 4), (4, 2), (5, -2), (2, 5), (3, -2)], ids=lambda count: str(count)
)
@pytest.mark.parametrize("transfer", ["asymmetric", "symmetric"])
def test_more_people_in_one_modality_or_none_in_both(
    people: Dataset, small: RunSettings, visible: int, infrared: int, transfer: str
) -> None:
    bench = Bench(some(people.train, visible, infrared), with_method(small, transfer=transfer))
    for epoch in (1, 2):
        made = bench.begin(epoch)
        assert {"shared_visible", "shared_infrared", "clusters_visible"} <= set(made.told)
        batch = bench.batch(epoch)
        assert torch.isfinite(bench.method.step(batch)["total"])
        bench.method.after_step(batch)


def test_a_space_with_too_few_shared_classes_is_left_out(bench: Bench) -> None:
    kinds = bench.kinds

    def space(*hard: int) -> Space:
        """Visible images in turn of the first class, infrared ones of the others."""
        labels = np.where(kinds == V, hard[0], np.resize(hard[1:], len(kinds))).astype(np.int64)
        return Space(np.eye(9, dtype=np.float32)[labels], labels, {})

    mixed = space(0, 1)
    mixed.hard[:] = np.arange(len(kinds)) % 4
    features = Look(bench.network, bench.images, bench.recipe, 0).embeddings()
    clusters = cluster_each(features, kinds, bench.recipe.method.clusters)  # type: ignore[attr-defined]
    both = bench.method._draw(clusters, {V: mixed, R: mixed}, 4)
    assert (both.spaces, both.paired, len(both.parts)) == (2, True, 4)
    for few in (space(0, 1), space(0, 1, 0)):  # a half of four persons needs two
        one = bench.method._draw(clusters, {V: few, R: mixed}, 4)
        assert (one.spaces, one.paired, len(one.parts)) == (1, True, 2)
        assert set(one.parts[1].labels) - {-1} == set(mixed.hard[kinds == R])
    neither = bench.method._draw(clusters, {V: space(0, 1), R: space(0, 1, 0)}, 4)
    assert not neither.paired


# ---- losses and memories --------------------------------------------------------------
@pytest.mark.parametrize("epoch", [2, 3])
def test_losses_are_the_published_terms(people: Dataset, small: RunSettings, epoch: int) -> None:
    weights = {"own_weight": 0.5, "shared_weight": 2.0, "refinement_weight": 0.25}
    bench = Bench(people.train, with_method(small, refinement_temperature=3.0, **weights))
    batch = bench.batch(epoch)
    memories: dict[tuple[Modality, str], Contrast] = bench.method._memories
    bench.network.eval()
    found = {name: float(value.detach()) for name, value in bench.method.step(batch).items()}
    q = query(bench.network.features(batch.images, batch.modality)).detach()
    rows = {
        "v": (batch.modality == 0) & (batch.view == 0),
        "a": batch.view == 1,
        "r": batch.modality == 1,
    }

    assert torch.equal(batch.index[rows["v"]], batch.index[rows["a"]])

    def at(name: str, space: Modality, role: str) -> torch.Tensor:
        return memories[space, role].logits(q[rows[name]])

    def ce(name: str, space: Modality, role: str) -> float:
        target = bench.method._soft[space][batch.index[rows[name]]]
        return float(losses.ce_soft(at(name, space, role), target))

    def oclr(name: str, refining: str, space: Modality, role: str) -> float:
        return float(losses.oclr(at(name, owner, "shared"), at(refining, space, role), 3.0))

    owner = V if epoch % 2 == 0 else R
    own = [ce("v", V, "own"), ce("a", V, "own"), ce("r", R, "own")]
    own += [ce("r", V, "crossed")] if owner == V else [ce("v", R, "crossed"), ce("a", R, "crossed")]
    shared = [ce(name, owner, "shared") for name in "var"]
    pairs = {"v": "a", "a": "v", "r": "r"}
    refined = [oclr(one, pairs[one], owner, role) for one in "var" for role in ("own", "crossed")]
    assert found["own"] == pytest.approx(sum(own), rel=1e-4)
    assert found["shared"] == pytest.approx(sum(shared), rel=1e-4)
    assert found["refinement"] == pytest.approx(sum(refined), rel=1e-4)
    total = 0.5 * found["own"] + 2 * found["shared"] + 0.25 * found["refinement"]
    assert found["total"] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("epoch", [2, 3])
def test_memories_move_after_the_step_by_those_they_are_for(bench: Bench, epoch: int) -> None:
    batch = bench.batch(epoch)
    before = bench.rows()
    bench.method.step(batch)["total"].backward()
    assert all(torch.equal(before[name], value) for name, value in bench.rows().items())
    bench.method.after_step(batch)
    after = bench.rows()
    moved = {
        name.removesuffix(".rows"): set((before[name] != after[name]).any(1).nonzero().ravel().tolist())
        for name in before
    }
    owner, guest = (V, R) if epoch % 2 == 0 else (R, V)
    hard, kinds = bench.method._hard, batch.modality
    for kind in (V, R):
        assert moved[f"{kind.word}_own"] == set(hard[kind][batch.index[kinds == kind]].tolist())
    assert moved[f"{owner.word}_shared"] == set(hard[owner][batch.index].tolist())
    assert moved[f"{owner.word}_crossed"] == set(hard[owner][batch.index[kinds == guest]].tolist())
    assert not moved[f"{guest.word}_shared"]
    assert not moved[f"{guest.word}_crossed"]


def test_all_six_memories_are_as_asked_for(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people.train, with_method(small, momentum=0.4, temperature=0.2))
    banks = [memory.bank for memory in bench.method._memories.values()]
    assert [(bank.momentum, bank.temperature) for bank in banks] == [(0.4, 0.2)] * 6


def test_in_backward_memories_have_moved_before_the_optimiser(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people.train, with_method(small, compat={"in_backward": True}))
    batch = bench.batch(2)
    before = bench.rows()
    bench.gradients(batch)
    moved = bench.rows()
    assert not torch.equal(before["visible_shared.rows"], moved["visible_shared.rows"])
    bench.method.after_step(batch)
    assert all(torch.equal(moved[name], value) for name, value in bench.rows().items())


def test_refining_answers_learn_nothing_unless_asked(people: Dataset, small: RunSettings) -> None:
    alone = {"own_weight": 0, "shared_weight": 0}
    clean = Bench(people.train, with_method(small, **alone))
    habit = Bench(people.train, with_method(small, **alone, compat={"attached": True}))
    one, two = (each.gradients(each.batch(2)) for each in (clean, habit))
    assert not all(torch.allclose(one[name], two[name]) for name in one)


@pytest.mark.parametrize("weight", ["own_weight", "shared_weight", "refinement_weight"])
def test_what_weighs_nothing_leaves_no_trace(people: Dataset, small: RunSettings, weight: str) -> None:
    """Bit for bit the gradient of the other two terms."""
    bench = Bench(people.train, with_method(small, **{weight: 0}))
    batch = bench.batch(2)
    found = bench.gradients(batch)
    bench.network.zero_grad()
    terms = bench.method.step(batch)
    kept = [terms[name] for name in ("own", "shared", "refinement") if not weight.startswith(name)]
    (kept[0] + kept[1]).backward()
    for name, each in bench.network.named_parameters():
        if each.grad is not None:
            assert torch.equal(found[name], each.grad)


def test_one_view_refines_itself(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people.train, with_method(small, views=1))
    batch = bench.batch(2)
    assert not batch.view.any()
    assert torch.isfinite(bench.method.step(batch)["refinement"])


# ---- stops ----------------------------------------------------------------------------
@pytest.mark.parametrize("stop", [1, 2])
def test_a_stop_changes_nothing(
    people: Dataset, small: RunSettings, trained: Any, same: Any, stop: int
) -> None:
    wanted = with_method(small)
    assert same(trained(wanted, Material(people)), trained(wanted, Material(people), stop=stop))


def test_renamed_people_change_nothing(people: Dataset, small: RunSettings, trained: Any, same: Any) -> None:
    renamed = Split(
        "train", tuple(replace(sample, person=1000 - sample.person) for sample in people.train.samples)
    )
    wanted = with_method(small)
    assert same(trained(wanted, Material(people)), trained(wanted, Material(replace(people, train=renamed))))
