"""OTLA: what it is told and uses, what each switch leaves out, what a stop must not lose."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training import losses, methods, models
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.materials import Material
from training.method_settings import OtlaSettings
from training.methods import METHODS, otla_labels
from training.settings import RunSettings
from vireid.datasets.split import Dataset
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

LATE = {"late": True, "training_pass": True, "stopping": True}


def with_method(small: RunSettings, **settings: Any) -> RunSettings:
    return small.model_copy(update={"method": OtlaSettings.model_validate(settings)})


def visible_classes(people: Dataset) -> tuple[int, ...]:
    """What a first stage may hand over: two persons taken for one, one not seen at all."""
    merged = np.where(people.train.persons == 2, 1, people.train.persons)
    known = (people.train.modalities == 0) & (people.train.persons != 5)
    return tuple(np.where(known, merged, -1).tolist())


class Bench:
    """A method and what it looks at, without a loop."""

    def __init__(self, people: Dataset, recipe: RunSettings, taken: tuple[int, ...] | None = None) -> None:
        torch.manual_seed(0)
        self.network = models.build(recipe.model)
        self.method = methods.create(self.network, people.train, recipe.method, None, taken)
        # an opinion, as after some training: a plan of equal answers is the same everywhere
        classifier: Any = self.method.modules["classifier"]
        torch.nn.init.normal_(classifier.weight, std=3.0)
        self.images = Images(people.train, Preprocess(64, 32), 64)
        self.recipe, self.modality, self.persons = recipe, people.train.modalities, people.train.persons

    def begin(self, epoch: int) -> Any:
        return self.method.begin_epoch(epoch, Look(self.network, self.images, self.recipe, epoch))

    def batches(self, epoch: int) -> list[Batch]:
        drawn = sampler(self.begin(epoch).draw, self.recipe)
        self.method.modules.train()
        return list(loaders.batches(self.images, drawn, self.recipe.data, epoch=epoch, seed=0))

    def bank(self) -> Tensor:
        return self.method.modules.state_dict()["labels.bank"].clone()


# ---- what it is told --------------------------------------------------------------
@pytest.mark.parametrize(
    ("setting", "whose"),
    [
        ("supervised", {Modality.VISIBLE, Modality.INFRARED}),
        ("semi-supervised", {Modality.VISIBLE}),
        ("unsupervised", set()),
    ],
)
def test_a_setting_says_whose_persons_are_told(setting: str, whose: set[Modality]) -> None:
    assert METHODS["otla"].told(OtlaSettings.model_validate({"setting": setting})) == whose


def test_who_is_on_infrared_images_changes_nothing_in_the_published_order_either(
    people: Dataset, small: RunSettings, trained: Any, same: Any, forgetting: Any
) -> None:
    wanted = with_method(small, compat=LATE)
    known = trained(wanted, Material(people))
    assert same(known, trained(wanted, Material(forgetting(people, Modality.INFRARED))))
    assert int(known["labels.bank"].max()) > 0


def test_labels_of_a_first_stage_say_how_many_classes_there_are(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, setting="unsupervised"), visible_classes(people))
    classifier: Any = bench.method.modules["classifier"]
    assert classifier.weight.shape[0] == 3  # of the five persons: 1 and 2 together, 3, 4


def test_who_is_on_visible_images_does_matter_when_semi_supervised(
    people: Dataset, small: RunSettings, trained: Any, same: Any
) -> None:
    """The tests above can fail: the same comparison with labels that are used."""
    wanted = with_method(small, setting="unsupervised")
    one, other = visible_classes(people), tuple(people.train.persons.tolist())
    assert not same(
        trained(wanted, Material(people, taken=one)), trained(wanted, Material(people, taken=other)), "model."
    )


def test_what_cannot_be_learnt_from_is_refused(people: Dataset, small: RunSettings, forgetting: Any) -> None:
    network = models.build(small.model)
    nobody = forgetting(people, Modality.VISIBLE)
    with pytest.raises(
        TrainingError, match="40 of 40 training images whose persons a semi-supervised OTLA must know"
    ):
        methods.create(network, nobody.train, OtlaSettings())
    alone = OtlaSettings(setting="unsupervised")
    with pytest.raises(TrainingError, match=r"no visible image has a label.*--stage1 RUN"):
        methods.create(network, people.train, alone)
    with pytest.raises(TrainingError, match="expected one each, and a setting that is told no true persons"):
        methods.create(network, people.train, OtlaSettings(), None, visible_classes(people))
    with pytest.raises(TrainingError, match="labels of 3 images"):
        methods.create(network, people.train, alone, None, (0, 1, 2))
    with pytest.raises(TrainingError, match="otla learns from no source set"):
        methods.create(network, people.train, OtlaSettings(), people.gallery)


# ---- what an epoch is made of ---------------------------------------------------------
def test_the_first_epoch_has_no_infrared_identities_and_later_ones_do(
    people: Dataset, small: RunSettings
) -> None:
    bench = Bench(people, with_method(small))
    first = bench.begin(0)
    assert first.labels is None
    assert (bench.bank() == -1).all()
    found = bench.method.step(bench.batches(0)[0])
    assert set(found) == {
        "identity",
        "triplet",
        "modality",
        "alignment_visible",
        "alignment_infrared",
        "total",
    }
    second = bench.begin(1)
    infrared = bench.modality == 1
    assert (second.labels.labels[infrared] == bench.bank().numpy()[infrared]).all()
    assert (second.labels.labels[infrared] >= 0).all()
    assert len(set(zip(second.labels.labels[~infrared], bench.persons[~infrared], strict=True))) == 5
    # twenty images shared out among five classes; the plan is even to 1e-6, its greatest entries nearly so
    sizes = np.bincount(second.labels.labels[infrared], minlength=5)
    assert sizes.min() >= 3
    assert second.told["largest_class"] == sizes.max() / 20 <= 0.25
    assert second.told["error"] <= 1e-6
    batch = bench.batches(1)[0]
    assert {"infrared_identity", "infrared_triplet"} < set(bench.method.step(batch))
    labels = second.labels.labels[batch.index.numpy()]
    assert (labels[batch.modality.numpy() == 0] == labels[batch.modality.numpy() == 1]).all()


@pytest.mark.parametrize("settings", [{"assignment": "argmax"}, {"compat": {"late": True}}])
def test_labelling_changes_no_weight_and_no_statistic(
    people: Dataset, small: RunSettings, settings: dict[str, Any]
) -> None:
    bench = Bench(people, with_method(small, **settings))
    bench.method.modules.train()
    before = {name: value.clone() for name, value in bench.method.modules.state_dict().items()}
    for epoch in (0, 1):
        bench.begin(epoch)
    assert bench.network.training
    after = bench.method.modules.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name != "labels.bank")


def test_the_published_pass_moves_statistics_and_only_those(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, compat=LATE))
    before = {name: value.clone() for name, value in bench.method.modules.state_dict().items()}
    bench.begin(0)
    after = bench.method.modules.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "model.neck.norm.running_mean" in moved
    assert all("running_" in name or "num_batches" in name for name in moved - {"labels.bank"})


def test_the_published_order_is_one_epoch_late(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small.model_copy(update={"iterations": 1}), compat={"late": True}))
    at_random = bench.bank()
    infrared = torch.from_numpy(bench.modality == 1)
    assert (at_random[infrared] >= 0).all()
    (batch,) = bench.batches(0)
    # the first epoch: infrared images take the labels of whoever stands in their place
    half = len(batch.index) // 2
    seen: list[Tensor] = []
    record = losses.batch_hard
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            losses, "batch_hard", lambda f, y, *more, **k: seen.append(y) or record(f, y, *more, **k)
        )
        bench.method.step(batch)
    assert torch.equal(seen[0], seen[1])
    drawn = set(batch.index[half:].tolist())
    changed = (bench.bank() != at_random).nonzero()[:, 0].tolist()
    assert set(changed) <= drawn  # the others keep what they had
    before = bench.bank()
    epoch = bench.begin(1)
    ir = epoch.draw.parts[1].labels
    assert (ir[infrared.numpy()] == before[infrared].numpy()).all()


def test_probabilities_are_averaged_over_an_image_seen_twice(
    people: Dataset, small: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks in training mode differ; what is assigned comes of the mean of each image's."""
    longer = small.model_copy(update={"iterations": 6})
    bench = Bench(people, with_method(longer, compat={"late": True, "training_pass": True}))
    seen: list[tuple[int, np.ndarray]] = []
    assigned: list[Tensor] = []
    true = otla_labels.transported
    draw = np.random.default_rng(0)

    def looked(_: Look, __: object, batches: list[np.ndarray]) -> np.ndarray:
        index = np.concatenate(batches)
        rows = draw.dirichlet(np.ones(5), len(index)).astype(np.float32)
        seen.extend(zip(index.tolist(), rows, strict=True))
        return rows

    monkeypatch.setattr(Look, "rows_in_training", looked)
    monkeypatch.setattr(
        otla_labels, "transported", lambda rows, **k: assigned.append(rows) or true(rows, **k)
    )
    bench.begin(0)
    images = sorted({image for image, _ in seen})
    assert len(images) < len(seen)
    for row, image in zip(assigned[0].numpy(), images, strict=True):
        np.testing.assert_allclose(row, np.mean([r for i, r in seen if i == image], 0), atol=1e-6)


def test_the_solver_stops_where_it_is_told(people: Dataset, small: RunSettings) -> None:
    loose, tight = (
        Bench(people, with_method(small, delta=2.0, tolerance=tolerance)).begin(1).told
        for tolerance in (0.5, 1e-6)
    )
    assert tight["error"] <= 1e-6 < loose["error"] <= 0.5
    assert loose["iterations"] < tight["iterations"]


# ---- losses ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "total"),
    [({}, 4.2), ({"alignment": "off"}, 3.6), ({"alignment": "off", "discriminator": False}, 2.6)],
)
def test_terms_of_1_add_up_to_their_weights(
    people: Dataset,
    small: RunSettings,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    total: float,
) -> None:
    one = torch.ones((), requires_grad=True)
    for name in ("identity", "batch_hard", "modality_bce"):
        monkeypatch.setattr(losses, name, lambda *_, **__: one * 1)
    monkeypatch.setattr(losses, "prediction_alignment", lambda *_: (one * 1, one * 1))
    bench = Bench(people, with_method(small, **settings))
    assert float(bench.method.step(bench.batches(1)[0])["total"].detach()) == pytest.approx(total)


def test_without_assignment_infrared_identities_weigh_nothing(people: Dataset, small: RunSettings) -> None:
    bench = Bench(people, with_method(small, assignment="off"))
    for epoch in (0, 1):
        assert not any("infrared_" in name for name in bench.method.step(bench.batches(epoch)[0]))
        assert bench.begin(epoch).labels is None


def test_a_class_gets_its_share(people: Dataset, small: RunSettings) -> None:
    """Class 1 stands for two of four persons: half of the infrared images are its own if shares are the visible ones."""
    for marginal, expected in (("visible", [10, 5, 5]), ("uniform", [7, 7, 6])):
        bench = Bench(
            people, with_method(small, setting="unsupervised", marginal=marginal), visible_classes(people)
        )
        labels = bench.begin(1).labels.labels[bench.modality == 1]
        sizes = sorted(np.bincount(labels, minlength=3).tolist(), reverse=True)
        assert np.abs(np.array(sizes) - expected).max() <= 1


# ---- what a stop must not lose ----------------------------------------------------------
def test_resuming_in_the_published_order_equals_never_having_stopped(
    people: Dataset, small: RunSettings, trained: Any, same: Any
) -> None:
    wanted = with_method(small, compat=LATE, grl_step=5)
    whole = trained(wanted, Material(people))
    assert same(whole, trained(wanted, Material(people), stop=1))
    assert same(whole, trained(wanted, Material(people), stop=2))
    # nine steps of five; looks in between do not count
    assert int(whole["reversal.count"]) == 5 * wanted.epochs * wanted.iterations


def test_supervised_learns_from_all_persons(
    people: Dataset, small: RunSettings, trained: Callable[..., Any]
) -> None:
    weights = trained(with_method(small, setting="supervised"), Material(people))
    assert weights["classifier.weight"].shape[0] == 5
    assert (weights["labels.bank"] == -1).all()


def test_a_pass_in_training_needs_the_published_order() -> None:
    with pytest.raises(ValueError, match="'training_pass' looks at the batches that 'late' draws"):
        OtlaSettings.model_validate({"compat": {"training_pass": True}})
