"""What every method of the catalogue promises, whatever it learns from: one suite over all of them.

A method of its own has its own file beside this one; there stands what only it does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training import chance, checkpoint, methods, models, run
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.materials import Material
from training.method import Epoch
from training.methods import METHODS
from training.settings import RunSettings
from vireid.datasets.split import Dataset, Split
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

EPOCHS = 3
NEAR = {"k1": 6, "k2": 2, "eps": 0.6, "min_samples": 2}
TINY = {
    "epochs": EPOCHS,
    "iterations": 2,
    "seed": 5,
    "threads": 1,
    "tensorboard": "off",
    "model": {
        "name": "one-stream-resnet18",
        "width": 0.125,
        "height": 32,
        "columns": 16,
        "pooling": "average",
    },
    "data": {"persons": 4, "images": 2, "pad": 2, "ahead": 0},
    "optimiser": {"rate": 1e-3, "clip_norm": 0.0},
    "schedule": {"warmup_epochs": 0},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A method in one of its settings.

    Attributes:
        method: its settings.
        model: what differs in its network.
        views: of visible images.
        source: whether a labelled source set is there.
        taken: whether it learns from labels of an earlier stage.
    """

    method: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    views: int = 1
    source: bool = False
    taken: bool = False

    def recipe(self, **method: Any) -> RunSettings:
        told: dict[str, Any] = {**TINY}
        told["model"] = {**told["model"], **self.model}
        told["data"] = {**told["data"], "views": self.views}
        told["method"] = {**self.method, **method}
        return RunSettings.model_validate(told)


CASES = {
    "supervised": Case({"name": "supervised"}),
    "danet": Case({"name": "danet"}),
    "cm-emd": Case({"name": "cm-emd"}, {"name": "twin-tails-resnet18", "stripes": 2}),
    "otla": Case({"name": "otla"}),
    "otla-supervised": Case({"name": "otla", "setting": "supervised"}),
    "otla-unsupervised": Case({"name": "otla", "setting": "unsupervised"}, taken=True),
    "spcl": Case({"name": "spcl", **NEAR}),
    "spcl-source": Case({"name": "spcl", **NEAR}, source=True),
    "dcl": Case({"name": "dcl", "clusters": NEAR}, views=2),
    "miot": Case({"name": "miot", "warmup_epochs": 1, "clusters": NEAR}, views=2),
    "mult": Case({"name": "mult", "dcl_epochs": 1, "clusters": NEAR}, {"name": "two-stream-resnet18"}, 2),
}


def test_every_method_stands_here() -> None:
    assert {case.method["name"] for case in CASES.values()} == set(METHODS)


# ---- what they learn from ---------------------------------------------------------------
@pytest.fixture(scope="module")
def unscored(people: Dataset) -> Dataset:
    """Five people to learn from, and nobody to be scored on."""
    return replace(people, query=Split("query", ()), gallery=Split("gallery", ()))


@pytest.fixture(scope="module")
def others(people: Dataset) -> Split:
    """The visible images of those that are never trained with."""
    return people.gallery.of(Modality.VISIBLE)


@pytest.fixture(scope="module")
def material(unscored: Dataset, others: Split) -> Callable[..., Material]:
    """Give what a case learns from, with other training images if asked for."""

    def give(case: Case, train: Split | None = None) -> Material:
        taken = np.where(unscored.train.modalities == 0, unscored.train.persons, -1)
        return Material(
            unscored if train is None else replace(unscored, train=train),
            others if case.source else None,
            tuple(taken.tolist()) if case.taken else None,
        )

    return give


Left = dict[str, Any]


def _left(folder: Path) -> Left:
    """All that a checkpoint holds: weights, memories, moments, counters and how far it is."""
    with safe_open(folder / checkpoint.FILE, framework="pt") as file:
        told = {name: value for name, value in file.metadata().items() if name != "sum"}
        return told | {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _same(one: Left, other: Left, *beginning: str) -> bool:
    a, b = (
        {name: value for name, value in each.items() if name.startswith(beginning or ("",))}
        for each in (one, other)
    )
    return bool(a) and a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one.nan_to_num(-7), other.nan_to_num(-7)) if isinstance(one, Tensor) else one == other


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Left]:
    """Train, in one go or stopped and gone on with; return what is left."""

    def made(wanted: RunSettings, given: Material, stop: int | None = None) -> Left:
        folder = tmp_path_factory.mktemp("run")
        run.begin(folder, wanted, given, "cpu").loop.train(until=stop)
        if stop is not None:
            np.random.seed(0)  # noqa: NPY002 - chance that a resumed run must not depend on
            torch.manual_seed(0)
            run.go_on(folder, given, "cpu").loop.train()
        return _left(folder)

    return made


@pytest.fixture(scope="module")
def whole(train: Any, material: Any) -> Callable[[str], Left]:
    """Give what a case's whole run leaves; each is trained once."""
    made: dict[str, Left] = {}

    def give(name: str) -> Left:
        if name not in made:
            made[name] = train(CASES[name].recipe(), material(CASES[name]))
        return made[name]

    return give


class Bench:
    """A method and what it looks at, without a loop."""

    def __init__(self, case: Case, given: Material) -> None:
        self.recipe = case.recipe()
        torch.manual_seed(0)
        self.network = models.build(self.recipe.model)
        self.method: Any = methods.create(
            self.network, given.dataset.train, self.recipe.method, given.source, given.taken
        )
        for part in self.method.modules.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # its chance is by row
        size = Preprocess(self.recipe.model.height, self.recipe.model.columns)
        self.images = Images(given.images, size, 64)

    def begin(self, epoch: int) -> Epoch:
        chance.begin(self.recipe.seed, epoch, 0)
        begun: Epoch = self.method.begin_epoch(epoch, Look(self.network, self.images, self.recipe, epoch))
        return begun

    def batch(self, begun: Epoch, epoch: int) -> Batch:
        drawn = sampler(begun.draw, self.recipe)
        self.method.modules.train()
        return next(loaders.batches(self.images, drawn, self.recipe.data, epoch=epoch, seed=0))

    def learnt(self) -> dict[str, Tensor]:
        """Return parameters, and all that batch norms remember."""
        found = {name: value.detach().clone() for name, value in self.method.modules.named_parameters()}
        for name, part in self.method.modules.named_modules():
            if isinstance(part, _BatchNorm):
                found |= {f"{name}.{key}": value.clone() for key, value in part.named_buffers()}
        return found


# ---- labels -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
def test_labelling_changes_no_weight_and_no_statistic(name: str, material: Any) -> None:
    bench = Bench(CASES[name], material(CASES[name]))
    bench.method.modules.train()
    before = bench.learnt()
    assert any("running_mean" in key for key in before)
    for epoch in range(EPOCHS):
        bench.begin(epoch)
        assert bench.network.training
    after = bench.learnt()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_makes_the_same_labels(name: str, material: Any) -> None:
    one, other = (Bench(CASES[name], material(CASES[name])) for _ in range(2))
    for epoch in range(EPOCHS):
        begun = [bench.begin(epoch) for bench in (one, other)]
        labels = [each.labels for each in begun]
        if labels[0] is None or labels[1] is None:
            assert labels == [None, None]
        else:
            assert labels[0].sha256 == labels[1].sha256
        batches = [list(sampler(each.draw, one.recipe).epoch(epoch)) for each in begun]
        np.testing.assert_array_equal(*batches)


# ---- runs -------------------------------------------------------------------------------
@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_resuming_equals_never_having_stopped(
    name: str, stop: int, whole: Any, train: Any, material: Any
) -> None:
    assert _same(whole(name), train(CASES[name].recipe(), material(CASES[name]), stop=stop))


@pytest.mark.parametrize("name", CASES)
def test_persons_it_is_not_told_can_be_removed(
    name: str, whole: Any, train: Any, material: Any, unscored: Dataset, forgetting: Any
) -> None:
    case = CASES[name]
    told = METHODS[case.method["name"]].told(case.recipe().method)
    nobody = forgetting(unscored, *(set(Modality) - told)).train
    removed = nobody.persons < 0
    assert removed.sum() == sum(sample.modality not in told for sample in unscored.train.samples)
    if removed.any():
        assert _same(whole(name), train(case.recipe(), material(case, nobody)))
    else:
        # nothing to remove: then who they are must matter
        swapped = tuple(
            replace(sample, person=2 if sample.person == 1 and place % 2 else sample.person)
            for place, sample in enumerate(unscored.train.samples)
        )
        assert not _same(
            whole(name), train(case.recipe(), material(case, Split("train", swapped))), "weights."
        )


# ---- losses -----------------------------------------------------------------------------
def _values(found: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in found.items()}


def _turned(batch: Batch) -> Batch:
    """Put the rows of a batch into another order; second views stay in the order of the first ones."""
    first = torch.arange(int((batch.view == 0).sum()))
    order = first[torch.randperm(len(first), generator=torch.Generator().manual_seed(1))]
    if (batch.view == 1).any():
        visible = (batch.modality[first] == 0).nonzero()[:, 0]
        again = {int(row): len(first) + place for place, row in enumerate(visible)}
        order = torch.cat([order, torch.tensor([again[int(row)] for row in order if int(row) in again])])
    held = (each[order] for each in (batch.images, batch.modality, batch.index, batch.view))
    return Batch(*held, batch.parts)


@pytest.mark.parametrize("epoch", [0, EPOCHS - 1])
@pytest.mark.parametrize("name", CASES)
def test_the_order_of_a_batch_changes_no_loss(name: str, epoch: int, material: Any) -> None:
    bench = Bench(CASES[name], material(CASES[name]))
    for earlier in range(epoch):
        bench.begin(earlier)
    batch = bench.batch(bench.begin(epoch), epoch)
    turned = _turned(batch)
    assert not torch.equal(batch.index, turned.index)
    found = [_values(bench.method.step(each)) for each in (batch, turned)]
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.taken])
def test_renamed_persons_change_no_loss(name: str, material: Any, unscored: Dataset) -> None:
    """The last shall be the first; a classifier's weights go with their person."""
    case = CASES[name]
    samples = unscored.train.samples
    renamed = Split("train", tuple(replace(sample, person=99 - sample.person) for sample in samples))
    benches = [Bench(case, material(case)), Bench(case, material(case, renamed))]
    with torch.no_grad():
        for key, value in benches[1].method.modules.named_parameters():
            if value.ndim == 2 and len(value) == len(set(unscored.train.persons.tolist())):
                assert "model." not in key
                value.copy_(value.flip(0))
    batch = benches[0].batch(benches[0].begin(0), 0)
    benches[1].begin(0)
    benches[1].method.modules.train()
    found = [_values(bench.method.step(batch)) for bench in benches]
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-5)


# the case, a weight of 0, and the same run without the term
OFF: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "triplets": (
        "supervised", {"label_smoothing": 0.1, "triplet_weight": 0, "cross_weight": 0},
        "danet", {"label_smoothing": 0.1, "cc": "off", "ml": False},
    ),
    "danet": (
        "danet", {"cc_weight": 0, "ml_weight": 0, "sid_weight": 0},
        "danet", {"cc": "off", "ml": False},
    ),
    "cm-emd": (
        "cm-emd", {"emd_weight": 0, "dl_weight": 0, "aligned": "both"},
        "cm-emd", {"emd_weight": 0, "dl": "off", "aligned": "whole"},
    ),
    "discriminator": ("otla", {"discriminator_weight": 0}, "otla", {"discriminator": False}),
    "alignment": ("otla", {"visible_alignment": 0, "infrared_alignment": 0}, "otla", {"alignment": "off"}),
    "miot is dcl": (
        "miot",
        {
            "cross_weight": 0, "mutual_weight": 0, "visible_alignment": 0, "infrared_alignment": 0,
            "discriminator_weight": 0, "matching": {"way": "off"},
        },
        "dcl", {},
    ),
    "mult is dcl": ("mult", {"transfer": "off"}, "dcl", {}),
    "refinement": (
        "mult", {"refinement_weight": 0}, "mult", {"refinement_weight": 0, "refinement_temperature": 9},
    ),
}  # fmt: skip


@pytest.mark.parametrize("term", OFF)
def test_a_term_that_weighs_nothing_is_as_one_that_is_not_there(term: str, train: Any, material: Any) -> None:
    name, light, plain, absent = OFF[term]
    case = CASES[name]
    one = train(case.recipe(**light), material(case))
    other = train(replace(case, method=CASES[plain].method).recipe(**absent), material(case))
    # what both have; at least the network
    shared = [key for key in one.keys() & other.keys() if key.startswith("weights.")]
    assert any(key.startswith("weights.model.") for key in shared)
    assert all(_equal(one[key], other[key]) for key in shared)


@pytest.mark.parametrize("term", [term for term, (name, _, plain, _) in OFF.items() if name == plain])
def test_a_term_that_weighs_something_is_missed(term: str, train: Any, whole: Any, material: Any) -> None:
    """The comparison above can fail."""
    name, light, _, _ = OFF[term]
    assert not _same(whole(name), train(CASES[name].recipe(**light), material(CASES[name])), "weights.model.")
