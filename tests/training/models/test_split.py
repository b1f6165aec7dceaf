"""A ResNet divided between modalities after any of its stages."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.parity import draw_probes
from export.to_onnx import Description, export
from training import models
from training.models import standard
from training.models.two_stream import TwoStream
from training.settings import ModelSettings
from vireid import bundle
from vireid.engines import open_engine
from vireid.errors import TrainingError

SMALL = ModelSettings(name="two-stream-resnet18", width=0.125, height=64, columns=32)
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
SPLITS = [0, 1, 2, 3, 4, 5]
KINDS = torch.tensor([1, 0, 1, 1, 0, 0])


def split_at(split: int, **other: object) -> ModelSettings:
    return SMALL.model_copy(update={"split": split, **other})


def images(count: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 64, 32, 3), dtype=torch.uint8, generator=draw)


def own(network: torch.nn.Module, modality: str) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in network.named_parameters() if name.startswith(f"{modality}_")}


@pytest.mark.parametrize("split", SPLITS)
def test_the_first_stages_are_a_modalitys_own_and_the_others_shared(split: int) -> None:
    names = {name.rpartition(".")[0] for name in models.build(split_at(split)).state_dict()}
    stages = {name.split(".")[0] + "." + name.split(".")[1] for name in names if "layer" in name}
    mine, shared = LAYERS[: max(0, split - 1)], LAYERS[max(0, split - 1) :]
    assert stages == {f"trunk.{each}" for each in shared} | {
        f"{modality}_trunk.{each}" for modality in ("visible", "infrared") for each in mine
    }
    stems = {name.split(".")[0] for name in names if name.endswith("stem.conv1")}
    assert stems == ({"visible_stem", "infrared_stem"} if split else {"stem"})


def test_the_weights_of_a_split_stem_are_named_as_ever() -> None:
    names = [name for name in models.build(SMALL).state_dict() if name.endswith("conv1.weight")]
    assert names[:3] == [
        "visible_stem.conv1.weight",
        "infrared_stem.conv1.weight",
        "trunk.layer1.0.conv1.weight",
    ]
    assert SMALL.split == 1


@pytest.mark.parametrize("split", SPLITS)
def test_training_and_evaluation_pass_a_row_through_the_same_stages(split: int) -> None:
    """With every batch norm on its fixed statistics, the two ways to divide a batch give the same rows."""
    torch.manual_seed(0)
    network = models.build(split_at(split))
    for seed in range(4):
        network.features(images(6, seed), KINDS)
    network.eval()
    batch = images(6, 9)
    expected = network.features(batch, KINDS, levels=True)
    network.training = True
    for rows in (torch.arange(6), torch.tensor([4, 0, 5, 2, 1, 3]), torch.tensor([1, 4]), torch.tensor([0])):
        found = network.features(batch[rows], KINDS[rows], levels=True)
        assert torch.allclose(found.necked, expected.necked[rows], atol=1e-5)
        assert found.levels is not None
        assert expected.levels is not None
        assert found.levels.shape[1] == network.level_dim
        assert torch.allclose(found.levels, expected.levels[rows], atol=1e-5)


@pytest.mark.parametrize("split", SPLITS[1:])
def test_a_modality_teaches_its_own_stages_and_the_shared_ones(split: int) -> None:
    network = models.build(split_at(split)).train()
    network.features(images(4), torch.zeros(4, dtype=torch.int64)).necked.square().sum().backward()
    assert all(
        value.grad is not None and value.grad.abs().max() > 0 for value in own(network, "visible").values()
    )
    assert all(value.grad is None for value in own(network, "infrared").values())
    assert all(
        value.grad is not None for name, value in network.named_parameters() if name.startswith("trunk.")
    )


def test_batch_norm_in_training_sees_its_own_modality_only() -> None:
    """What an own stage remembers of a mixed batch is what it remembers of its own rows alone."""
    torch.manual_seed(0)
    mixed, alone = models.build(split_at(3)).train(), models.build(split_at(3)).train()
    alone.load_state_dict(mixed.state_dict())
    batch = images(6)
    mixed.features(batch, KINDS)
    alone.features(batch[KINDS == 1], KINDS[KINDS == 1])
    there, here = mixed.state_dict(), alone.state_dict()
    running = [name for name in here if name.startswith("infrared_") and "running" in name]
    assert len(running) > 10
    for name in running:
        assert torch.allclose(there[name], here[name], atol=1e-6), name
    assert not torch.allclose(
        there["trunk.layer3.0.bn1.running_mean"], here["trunk.layer3.0.bn1.running_mean"]
    )


@pytest.mark.parametrize("split", [0, 3, 5])
def test_standard_weights_go_into_every_copy(split: int) -> None:
    one = models.build(SMALL.model_copy(update={"name": "one-stream-resnet18"})).eval()
    parts = ("stem.", "trunk.")
    named = {key.partition(".")[2]: value for key, value in one.state_dict().items() if key.startswith(parts)}
    network = models.build(split_at(split)).eval()
    assert standard.load(network, named) == []
    # every copy the same: the split makes no difference yet
    batch = images(6)
    assert torch.allclose(network(batch, KINDS), one(batch, KINDS), atol=1e-5)
    assert torch.allclose(network(batch, 1 - KINDS), one(batch, KINDS), atol=1e-5)


def test_a_split_of_more_stages_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal to 5"):
        ModelSettings(name="two-stream-resnet18", split=6)
    with pytest.raises(
        ValueError, match="split=3 is of a two-stream network; 'one-stream-resnet18' has one stream"
    ):
        ModelSettings(name="one-stream-resnet18", split=3)
    with pytest.raises(TrainingError, match="split 0 stages; expected 1 to 5"):
        TwoStream(models.BACKBONES["resnet18"](0.125), 0, (64, 32), "gem")


@pytest.mark.parametrize("split", [3, 5])
def test_one_exported_graph_serves_any_mixture(split: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.build(split_at(split))
    for seed in range(20):  # statistics of a network that has seen figures: a fresh one tells nothing apart
        shown = draw_probes(64, 32, count=8, seed=seed)
        network.features(torch.from_numpy(shown.images), torch.from_numpy(shown.modality))
    network.eval()
    made = bundle.read(export(network, Description("split", "supervised"), tmp_path / "split.zip"))
    engine = open_engine(made, device="cpu")
    probes = draw_probes(64, 32, count=7, seed=3)
    for kinds in (probes.modality, 1 - probes.modality, np.zeros_like(probes.modality)):
        with torch.inference_mode():
            expected = network(torch.from_numpy(probes.images), torch.from_numpy(kinds)).numpy()
        found = engine.embed(probes.images, kinds)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert (found * expected).sum(1).min() > 0.9999
