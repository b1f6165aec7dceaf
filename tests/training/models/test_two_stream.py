"""The networks: names, shapes, modalities, mixtures."""

import pytest
import torch

from training import models
from training.settings import ModelSettings
from vireid.errors import TrainingError

SMALL = ModelSettings(name="two-stream-resnet18", width=0.125, height=64, columns=32)
# of torchvision's models without the classifier, stem counted once
STANDARD = {"two-stream-resnet18": 11_176_512, "two-stream-resnet50": 23_508_032}


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_the_trunk_and_one_stem_have_as_many_weights_as_the_standard_network(name: str) -> None:
    network = models.build(ModelSettings(name=name))
    counted = sum(p.numel() for p in network.trunk.parameters()) + sum(
        p.numel() for p in network.visible_stem.parameters()
    )
    assert counted == STANDARD[name]


def test_unit_rows_of_the_right_size() -> None:
    network = models.build(SMALL).eval()
    rows = network(images(3), torch.tensor([0, 1, 0]))
    assert rows.shape == (3, network.dim)
    assert torch.allclose(rows.norm(dim=1), torch.ones(3), atol=1e-5)


def test_a_row_alone_equals_the_row_in_a_mixed_batch() -> None:
    network = models.build(SMALL).eval()
    batch, kinds = images(6), torch.tensor([0, 1, 1, 0, 1, 0])
    together = network(batch, kinds)
    for row in range(6):
        alone = network(batch[row : row + 1], kinds[row : row + 1])
        assert torch.allclose(alone[0], together[row], atol=1e-5)


def test_the_modality_chooses_the_stem() -> None:
    network = models.build(SMALL).eval()
    same = images(1).expand(2, -1, -1, -1)
    visible, infrared = network(same, torch.tensor([0, 1]))
    assert not torch.allclose(visible, infrared, atol=1e-3)


def test_a_stem_serves_its_own_modality_and_no_other() -> None:
    network = models.build(SMALL).eval()
    batch, kinds = images(6), torch.tensor([0, 1, 1, 0, 1, 0])
    before = network(batch, kinds)
    with torch.no_grad():
        network.infrared_stem.conv1.weight.neg_()
    moved = (network(batch, kinds) - before).abs().amax(1)
    assert (moved[kinds == 0] == 0).all()
    assert (moved[kinds == 1] > 1e-3).all()


def test_training_and_evaluation_choose_the_same_stems() -> None:
    """With every batch norm on its fixed statistics, the two ways to choose a stem give the same rows."""
    network = models.build(SMALL)
    batch, kinds = images(6), torch.tensor([1, 0, 1, 1, 0, 0])
    network.eval()
    expected = network.features(batch, kinds).necked
    network.training = True
    assert torch.allclose(network.features(batch, kinds).necked, expected, atol=1e-5)
    # in any order of rows
    turned = torch.tensor([4, 0, 5, 2, 1, 3])
    found = network.features(batch[turned], kinds[turned]).necked
    assert torch.allclose(found, expected[turned], atol=1e-5)


def test_in_training_each_stem_sees_its_own_rows_in_their_order() -> None:
    network = models.build(SMALL).train()
    batch, kinds = images(4).float(), torch.tensor([1, 0, 1, 0])
    network.features(batch, kinds).necked.square().sum().backward()
    for stem in (network.visible_stem, network.infrared_stem):
        assert stem.conv1.weight.grad is not None
        assert stem.conv1.weight.grad.abs().max() > 0
    only = models.build(SMALL).train()
    only.features(batch, torch.zeros(4, dtype=torch.int64)).necked.square().sum().backward()
    assert only.infrared_stem.conv1.weight.grad is None
    # in evaluation mode statistics are fixed: order of rows must not matter
    network.eval()
    turned = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(network(batch, kinds)[turned], network(batch[turned], kinds[turned]), atol=1e-5)


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(TrainingError, match="there is no model 'resnet'"):
        models.build(ModelSettings(name="resnet"))
