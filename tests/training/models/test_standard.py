"""Standard weight files as a start."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training import models
from training.models import standard
from training.models.two_stream import TwoStream
from training.settings import ModelSettings
from vireid.errors import TrainingError

SMALL = ModelSettings(name="two-stream-resnet18", width=0.125, height=64, columns=32)


def named(network: TwoStream) -> dict[str, torch.Tensor]:
    """A network's weights under their standard names."""
    return {
        key.partition(".")[2]: value
        for key, value in network.state_dict().items()
        if key.startswith(("trunk.", "visible_stem."))
    }


@pytest.mark.parametrize("name", ["two-stream-resnet18", "two-stream-resnet50"])
def test_the_names_and_shapes_are_the_standard_ones(name: str) -> None:
    """Written from the definition of the network, not from the code under test."""
    deep = name.endswith("50")
    expected = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, (planes, count) in enumerate(
        zip((64, 128, 256, 512), (3, 4, 6, 3) if deep else (2, 2, 2, 2), strict=True), start=1
    ):
        outputs = planes * 4 if deep else planes
        for block in range(count):
            at = f"layer{stage}.{block}"
            kernels = [(planes, inputs, 1), (planes, planes, 3), (outputs, planes, 1)]
            if not deep:
                kernels = [(planes, inputs, 3), (planes, planes, 3)]
            for number, (out, into, side) in enumerate(kernels, start=1):
                expected[f"{at}.conv{number}.weight"] = (out, into, side, side)
                expected |= norm(f"{at}.bn{number}", out)
            if block == 0 and (deep or stage > 1):
                expected[f"{at}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                expected |= norm(f"{at}.downsample.1", outputs)
            inputs = outputs
    network = models.build(ModelSettings(name=name))
    assert {key: tuple(value.shape) for key, value in named(network).items()} == expected


def norm(at: str, planes: int) -> dict[str, tuple[int, ...]]:
    per_channel = {f"{at}.{key}": (planes,) for key in ("weight", "bias", "running_mean", "running_var")}
    return {**per_channel, f"{at}.num_batches_tracked": ()}


def test_a_file_goes_into_both_stems_and_the_trunk(tmp_path: Path) -> None:
    marked = {key: torch.full_like(value, 2) for key, value in named(models.build(SMALL)).items()}
    # weight files made before batch norm counted its batches have no counter
    older = {key: value for key, value in marked.items() if not key.endswith("num_batches_tracked")}
    assert len(older) < len(marked)
    save_file({**older, "fc.weight": torch.zeros(1)}, tmp_path / "resnet.safetensors")
    network = models.build(SMALL)
    assert standard.load(network, standard.read(tmp_path / "resnet.safetensors")) == ["fc.weight"]
    found = network.state_dict()
    for part in ("trunk.layer3.1.conv2.weight", "visible_stem.conv1.weight", "infrared_stem.bn1.running_var"):
        assert (found[part] == 2).all()
    assert not (found["neck.norm.weight"] == 2).any()


def test_weights_that_do_not_fit_change_nothing() -> None:
    network = models.build(SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    good = named(models.build(SMALL))
    for weights, said in (
        ({}, r"the weights hold nothing for conv1\.weight"),
        ({**good, "layer1.0.conv1.weight": torch.zeros(3, 3)}, r"hold \(3, 3\) for layer1\.0\.conv1\.weight"),
        ({**good, "bn1.bias": torch.full((8,), torch.nan)}, r"not finite for bn1\.bias"),
    ):
        with pytest.raises(TrainingError, match=said):
            standard.load(network, weights)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_files_that_are_no_safetensors(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there are no weights at"):
        standard.read(tmp_path / "none.safetensors")
    (tmp_path / "old.pth").write_bytes(b"PK\x03\x04 a pickle inside a zip")
    with pytest.raises(TrainingError, match="no safetensors file"):
        standard.read(tmp_path / "old.pth")


@pytest.mark.parametrize("name", ["two-stream-resnet18", "one-stream-resnet18"])
def test_a_run_of_one_stream_is_a_start(name: str, tmp_path: Path) -> None:
    learnt = models.build(SMALL.model_copy(update={"name": "one-stream-resnet18"})).state_dict()
    held = {f"weights.model.{key}": value for key, value in learnt.items()}
    save_file({**held, "optimiser.0.step": torch.zeros(1)}, tmp_path / "last.safetensors")
    network = models.build(SMALL.model_copy(update={"name": name}))
    assert standard.load(network, standard.read(tmp_path / "last.safetensors")) == []
    found = network.state_dict()
    assert torch.equal(found["trunk.layer3.1.conv2.weight"], learnt["trunk.layer3.1.conv2.weight"])
    stems = [key for key in found if key.endswith("stem.conv1.weight")]
    assert len(stems) == (2 if name.startswith("two") else 1)
    assert all(torch.equal(found[key], learnt["stem.conv1.weight"]) for key in stems)


def test_a_run_of_two_streams_is_no_start(tmp_path: Path) -> None:
    held = {f"weights.model.{key}": value for key, value in models.build(SMALL).state_dict().items()}
    save_file(held, tmp_path / "last.safetensors")
    with pytest.raises(
        TrainingError, match=r"infrared_stem and visible_stem of their own.*one-stream-resnet18"
    ):
        standard.read(tmp_path / "last.safetensors")
