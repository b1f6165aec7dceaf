"""Twin tails: what each sees, how stripes are cut and accumulated, weights, rates and export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.parity import draw_probes
from export.to_onnx import Description, export
from training import models, optimiser
from training.models import standard
from training.models.twin_tails import TwinTails
from training.settings import ModelSettings, OptimiserSettings
from vireid import bundle
from vireid.engines import open_engine
from vireid.errors import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ModelSettings(name="twin-tails-resnet18", width=0.125, height=96, columns=32)
KINDS = torch.tensor([0, 1, 1, 0, 1, 0])


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 96, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def built(**changes: Any) -> TwinTails:
    torch.manual_seed(0)
    network = models.build(SMALL.model_copy(update=changes))
    assert isinstance(network, TwinTails)
    return network


def used(network: TwinTails) -> TwinTails:
    """The same with statistics of images it has seen: a fresh network tells nothing apart."""
    for seed in range(20):
        shown = draw_probes(96, 32, count=8, seed=seed)
        network.features(torch.from_numpy(shown.images), torch.from_numpy(shown.modality))
    return network.eval()


def moved(network: TwinTails, name: str) -> dict[str, bool]:
    """What of the features changes if a part of the network does."""
    network.eval()
    before = network.features(images(6), KINDS)
    with torch.no_grad():
        for value in network.get_submodule(name).parameters():
            value.mul_(1.5).add_(0.1)
    after = network.features(images(6), KINDS)
    names = ("whole", "stripes", "holistic", "necked")
    return {each: not torch.allclose(getattr(before, each), getattr(after, each)) for each in names}


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("trunk", {"whole": True, "stripes": False, "holistic": False, "necked": True}),
        ("local_trunk", {"whole": False, "stripes": True, "holistic": True, "necked": True}),
        ("visible_trunk", {"whole": True, "stripes": True, "holistic": True, "necked": True}),
    ],
)
def test_each_tail_sees_the_shared_maps_and_nothing_of_the_other(part: str, changed: dict[str, bool]) -> None:
    assert moved(built(), part) == changed


def test_two_stages_and_the_stem_are_a_modalitys_own() -> None:
    names = set(built().state_dict())
    for stream in ("visible", "infrared"):
        own = {name.split(".")[1] for name in names if name.startswith(f"{stream}_trunk.")}
        assert own == {"layer1", "layer2"}
    for tail in ("trunk", "local_trunk"):
        assert {name.split(".")[1] for name in names if name.startswith(f"{tail}.")} == {"layer3", "layer4"}


@pytest.mark.parametrize(("height", "stripes"), [(96, 6), (128, 6), (96, 4), (96, 1), (288, 6)])
def test_a_stripe_sees_its_own_rows(height: int, stripes: int) -> None:
    """The gradient of a stripe reaches the rows of the last map that it should, by its definition, and no others."""
    network = built(height=height, stripes=stripes).eval()
    rows = height // 16
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _given: Any, made: torch.Tensor) -> None:
        made.retain_grad()
        kept.append(made)

    network.get_submodule("local_trunk.layer4").register_forward_hook(keep)
    picture = torch.randint(0, 256, (2, height, 32, 3), dtype=torch.uint8)
    for stripe in range(stripes):
        kept.clear()
        network.features(picture, KINDS[:2]).stripes[stripe].square().sum().backward()
        (maps,) = kept
        assert maps.shape[2] == rows
        assert maps.grad is not None
        reached = (maps.grad.abs().amax((0, 1, 3)) > 0).nonzero()[:, 0].tolist()
        start, stop = int(np.floor(stripe * rows / stripes)), int(np.ceil((stripe + 1) * rows / stripes))
        assert reached == list(range(start, stop))


def test_what_is_accumulated_is_the_weighted_sum_so_far() -> None:
    network = built()
    with torch.no_grad():
        network.shares.copy_(torch.arange(6.0))
    seen = network.features(images(6), KINDS)
    weights = torch.arange(6.0).exp() / torch.arange(6.0).exp().sum()
    expected = torch.stack([(weights[: s + 1, None, None] * seen.stripes[: s + 1]).sum(0) for s in range(6)])
    assert torch.allclose(seen.accumulated(seen.holistic), expected, atol=1e-6)
    assert torch.allclose(seen.holistic, expected.transpose(0, 1).flatten(1), atol=1e-6)
    seen.holistic.square().sum().backward()
    assert network.shares.grad is not None
    assert float(network.shares.grad.abs().max()) > 0


def test_an_embedding_holds_both_tails_at_equal_shares() -> None:
    network = used(built())
    seen = network.features(images(6), KINDS)
    expected = nn.functional.normalize(
        torch.cat(
            [nn.functional.normalize(seen.whole_necked), nn.functional.normalize(seen.holistic_necked)], 1
        )
    )
    found = network(images(6), KINDS)
    assert found.shape == (6, network.dim)
    assert torch.allclose(found, expected, atol=1e-6)
    # what classifiers get is as long as what batch norm gives
    assert torch.allclose(seen.necked.norm(dim=1), torch.full((6,), network.dim**0.5), rtol=1e-5)


def test_sizes_of_resnet50() -> None:
    network = models.build(ModelSettings(name="twin-tails-resnet50"))
    assert isinstance(network, TwinTails)
    assert (network.whole_dim, network.stripe_dim, network.dim) == (2048, 256, 2048 + 6 * 256)
    assert network.level_dim == 64 + 256 + 512 + 2 * (1024 + 2048)
    assert network.shares.softmax(0).tolist() == pytest.approx([1 / 6] * 6)


def test_levels_are_those_of_both_tails() -> None:
    network = built().eval()
    found = network.features(images(6), KINDS, levels=True)
    assert found.levels is not None
    assert found.levels.shape == (6, network.level_dim)
    assert torch.equal(found.necked, network.features(images(6), KINDS).necked)


def test_maps_with_fewer_rows_than_stripes_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"4 rows; 6 stripes need as many: set model\.height to 96"):
        built(height=64)


def test_standard_weights_go_into_both_streams_and_both_tails() -> None:
    one = models.build(SMALL.model_copy(update={"name": "one-stream-resnet18"}))
    parts = ("stem.", "trunk.")
    named = {key.partition(".")[2]: value for key, value in one.state_dict().items() if key.startswith(parts)}
    network = built()
    assert standard.load(network, {**named, "fc.weight": torch.zeros(1)}) == ["fc.weight"]
    found = network.state_dict()
    for tail in ("trunk", "local_trunk"):
        key = "layer4.1.conv2.weight"
        assert torch.equal(found[f"{tail}.{key}"], named[key])
    # stems, streams and tails are one standard network each: pooled alike, they give its map's mean
    for pooling in (network, one):
        pooling.eval()
    assert torch.allclose(
        network.features(images(6), KINDS).whole, one.features(images(6), KINDS).pooled, atol=1e-5
    )


def test_tails_and_streams_have_the_trunks_share_of_the_rate() -> None:
    modules = nn.ModuleDict({"model": built()})
    made = optimiser.build(modules, OptimiserSettings(name="sgd", rate=0.1, trunk_share=0.1))
    optimiser.set_rate(made, 0.1)
    rates = {id(each): group["lr"] for group in made.param_groups for each in group["params"]}
    for name, parameter in modules.named_parameters():
        if parameter.requires_grad:
            slow = "stem." in name or "trunk." in name
            assert rates[id(parameter)] == pytest.approx(0.01 if slow else 0.1), name


def test_one_exported_graph_serves_any_mixture(tmp_path: Path) -> None:
    network = used(built())
    made = bundle.read(export(network, Description("twins", "cm-emd"), tmp_path / "twins.zip"))
    assert made.manifest.model.dim == network.dim
    engine = open_engine(made, device="cpu")
    for count in (1, 7, 12):
        probes = draw_probes(96, 32, count=count, seed=3)
        for kinds in (probes.modality, 1 - probes.modality, np.zeros_like(probes.modality)):
            with torch.inference_mode():
                expected = network(torch.from_numpy(probes.images), torch.from_numpy(kinds)).numpy()
            found = engine.embed(probes.images, kinds)
            np.testing.assert_allclose(found, expected, atol=1e-5)
            assert (found * expected).sum(1).min() > 0.9999
