"""MIOT: worked losses, what it shares with DCL, clusters in any proportion, and people of one modality only."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training import methods, models
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.labels.by_modality import Clustered
from training.materials import Material
from training.method import Known
from training.method_settings import DclSettings, MiotSettings
from training.methods import METHODS, within_modality
from training.methods.miot import Miot
from training.models.network import Embedded
from training.settings import RunSettings
from vireid.datasets.split import Dataset
from vireid.images.preprocess import Preprocess

pytestmark = pytest.mark.usefixtures("one_thread")

# eight visible and four infrared images of each of five people
NEAR: dict[str, Any] = {"k1": 6, "k2": 2, "eps": 0.6, "min_samples": 2}
SHARED = ("model.", "visible_bank.", "infrared_bank.")


def with_method(small: RunSettings, kind: Any = MiotSettings, **settings: Any) -> RunSettings:
    first = {"warmup_epochs": 1} if kind is MiotSettings else {}
    wanted = kind.model_validate({**first, "clusters": NEAR, **settings})
    return small.model_copy(update={"method": wanted, "data": small.data.model_copy(update={"views": 2})})


class Bench:
    """A method and what it looks at, without a loop."""

    def __init__(self, people: Dataset, recipe: RunSettings) -> None:
        torch.manual_seed(0)
        self.network = models.build(recipe.model)
        self.method: Any = methods.create(self.network, people.train, recipe.method)
        self.images, self.recipe = Images(people.train, Preprocess(64, 32), 64), recipe
        self.look = Look(self.network, self.images, recipe, 0)

    def begin(self, epoch: int = 1) -> tuple[Any, list[Batch]]:
        begun = self.method.begin_epoch(epoch, self.look)
        self.method.modules.train()
        drawn = sampler(begun.draw, self.recipe)
        return begun, list(loaders.batches(self.images, drawn, self.recipe.data, epoch=epoch, seed=0))


# ---- worked values --------------------------------------------------------------------
class Given(nn.Module):
    """A network whose features are its images."""

    dim = 2

    def features(self, images: Tensor, _modality: Tensor, *, levels: bool = False) -> Embedded:
        return Embedded(images, images)


class Seen:
    def __init__(self, features: np.ndarray) -> None:
        self._features = features

    def embeddings(self) -> np.ndarray:
        return self._features


def worked(monkeypatch: pytest.MonkeyPatch, temperature: float) -> dict[str, float]:
    modality = np.array([0, 0, 1, 1])
    made = Clustered(np.array([0, 1, 0, 1]), modality, {})
    monkeypatch.setattr(within_modality, "cluster_each", lambda *_: made)
    wanted = MiotSettings.model_validate(
        {"warmup_epochs": 0, "temperature": temperature, "discriminator": False, "alignment": "off"}
    )
    network, nobody = Given(), np.full(4, -1)
    miot = Miot(network, Known(nobody, modality, nobody, nobody > 0), wanted)  # type: ignore[arg-type]
    prototypes = np.array([[1, 0], [0, 1], [0.8, 0.6], [-0.6, 0.8]], np.float32)
    miot.begin_epoch(0, Seen(prototypes))  # type: ignore[arg-type]
    cross = torch.tensor([[0.948683, 0.316228], [-0.316228, 0.948683]])
    torch.testing.assert_close(miot.modules["cross_bank"].rows, cross, atol=1e-5, rtol=0)
    images = torch.tensor([[0.96, 0.28], [0.6, 0.8]])
    whose, zeros = torch.tensor([0, 2]), torch.zeros(2, dtype=torch.int64)
    found = miot.step(Batch(images, torch.tensor([0, 1]), whose, zeros))
    return {name: float(value) for name, value in found.items()}


def test_contrastive_losses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    found = worked(monkeypatch, 0.5)
    assert found["visible"] == pytest.approx(0.228458, abs=1e-5)
    assert found["infrared"] == pytest.approx(0.228458, abs=1e-5)
    assert found["cross"] == pytest.approx(0.118338 + 0.471829, abs=1e-5)
    assert found["mutual"] == pytest.approx(0.073323 + 0.913015, abs=1e-5)
    assert found["total"] == pytest.approx(sum(found.values()) - found["total"], abs=1e-5)
    sharp = worked(monkeypatch, 0.05)
    assert sharp["mutual"] == pytest.approx(4.018150, abs=1e-5)
    assert sharp["cross"] == pytest.approx(0.006328, abs=1e-5)


# ---- what it is told ------------------------------------------------------------------
def test_no_true_person_is_told() -> None:
    assert METHODS["miot"].told(MiotSettings()) == frozenset()


# ---- DCL within -----------------------------------------------------------------------
def test_without_matching_and_discriminator_it_is_dcl_to_the_bit(
    people: Dataset, small: RunSettings, trained: Any, same: Any
) -> None:
    few = small.model_copy(update={"epochs": 2, "iterations": 2})
    dcl = trained(with_method(few, DclSettings), Material(people))
    off: dict[str, Any] = {"warmup_epochs": 0, "matching": {"way": "off"}}
    nobody: list[dict[str, Any]] = [
        {"warmup_epochs": 0, "matching": {"min_mass": 1.0, "unmatched": unmatched}}
        for unmatched in ("apart", "left_out")
    ]
    for less in ({"warmup_epochs": 9}, off, *nobody):
        assert same(dcl, trained(with_method(few, discriminator=False, **less), Material(people)), *SHARED)
    assert not same(dcl, trained(with_method(few, discriminator=False), Material(people)), "model.")


def test_weights_of_0_leave_dcl_to_the_bit(people: Dataset, small: RunSettings) -> None:
    """Batches aside, which show the same classes in both modalities once some are matched."""
    nothing = {
        "cross_weight": 0.0, "mutual_weight": 0.0, "visible_alignment": 0.0, "infrared_alignment": 0.0,
        "discriminator_weight": 0.0,
    }  # fmt: skip
    bench, dcl = Bench(people, with_method(small, **nothing)), Bench(people, with_method(small, DclSettings))
    _, (batch, *_) = bench.begin()
    dcl.begin()
    for each in (bench, dcl):
        found = each.method.step(batch)
        found["total"].backward()
    for (name, mine), theirs in zip(bench.network.named_parameters(), dcl.network.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None), name
        assert mine.grad is None or torch.equal(mine.grad, theirs.grad), name


# ---- matching -------------------------------------------------------------------------
def clustered(people: Dataset, visible: int, infrared: int) -> Clustered:
    """As many clusters of each modality as asked for, each of as many images, as they come."""
    kinds, labels = people.train.modalities, np.zeros(len(people.train), np.int64)
    for kind, count in enumerate((visible, infrared)):
        rows = kinds == kind
        labels[rows] = np.arange(rows.sum()) * count // rows.sum()
    return Clustered(labels, kinds, {})


@pytest.mark.parametrize(("visible", "infrared"), [(5, 5), (10, 5), (10, 2), (2, 6), (5, 2), (40, 3)])
@pytest.mark.parametrize("cross", ["components", "demand"])
def test_clusters_in_any_proportion_train(
    people: Dataset,
    small: RunSettings,
    monkeypatch: pytest.MonkeyPatch,
    visible: int,
    infrared: int,
    cross: str,
) -> None:
    monkeypatch.setattr(within_modality, "cluster_each", lambda *_: clustered(people, visible, infrared))
    bench = Bench(people, with_method(small, matching={"cross": cross}))
    begun, batches = bench.begin()
    assert begun.told["clusters_visible"] == visible
    assert begun.told["cross_classes"] <= min(visible, infrared)
    if cross == "components":
        assert begun.told["matched_visible"] == begun.told["matched_infrared"] == 1.0
        assert set(begun.labels.labels) == set(range(begun.labels.classes))
    for batch in batches:
        found = bench.method.step(batch)
        assert torch.isfinite(found["total"])
        assert {"cross", "mutual", "modality"} <= set(found)
        found["total"].backward()
        bench.method.after_step(batch)


def test_batches_show_the_same_classes_in_both_modalities(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small))
    begun, _ = bench.begin()
    labels, kinds = begun.labels.labels, people.train.modalities
    for batch in sampler(begun.draw, bench.recipe).epoch(1):
        visible, infrared = np.split(batch, 2)
        assert (kinds[visible] == 0).all()
        assert (labels[visible] == labels[infrared]).all()
    # an image's class is that of its cluster, whatever its modality: some are shared
    assert set(labels[kinds == 0]) & set(labels[kinds == 1]) - {-1}


@pytest.mark.parametrize("unmatched", ["apart", "left_out"])
def test_nobody_seen_in_both_modalities_does_not_crash_and_is_reported(
    people: Dataset, small: RunSettings, unmatched: str
) -> None:
    bench = Bench(people, with_method(small, matching={"min_mass": 1.0, "unmatched": unmatched}))
    begun, batches = bench.begin()
    assert begun.told["cross_classes"] == begun.told["matched_visible"] == begun.told["matched_infrared"] == 0
    kinds, labels = people.train.modalities, begun.labels.labels
    assert not set(labels[(kinds == 0) & (labels >= 0)]) & set(labels[kinds == 1])
    clusters = int(begun.told["clusters_visible"] + begun.told["clusters_infrared"])
    assert set(labels) - {-1} == set(range(clusters))
    assert set(bench.method.step(batches[0])) == {"visible", "infrared", "modality", "total"}


def test_unmatched_clusters_are_learnt_from_within_their_modality(
    people: Dataset, small: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within_modality, "cluster_each", lambda *_: clustered(people, 10, 5))
    one_way = {"opposite": False}
    bench = Bench(people, with_method(small.model_copy(update={"iterations": 8}), matching=one_way))
    begun, batches = bench.begin()
    assert begun.told["matched_visible"] == 0.5 * begun.told["cross_classes"] / 5
    classes = bench.method._classes
    drawn = np.concatenate([batch.index.numpy() for batch in batches])
    assert (classes[drawn] == -1).any()
    before = bench.method.modules["cross_bank"].rows.clone()
    for batch in batches:
        bench.method.step(batch)["total"].backward()
        bench.method.after_step(batch)
    assert torch.isfinite(bench.method.modules["cross_bank"].rows).all()
    assert not torch.equal(bench.method.modules["cross_bank"].rows, before)
    bench = Bench(people, with_method(small, matching={**one_way, "unmatched": "left_out"}))
    _, batches = bench.begin()
    assert all((bench.method._classes[batch.index.numpy()] >= 0).all() for batch in batches)


def test_cross_prototypes_are_means_of_clusters_or_of_images(
    people: Dataset, small: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within_modality, "cluster_each", lambda *_: clustered(people, 5, 5))
    rows = {}
    for of in ("clusters", "images"):
        bench = Bench(people, with_method(small, matching={"prototypes": of}))
        begun, _ = bench.begin()
        features, labels = bench.look.embeddings(), begun.labels.labels
        rows[of] = bench.method.modules["cross_bank"].rows
        for number, row in enumerate(rows[of]):
            inside = [features[(labels == number) & (people.train.modalities == kind)] for kind in (0, 1)]
            mean = np.concatenate(inside).mean(0)
            if of == "clusters":
                own = bench.method._within.labels
                names = [
                    (k, c)
                    for k in (0, 1)
                    for c in set(own[(labels == number) & (people.train.modalities == k)])
                ]
                parts = [features[(people.train.modalities == k) & (own == c)].mean(0) for k, c in names]
                mean = np.mean([part / np.linalg.norm(part) for part in parts], 0)
            np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    assert not torch.allclose(rows["clusters"], rows["images"], atol=1e-6)


def test_the_total_is_the_weighted_sum_of_its_terms(people: Dataset, small: RunSettings) -> None:
    names = {
        "visible": "visible_weight", "infrared": "infrared_weight", "cross": "cross_weight", "mutual": "mutual_weight",
        "alignment_visible": "visible_alignment", "alignment_infrared": "infrared_alignment",
        "modality": "discriminator_weight",
    }  # fmt: skip
    weights = {name: 0.3 + 0.2 * place for place, name in enumerate(names)}
    bench = Bench(people, with_method(small, grl_step=20, **{names[name]: weights[name] for name in names}))
    _, (batch, *_) = bench.begin()
    found = {name: float(value.detach()) for name, value in bench.method.step(batch).items()}
    assert set(found) == {*names, "total"}
    assert found["total"] == pytest.approx(sum(weights[name] * found[name] for name in names), rel=1e-5)
    assert int(bench.method.modules["reversal"].count) == 20


def test_answers_are_aligned_of_matched_images_alone(
    people: Dataset, small: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within_modality, "cluster_each", lambda *_: clustered(people, 10, 5))
    many = small.model_copy(update={"iterations": 8})
    bench = Bench(people, with_method(many, discriminator=False, matching={"opposite": False}))
    _, batches = bench.begin()
    bench.method.modules.eval()  # rows do not depend on one another then
    classes = torch.from_numpy(bench.method._classes)
    batch, inside = next(
        (batch, matched)
        for batch, matched in ((each, classes[each.index] >= 0) for each in batches)
        if not matched.all() and (matched & (batch.modality == 0)).any()
    )
    alone = Batch(batch.images[inside], batch.modality[inside], batch.index[inside], batch.view[inside])
    one, other = (bench.method.step(each) for each in (batch, alone))
    for name in ("cross", "mutual", "alignment_visible", "alignment_infrared"):
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


def test_the_discriminator_sees_every_image_once(people: Dataset, small: RunSettings) -> None:
    """Second views would make two of three images visible."""
    bench = Bench(people, with_method(small))
    _, (batch, *_) = bench.begin()
    bench.method.modules.eval()  # rows do not depend on one another then
    first = batch.view == 0
    assert int((~first).sum()) > 0
    alone = Batch(batch.images[first], batch.modality[first], batch.index[first], batch.view[first])
    one, other = (bench.method.step(each)["modality"] for each in (batch, alone))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# ---- laws -----------------------------------------------------------------------------
def test_the_order_of_a_batch_changes_no_loss(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, discriminator=False))  # whose dropout is chance by place
    _, (batch, *_) = bench.begin()
    order = torch.randperm(len(batch.index), generator=torch.Generator().manual_seed(1))
    mixed = Batch(batch.images[order], batch.modality[order], batch.index[order], batch.view[order])
    one, other = (bench.method.step(each) for each in (batch, mixed))
    assert {"cross", "mutual", "alignment_visible", "alignment_infrared"} <= set(one)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_resuming_equals_never_having_stopped(
    people: Dataset, small: RunSettings, trained: Any, same: Any
) -> None:
    """Stopped where the warm-up ends and where it has ended; what the reversal has counted is kept."""
    wanted = with_method(small)
    whole = trained(wanted, Material(people))
    assert int(whole["reversal.count"]) == 9
    assert len(whole["cross_bank.rows"])
    for stop in (1, 2):
        assert same(whole, trained(wanted, Material(people), stop=stop))
