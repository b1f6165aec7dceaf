"""Every one-stream method trains a vision transformer, goes on after a stop as if there had been none, and says what it needs."""

from typing import Any

import pytest
import torch
from torch import nn

from training import methods, models
from training.materials import Material
from training.method_settings import SETTINGS
from training.models.domains import SourceNorms
from training.settings import RunSettings, fitting, read
from vireid.datasets.split import Dataset, Split
from vireid.errors import TrainingError
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

# what fits eight visible and four infrared images of each of five people
NEAR: dict[str, Any] = {"k1": 4, "k2": 2, "eps": 0.6, "min_samples": 2}
# of two epochs the second has all of a method
NEAR |= dict.fromkeys(("dcl_epochs", "warmup_epochs", "source_epochs"), 1)
SMALL = {"name": "vit-tiny16", "width": 0.34, "depth": 2, "height": 64, "columns": 32, "pooling": "class"}


def near(given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a method, at any depth, with what a few images need."""
    return {
        name: near(value) if isinstance(value, dict) else NEAR.get(name, value)
        for name, value in given.items()
    }


def recipe(name: str, tiny: RunSettings, **changes: Any) -> RunSettings:
    """Its recipe for drawn people, but on a small transformer and with few images."""
    found = next(each for each in fitting(name) if each.startswith("synthetic"))
    settings = read(found).model_dump()
    small = {key: getattr(tiny, key) for key in ("epochs", "iterations", "seed", "threads", "tensorboard")}
    data = {**settings["data"], "persons": 4, "images": 2, "pad": 2}
    change = {**small, "epochs": 2, "model": SMALL, "data": data, "method": near(settings["method"])}
    clean = {
        "schedule": {"warmup_epochs": 1},
        "evaluate_first": False,
        "optimiser": {"rate": 1e-3},
        "stage1": {},
    }
    return RunSettings.model_validate({**settings, **change, **clean, **changes})


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_method_trains_it(name: str, people: Dataset, tiny: RunSettings, trained: Any) -> None:
    wanted = recipe(name, tiny)
    # a method of stripes has a network of its own
    if any(read(each).model.name.startswith("twin-tails") for each in fitting(name)):
        with pytest.raises(TrainingError, match="VisionTransformer has none"):
            methods.create(models.build(wanted.model), people.train, wanted.method)
        return
    torch.manual_seed(wanted.seed)
    before = {
        key: value for key, value in models.build(wanted.model).named_parameters() if value.requires_grad
    }
    after = trained(wanted, Material(people))
    # the key's bias changes no attention
    still = [
        key
        for key, value in before.items()
        if torch.equal(value, after[f"model.{key}"]) and not key.endswith("k_proj.bias")
    ]
    assert still == []
    # MIOT's across modalities too
    assert all(len(value) for key, value in after.items() if key.endswith(".rows"))
    assert all(bool(value.isfinite().all()) for value in after.values())


@pytest.mark.parametrize("name", ["supervised", "otla", "spcl"])
def test_a_stop_leaves_no_trace(
    name: str, people: Dataset, tiny: RunSettings, trained: Any, same: Any
) -> None:
    wanted = recipe(name, tiny)
    assert same(trained(wanted, Material(people)), trained(wanted, Material(people), stop=1))


def test_a_discriminator_sees_its_levels(people: Dataset, tiny: RunSettings, trained: Any) -> None:
    after = trained(recipe("otla", tiny), Material(people))
    (seen,) = [value for key, value in after.items() if key.endswith("levels.running_mean")]
    assert seen.shape == (5 * 64,)


def test_batch_norm_in_groups_divides_its_neck(people: Dataset, tiny: RunSettings, trained: Any) -> None:
    whole, divided = (trained(recipe("supervised", tiny, bn_group=rows), Material(people)) for rows in (0, 8))
    place = "model.neck.norm.running_var"
    assert not torch.equal(whole[place], divided[place])


def test_a_source_set_has_a_neck_of_its_own(
    people: Dataset, tiny: RunSettings, trained: Any, same: Any
) -> None:
    wanted = recipe("spcl", tiny)
    network = models.build(wanted.model)
    assert len(SourceNorms(network).norms) == 1
    assert [type(part) for part in network.modules() if "BatchNorm" in type(part).__name__] == [
        nn.BatchNorm1d
    ]
    others: Split = people.gallery.of(Modality.VISIBLE)
    with_source = trained(wanted, Material(people, others))
    own, theirs = (
        with_source[f"{place}.running_mean"] for place in ("model.neck.norm", "source_norms.norms.0")
    )
    assert not torch.equal(own, theirs)
    assert same(with_source, trained(wanted, Material(people, others), stop=1))


def test_half_precision_trains_it_too(people: Dataset, tiny: RunSettings, trained: Any) -> None:
    after = trained(recipe("otla", tiny, amp=True), Material(people))
    weights = [value for key, value in after.items() if key.startswith("model.trunk.")]
    assert weights
    assert all(value.dtype == torch.float32 and bool(value.isfinite().all()) for value in weights)
