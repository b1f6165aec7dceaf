"""SpCL: what it clusters and remembers, what a source set adds, what a stop must not lose."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from training import methods, models
from training.data import loaders
from training.data.images import Images
from training.data.samplers import sampler
from training.features import Look
from training.labels.quality import assess
from training.materials import Material
from training.method_settings import SpclSettings
from training.methods import METHODS
from training.methods.spcl_clusters import Clusters
from training.settings import RunSettings
from vireid.datasets.split import Dataset, Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

# eight visible images of each of five people
NEAR: dict[str, Any] = {"k1": 6, "k2": 2, "eps": 0.6, "min_samples": 2}


def with_method(small: RunSettings, **settings: Any) -> RunSettings:
    return small.model_copy(update={"method": SpclSettings.model_validate({**NEAR, **settings})})


@pytest.fixture(scope="session")
def others(people: Dataset) -> Split:
    """A labelled set of other people: the visible images of those that are never trained with."""
    return people.gallery.of(Modality.VISIBLE)


class Bench:
    """A method and what it looks at, without a loop."""

    def __init__(self, people: Dataset, recipe: RunSettings, source: Split | None = None) -> None:
        torch.manual_seed(0)
        self.network = models.build(recipe.model)
        self.method: Any = methods.create(self.network, people.train, recipe.method, source)
        more = () if source is None else source.samples
        self.split = Split("train", people.train.samples + more)
        self.images, self.recipe = Images(self.split, Preprocess(64, 32), 64), recipe
        self.count = len(people.train)

    def begin(self, epoch: int) -> Any:
        return self.method.begin_epoch(epoch, Look(self.network, self.images, self.recipe, epoch))

    def rows(self) -> torch.Tensor:
        return self.method.modules["memory"].rows.clone()

    def train(self, epoch: int) -> None:
        drawn = sampler(self.begin(epoch).draw, self.recipe)
        self.method.modules.train()
        optimiser = torch.optim.Adam(self.method.modules.parameters(), lr=1e-3)
        for batch in loaders.batches(self.images, drawn, self.recipe.data, epoch=epoch, seed=0):
            optimiser.zero_grad()
            self.method.step(batch)["total"].backward()
            optimiser.step()
            self.method.after_step(batch)


# ---- what it is told ------------------------------------------------------------------
def test_infrared_images_change_nothing(people: Dataset, small: RunSettings, trained: Any, same: Any) -> None:
    dark = [
        place for place, sample in enumerate(people.train.samples) if sample.modality is Modality.INFRARED
    ]
    shuffled = list(people.train.samples)
    for place, other in zip(dark, reversed(dark), strict=True):
        shuffled[place] = people.train.samples[other]
    wanted = with_method(small)
    known = trained(wanted, Material(people))
    assert same(known, trained(wanted, Material(replace(people, train=Split("train", tuple(shuffled))))))


def test_no_true_person_is_told() -> None:
    assert METHODS["spcl"].told(SpclSettings()) == frozenset()


# ---- labels ---------------------------------------------------------------------------
def test_visible_images_alone_are_labelled(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, reliability=False))
    epoch = bench.begin(0)
    labels, kinds, persons = epoch.labels, people.train.modalities, people.train.persons
    assert (labels.labels[kinds == 1] == -1).all()
    assert (labels.labels[kinds == 0] >= 0).all()
    assert not labels.outlier[kinds == 1].any()
    sizes = np.bincount(labels.labels[kinds == 0])
    assert (sizes[labels.labels[labels.outlier]] == 1).all()
    assert (sizes[labels.labels[(kinds == 0) & ~labels.outlier]] > 1).all()
    assert epoch.told["clusters"] == (sizes > 1).sum()
    # coloured blocks are told apart by an untrained network too
    assert assess(persons[kinds == 0], labels.labels[kinds == 0]).ari > 0.5
    for batch in sampler(epoch.draw, bench.recipe).epoch(0):
        assert (kinds[batch] == 0).all()


def test_images_of_a_cluster_come_from_other_cameras(people: Dataset, small: RunSettings) -> None:
    """As SpCL draws them; a walk through a cluster without cameras would meet one camera twice in a while."""
    data = small.data.model_copy(update={"persons": 5, "images": 4})
    bench = Bench(people, with_method(small.model_copy(update={"data": data}), reliability=False))
    epoch = bench.begin(0)
    cameras, labels = people.train.cameras, epoch.labels.labels
    most = 0
    for batch in sampler(epoch.draw, bench.recipe).epoch(0):
        for label in set(labels[batch].tolist()):
            shown, there = cameras[batch[labels[batch] == label]], cameras[labels == label]
            assert len(set(shown.tolist())) == min(len(shown), len(set(there.tolist())))
            most = max(most, len(set(shown.tolist())))
    assert most > 2


def test_clusters_are_made_of_the_memory_not_of_another_look(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small))
    bench.train(0)
    remembered = bench.rows()
    never: Any = None
    second = bench.method.begin_epoch(1, never)
    made = Clusters(bench.recipe.method)  # type: ignore[arg-type]
    made.threshold.fill_(second.told["threshold"])
    assert (made.make(remembered.numpy()).labels == second.labels.labels[people.train.modalities == 0]).all()


def test_the_threshold_of_the_first_epoch_stays(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small))
    first = bench.begin(0).told["threshold"]
    random = torch.nn.functional.normalize(torch.randn(len(bench.rows()), bench.network.dim))
    close = bench.rows() + 0.7 * random
    bench.method.modules["memory"].reset(close)
    assert bench.begin(1).told["threshold"] == first
    assert float(bench.method.modules.state_dict()["clusters.threshold"]) == first


def test_too_few_clusters_stop_with_a_histogram(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, eps=0.03, min_samples=30))
    with pytest.raises(TrainingError, match=r"eps 0\.03 and min_samples 30 made no cluster \(40 outliers\)"):
        bench.begin(0)


def test_too_few_reliable_clusters_stop_too() -> None:
    clusters = Clusters(SpclSettings.model_validate({**NEAR, "eps": 0.5, "gap": 0.4}))
    clusters.threshold.fill_(-1.0)  # nothing is independent enough
    groups = np.eye(4, dtype=np.float32).repeat(6, 0) + np.random.default_rng(0).normal(0, 1e-3, (24, 4))
    with pytest.raises(TrainingError, match="of 4 clusters 0 can be relied on at a threshold of -1"):
        clusters.make(groups.astype(np.float32))


# ---- the memory -----------------------------------------------------------------------
def test_rows_move_after_the_step_and_only_those_seen(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small.model_copy(update={"iterations": 1})))
    drawn = sampler(bench.begin(0).draw, bench.recipe)
    bench.method.modules.train()
    (batch,) = loaders.batches(bench.images, drawn, bench.recipe.data, epoch=0, seed=0)
    before = bench.rows()
    bench.method.step(batch)["total"].backward()
    assert torch.equal(bench.rows(), before)
    bench.method.after_step(batch)
    visible = np.flatnonzero(bench.split.modalities == 0)
    moved = visible[(bench.rows() != before).any(1).numpy()]
    assert set(moved.tolist()) == set(batch.index.tolist())
    torch.testing.assert_close(bench.rows().norm(dim=1), torch.ones(len(before)))


def test_in_backward_the_memory_has_moved_before_the_optimiser(people: Dataset, small: RunSettings) -> None:
    one = small.model_copy(update={"iterations": 1})
    bench = Bench(people, with_method(one, compat={"in_backward": True}))
    drawn = sampler(bench.begin(0).draw, bench.recipe)
    bench.method.modules.train()
    (batch,) = loaders.batches(bench.images, drawn, bench.recipe.data, epoch=0, seed=0)
    before = bench.rows()
    found = bench.method.step(batch)
    assert torch.equal(bench.rows(), before)
    found["total"].backward()
    moved = bench.rows()
    assert not torch.equal(moved, before)
    bench.method.after_step(batch)
    assert torch.equal(bench.rows(), moved)


def test_without_a_source_the_moment_of_moving_changes_nothing(
    people: Dataset, others: Split, small: RunSettings, trained: Any, same: Any
) -> None:
    """As its settings say: the habit harms a call only by another of the same step."""
    plain, habit = with_method(small), with_method(small, compat={"in_backward": True})
    assert same(trained(plain, Material(people)), trained(habit, Material(people)), "model.")
    assert not same(
        trained(plain, Material(people, others)), trained(habit, Material(people, others)), "model."
    )


# ---- a source set ---------------------------------------------------------------------
def test_a_source_has_classes_in_the_memory_and_norms_of_its_own(
    people: Dataset, others: Split, small: RunSettings
) -> None:
    bench = Bench(people, with_method(small), others)
    classes = len(set(others.persons.tolist()))
    epoch = bench.begin(0)
    assert len(bench.rows()) == classes + int((people.train.modalities == 0).sum())
    memory = bench.method.modules["memory"]
    assert memory.labels[:classes].tolist() == list(range(classes))
    assert (memory.labels[classes:] >= classes).all()
    for batch in sampler(epoch.draw, bench.recipe).epoch(0):
        source = batch >= bench.count
        assert source.sum() == len(batch) / 2
    bench.train(0)
    own, theirs = (
        bench.network.neck.norm.running_mean,
        bench.method.modules["source_norms"].norms[-1].running_mean,
    )
    assert not torch.equal(own, theirs)
    assert (epoch.labels.labels[bench.count :] == -1).all()


def test_a_source_may_teach_alone_at_first(people: Dataset, others: Split, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, source_epochs=1), others)
    first = bench.begin(0)
    assert first.labels is None
    assert len(bench.rows()) == len(set(others.persons.tolist()))
    for batch in sampler(first.draw, bench.recipe).epoch(0):
        assert (batch >= bench.count).all()
    bench.train(0)
    assert bench.begin(1).labels is not None
    own, theirs = bench.network.neck.norm, bench.method.modules["source_norms"].norms[-1]
    assert torch.equal(own.running_mean, theirs.running_mean)
    # without a source there is nobody to wait for
    assert Bench(people, with_method(small, source_epochs=1)).begin(0).labels is not None


def test_what_is_no_source_is_refused(people: Dataset, others: Split, small: RunSettings) -> None:
    network, wanted = models.build(small.model), SpclSettings.model_validate(NEAR)
    with pytest.raises(TrainingError, match="without a person, or infrared ones"):
        methods.create(network, people.train, wanted, people.query)
    nameless = Split("train", tuple(replace(sample, person=-1) for sample in others.samples))
    with pytest.raises(TrainingError, match="without a person, or infrared ones"):
        methods.create(network, people.train, wanted, nameless)
    with pytest.raises(TrainingError, match="no visible images to cluster"):
        methods.create(network, people.train.of(Modality.INFRARED), wanted)


# ---- what a stop must not lose --------------------------------------------------------
def test_resuming_while_the_source_teaches_alone_equals_never_having_stopped(
    people: Dataset, others: Split, small: RunSettings, trained: Any, same: Any
) -> None:
    wanted = with_method(small, source_epochs=2)
    material = Material(people, others)
    whole = trained(wanted, material)
    assert whole["clusters.threshold"].isfinite()
    for stop in (1, 2):
        assert same(whole, trained(wanted, material, stop=stop))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"eps": 0.99, "gap": 0.02}, "both between 0 and 1"),
        ({"k1": 3, "k2": 4}, "k2 <= k1"),
        ({"gap": 0}, "gap"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SpclSettings.model_validate(settings)
