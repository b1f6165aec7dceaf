"""The one-stream network, the levels of both kinds, and their export."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.parity import draw_probes
from export.to_onnx import Description, export
from training import models
from training.models import standard
from training.models.one_stream import OneStream
from training.settings import ModelSettings
from vireid import bundle
from vireid.engines import open_engine

SMALL = ModelSettings(name="one-stream-resnet18", width=0.125, height=64, columns=32, pooling="average")


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def test_there_is_one_stem() -> None:
    names = models.build(SMALL).state_dict()
    assert isinstance(models.build(SMALL), OneStream)
    assert sum(name.endswith("stem.conv1.weight") for name in names) == 1
    assert not [name for name in names if "visible" in name or "infrared" in name]


@pytest.mark.parametrize(
    ("name", "weights"), [("one-stream-resnet18", 11_176_512), ("one-stream-resnet50", 23_508_032)]
)
def test_it_has_as_many_weights_as_the_standard_network(name: str, weights: int) -> None:
    network = models.build(ModelSettings(name=name))
    counted = [part for key, part in network.named_parameters() if key.startswith(("stem.", "trunk."))]
    assert sum(part.numel() for part in counted) == weights


def test_modality_changes_nothing_and_company_neither() -> None:
    network = models.build(SMALL).eval()
    batch, kinds = images(6), torch.tensor([0, 1, 1, 0, 1, 0])
    together = network(batch, kinds)
    assert torch.equal(together, network(batch, 1 - kinds))
    assert torch.allclose(together.norm(dim=1), torch.ones(6), atol=1e-5)
    for row in range(6):
        assert torch.allclose(
            network(batch[row : row + 1], kinds[row : row + 1])[0], together[row], atol=1e-5
        )


def test_standard_weights_fit() -> None:
    network = models.build(SMALL)
    parts = ("stem.", "trunk.")
    named = {
        key.partition(".")[2]: torch.full_like(value, 2)
        for key, value in network.state_dict().items()
        if key.startswith(parts)
    }
    assert standard.load(network, {**named, "fc.weight": torch.zeros(1)}) == ["fc.weight"]
    assert all((value == 2).all() for key, value in network.state_dict().items() if key.startswith(parts))


@pytest.mark.parametrize("name", ["one-stream-resnet18", "two-stream-resnet18", "one-stream-resnet50"])
def test_levels_are_the_means_of_every_stage(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(SMALL.model_copy(update={"name": name})).eval()
    batch, kinds = images(4), torch.tensor([0, 1, 1, 0])
    seen: dict[str, torch.Tensor] = {}
    for part in ["trunk.layer1", "trunk.layer2", "trunk.layer3", "trunk.layer4"]:
        network.get_submodule(part).register_forward_hook(
            lambda _module, _given, made, part=part: seen.__setitem__(part, made.mean((2, 3)))
        )
    found = network.features(batch, kinds, levels=True)
    plain = network.features(batch, kinds)
    assert plain.levels is None
    assert torch.equal(found.necked, plain.necked)
    assert found.levels is not None
    assert found.levels.shape == (4, network.level_dim)
    stages = torch.cat([seen[part] for part in sorted(seen)], 1)
    assert torch.allclose(found.levels[:, -stages.shape[1] :], stages, atol=1e-6)
    # with average pooling the last level is what the neck gets
    assert torch.allclose(found.levels[:, -network.dim :], found.pooled, atol=1e-6)


def test_levels_of_resnet50_are_the_published_ones() -> None:
    assert models.build(ModelSettings(name="one-stream-resnet50")).level_dim == 64 + 256 + 512 + 1024 + 2048


def test_an_exported_graph_keeps_both_inputs_and_gives_each_row_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.build(SMALL)
    for seed in range(20):  # statistics of a network that has seen images: a fresh one tells nothing apart
        network.features(images(8, seed), torch.arange(8) % 2)
    network.eval()
    made = bundle.read(export(network, Description("one", "danet"), tmp_path / "one.zip"))
    engine = open_engine(made, device="cpu")
    probes = draw_probes(64, 32, count=7, seed=3)
    together = engine.embed(probes.images, probes.modality)
    with torch.inference_mode():
        expected = network(torch.from_numpy(probes.images), torch.from_numpy(probes.modality)).numpy()
    np.testing.assert_allclose(together, expected, atol=1e-5)
    for row in range(7):
        alone = engine.embed(probes.images[row : row + 1], probes.modality[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)
