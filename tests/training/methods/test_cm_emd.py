"""CM-EMD: its terms, its switches, whom it leaves out, and that with everything off it is the identity loss alone."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from training import losses, methods, models
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import IdentitySampler, two_modalities
from training.materials import Material
from training.method_settings import CmEmdSettings, DanetSettings, SupervisedSettings
from training.settings import RunSettings
from vireid.datasets.split import Dataset, Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

NEVER: Any = None  # CM-EMD looks at nothing before an epoch
OFF: dict[str, Any] = {"local_weight": 0, "emd_weight": 0, "dl_weight": 0}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "sinkhorn": {"plan": "sinkhorn", "epsilon": 0.05, "ground": "squared"},
    "stripes": {"local": "stripes", "at": "necked", "ground": "cosine"},
    "accumulated": {"local": "accumulated", "aligned": "local", "dl": "plain", "dl_normalised": True},
    "whole": {"aligned": "whole", "dl": "off", "emd_normalised": False, "emd_weight": 0.2},
}


@pytest.fixture
def twins(small: RunSettings) -> RunSettings:
    """A recipe for a network with twin tails, of as many stripes as a map of 64 rows has."""
    network = {"name": "twin-tails-resnet18", "pooling": "gem", "stripes": 4}
    return small.model_copy(update={"model": small.model.model_copy(update=network)})


def made(people: Dataset, wanted: RunSettings, train: Split | None = None, **settings: Any) -> Any:
    torch.manual_seed(0)
    network = models.build(wanted.model)
    return methods.create(network, train or people.train, CmEmdSettings.model_validate(settings))


def batch_of(people: Dataset, wanted: RunSettings) -> Batch:
    """Three people, two images of each in each modality, as they are."""
    images = Images(people.train, Preprocess(64, 32), 64)
    draw = two_modalities(people.train.persons, people.train.modalities)
    sampler = IdentitySampler(draw, persons=3, images=2, iterations=1, seed=0)
    still = wanted.data.model_copy(update={"flip": 0, "pad": 0, "erase": 0, "exchange": 0, "grey": 0})
    (batch,) = loaders.batches(images, sampler, still, epoch=0, seed=0)
    return batch


def values(found: Any) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in found.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_is_learnt_by_heart(people: Dataset, twins: RunSettings, name: str) -> None:
    method = made(people, twins, label_smoothing=0.0, **VARIANTS[name])
    batch = batch_of(people, twins)
    learnt = [each for each in method.modules.parameters() if each.requires_grad]
    optimiser = torch.optim.Adam(learnt, lr=3e-3)
    first: dict[str, float] = {}
    for _ in range(40):
        found = method.step(batch)
        optimiser.zero_grad()
        found["total"].backward()
        optimiser.step()
        method.after_step(batch)
        first = first or values(found)
    last = values(found)
    assert last["identity"] < 0.2
    assert last["identity_local"] < 0.3
    for term in set(last) & {"emd", "emd_local", "dl"}:
        assert last[term] < 0.7 * first[term], term


def test_the_total_is_the_weighted_sum_of_what_its_terms_are(people: Dataset, twins: RunSettings) -> None:
    """Every term computed again here, from the network's features and the classifiers' weights."""
    weights = {"local_weight": 0.5, "emd_weight": 2.0, "dl_weight": 0.25}
    method = made(people, twins, **weights)
    for part in (method.modules["classifier"], *method.modules["local_classifiers"]):
        nn.init.normal_(part.weight, std=0.5)
    batch = batch_of(people, twins)
    found = values(method.step(batch))
    persons = people.train.persons
    labels = torch.from_numpy(np.searchsorted(np.unique(persons), persons[batch.index.numpy()]))
    with torch.no_grad():
        seen = method.network.features(batch.images, batch.modality)
        local = [*method.modules["local_classifiers"]]
        # four stripes, then what is accumulated up to each
        necked = [*seen.stripes_necked, *seen.holistic_necked.chunk(4, 1)]
        pooled = [*seen.stripes, *seen.holistic.chunk(4, 1)]

        def moved(rows: torch.Tensor) -> torch.Tensor:
            return losses.earth_movers(nn.functional.normalize(rows), labels, batch.modality)

        def told(classify: nn.Module, rows: torch.Tensor) -> torch.Tensor:
            return losses.identity(classify(rows), labels, 0.1)

        each = [told(classify, rows) for classify, rows in zip(local, necked, strict=True)]
        expected = {
            "identity": told(method.modules["classifier"], seen.whole_necked),
            "identity_local": torch.stack(each).mean(),
            "emd": moved(seen.whole),
            "emd_local": torch.stack([moved(rows) for rows in pooled]).mean(),
            "dl": losses.fisher_ratio(seen.holistic, labels, batch.modality),
        }
    for term, value in expected.items():
        assert found[term] == pytest.approx(float(value), rel=1e-4), term
    total = found["identity"] + 0.5 * found["identity_local"]
    total += 2 * (found["emd"] + found["emd_local"]) + 0.25 * found["dl"]
    assert found["total"] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("name", ["paper", "sinkhorn"])
def test_neither_order_nor_names_matter(people: Dataset, twins: RunSettings, name: str) -> None:
    """A batch in another order, and the same people under other numbers: the losses, and the network's gradient."""
    batch = batch_of(people, twins)
    order = torch.randperm(len(batch.index), generator=torch.Generator().manual_seed(1))
    turned = dataclasses.replace(
        batch, **{each: getattr(batch, each)[order] for each in ("images", "modality", "index", "view")}
    )
    # the last shall be the first; classifiers' weights go with their person
    names = {int(person): 100 - int(person) for person in np.unique(people.train.persons)}
    samples = tuple(dataclasses.replace(each, person=names[each.person]) for each in people.train.samples)
    plain, ordered = (made(people, twins, **VARIANTS[name]) for _ in range(2))
    renamed = made(people, twins, Split("train", samples), **VARIANTS[name])
    with torch.no_grad():
        for part in (renamed.modules["classifier"], *renamed.modules["local_classifiers"]):
            part.weight.copy_(part.weight.flip(0))
    found = []
    for method, shown in ((plain, batch), (ordered, turned), (renamed, batch)):
        told = method.step(shown)
        told["total"].backward()
        found.append((values(told), method.network.stripe_necks[0].norm.weight.grad))
    for told, gradient in found[1:]:
        assert told == pytest.approx(found[0][0], rel=1e-4)
        assert torch.allclose(gradient, found[0][1], atol=1e-5)


def test_terms_that_weigh_nothing_leave_the_baseline_bit_for_bit(
    people: Dataset, twins: RunSettings, trained: Any, same: Any
) -> None:
    """Each term by itself against the same run with the term left out, and all of them against identities alone."""
    few = twins.model_copy(update={"epochs": 2, "iterations": 2})

    def left(**settings: Any) -> Any:
        method = CmEmdSettings.model_validate(settings)
        return trained(few.model_copy(update={"method": method}), Material(people))

    nothing = left(**OFF)
    assert same(nothing, left(**OFF, dl="off", aligned="whole"))
    assert same(nothing, left(**OFF, plan="sinkhorn", ground="cosine", at="necked", emd_normalised=False))
    assert same(left(dl_weight=0), left(dl="off"))
    for name in OFF:
        assert not same(nothing, left(**{key: value for key, value in OFF.items() if key != name})), name


def test_a_run_resumes_as_if_it_had_not_stopped(
    people: Dataset, twins: RunSettings, trained: Any, same: Any
) -> None:
    sgd = twins.optimiser.model_copy(update={"name": "sgd", "rate": 0.05, "trunk_share": 0.1})
    wanted = twins.model_copy(update={"method": CmEmdSettings(), "optimiser": sgd})
    assert same(trained(wanted, Material(people)), trained(wanted, Material(people), stop=1))


def test_second_views_are_moved_too(people: Dataset, twins: RunSettings) -> None:
    """With every visible image shown twice, two of them go to each infrared one."""
    method = made(people, twins)
    batch = batch_of(people, twins)
    visible = (batch.modality == 0).nonzero()[:, 0]
    twice = torch.cat([torch.arange(len(batch.index)), visible])
    shown = dataclasses.replace(
        batch, **{each: getattr(batch, each)[twice] for each in ("images", "modality", "index", "view")}
    )
    method.modules.eval()
    once, both = values(method.step(batch)), values(method.step(shown))
    assert both["emd"] == pytest.approx(once["emd"], rel=1e-4)
    assert both["emd_local"] == pytest.approx(once["emd_local"], rel=1e-4)


def test_making_labels_changes_nothing(people: Dataset, twins: RunSettings) -> None:
    method = made(people, twins)
    before = {name: value.clone() for name, value in method.modules.state_dict().items()}
    draws = [method.begin_epoch(epoch, NEVER).draw for epoch in (0, 7)]
    for mine, theirs in zip(draws[0].parts, draws[1].parts, strict=True):
        assert np.array_equal(mine.labels, theirs.labels)
    assert all(torch.equal(value, before[name]) for name, value in method.modules.state_dict().items())


def test_people_of_one_modality_are_left_out_and_told(
    people: Dataset, twins: RunSettings, caplog: pytest.LogCaptureFixture
) -> None:
    lonely = int(people.train.persons[0])
    kept = tuple(
        each
        for each in people.train.samples
        if each.person != lonely or each.modality is not Modality.INFRARED
    )
    with caplog.at_level(logging.WARNING):
        method = made(people, twins, Split("train", kept))
    assert "1 persons have images of one modality only: their 8 images are left out" in caplog.text
    assert method.modules["classifier"].weight.shape[0] == 4
    draw = method.begin_epoch(0, NEVER).draw
    mine = np.array([each.person == lonely for each in kept])
    for part in draw.parts:
        assert (part.labels[mine] == -1).all()
        assert set(part.labels.tolist()) == {-1, 0, 1, 2, 3}


def test_what_it_cannot_learn_from_is_refused(
    people: Dataset, twins: RunSettings, small: RunSettings
) -> None:
    with pytest.raises(
        TrainingError,
        match=r"OneStream has none; set model\.name to one of twin-tails-resnet18, twin-tails-resnet50",
    ):
        made(people, small)
    unknown = dataclasses.replace(people.train.samples[0], person=-1)
    with pytest.raises(TrainingError, match="1 training images have no person; CM-EMD needs all of them"):
        made(people, twins, Split("train", (unknown, *people.train.samples[1:])))
    apart = tuple(
        dataclasses.replace(each, person=each.person + 50 * each.modality) for each in people.train.samples
    )
    with pytest.raises(
        TrainingError, match="5 persons have visible images and 5 infrared ones, nobody has both"
    ):
        made(people, twins, Split("train", apart))


@pytest.mark.parametrize("wanted", [SupervisedSettings(), DanetSettings()])
def test_methods_that_know_no_stripes_teach_both_tails(
    people: Dataset, twins: RunSettings, wanted: Any
) -> None:
    torch.manual_seed(0)
    network = models.build(twins.model)
    methods.create(network, people.train, wanted).step(batch_of(people, twins))["total"].backward()
    for part in ("trunk", "local_trunk", "projections", "visible_stem", "infrared_trunk"):
        grads = [value.grad for value in network.get_submodule(part).parameters()]
        assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads), part
        assert any(float(grad.abs().max()) > 0 for grad in grads if grad is not None), part


def test_mixed_precision_trains_too(
    people: Dataset, twins: RunSettings, trained: Any, tmp_path: Path
) -> None:
    wanted = twins.model_copy(update={"method": CmEmdSettings(), "amp": True, "epochs": 1})
    left = trained(wanted, Material(people))
    assert all(bool(torch.isfinite(value).all()) for value in left.values() if value.is_floating_point())
