"""Batch norm of its own for a source set."""

import pytest
import torch
from torch import nn

from training import models
from training.models.domains import SourceNorms
from training.settings import ModelSettings
from vireid.errors import TrainingError

SMALL = ModelSettings(name="one-stream-resnet18", width=0.125, height=64, columns=32, pooling="average")


def crops(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 64, 32, 3), generator=torch.Generator().manual_seed(seed)).float()


def test_each_set_gets_what_a_batch_norm_alone_would_give() -> None:
    """Against two plain batch norms, rows mixed in any order."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(5), nn.ReLU())
    twins = SourceNorms(net)
    alone = {True: nn.BatchNorm2d(5), False: nn.BatchNorm2d(5)}
    for seed in range(3):
        random = torch.Generator().manual_seed(seed)
        x = torch.randn(9, 5, 4, 2, generator=random)
        source = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0, 0], dtype=torch.bool)
        x[source] = x[source] * 4 + 7
        with twins.used(net, source):
            found = net(x)
        for kind, norm in alone.items():
            assert torch.allclose(found[source == kind], norm(x[source == kind]).relu(), atol=1e-5)
    for kind, norm in alone.items():
        own = twins.norms[0] if kind else net[0]
        assert torch.allclose(own.running_mean, norm.running_mean, atol=1e-6)
        assert torch.allclose(own.running_var, norm.running_var, atol=1e-5)


def test_the_network_stays_the_targets() -> None:
    torch.manual_seed(0)
    network = models.build(SMALL)
    names, parts = list(network.state_dict()), list(network.named_modules())
    twins = SourceNorms(network)
    assert len(twins.norms) == 21  # a stem, eight blocks of two, three shortcuts, a neck
    kinds = torch.zeros(8, dtype=torch.int64)
    source = torch.arange(8) < 4
    with twins.used(network, source):
        network.features(crops(8), kinds).necked.square().sum().backward()
    assert list(network.state_dict()) == names
    assert list(network.named_modules()) == parts
    scale = twins.norms[0].weight
    assert scale.grad is not None
    assert scale.grad.abs().max() > 0
    # source rows must not have moved the target's statistics: the same pass with the target alone
    torch.manual_seed(0)
    only = models.build(SMALL)
    only.features(crops(8)[4:], kinds[4:])
    for (name, one), other in zip(network.state_dict().items(), only.state_dict().values(), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-5), name


def test_sets_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    network = models.build(SMALL)
    twins = SourceNorms(network)
    kinds, source = torch.zeros(8, dtype=torch.int64), torch.arange(8) >= 4
    with twins.used(network, source):
        before = network.features(crops(8), kinds).necked
        other = torch.cat([crops(8)[:4], crops(4, seed=9)])
        after = network.features(other, kinds).necked
    assert torch.allclose(before[:4], after[:4], atol=1e-5)
    assert not torch.allclose(before[4:], after[4:], atol=0.1)


def test_all_rows_may_be_the_sources_at_any_size() -> None:
    torch.manual_seed(0)
    network = models.build(SMALL).eval()
    twins = SourceNorms(network).eval()
    with torch.no_grad():
        for norm in twins.norms:
            norm.weight.mul_(1.5)
    kinds = torch.zeros(6, dtype=torch.int64)
    plain = network.features(crops(6), kinds).necked
    with twins.used(network):
        everything = network.features(crops(6), kinds).necked
        part = network.features(crops(6)[:2], kinds[:2]).necked
    assert torch.allclose(everything[:2], part, atol=1e-4)
    assert not torch.allclose(everything, plain, atol=0.1)
    assert torch.equal(network.features(crops(6), kinds).necked, plain)


def test_an_error_inside_leaves_the_network_as_it_was() -> None:
    network = models.build(SMALL)
    parts = list(network.named_modules())
    twins = SourceNorms(network)
    with (
        pytest.raises(TrainingError, match="got 3 rows, 8 are marked"),
        twins.used(network, torch.arange(8) < 4),
    ):
        network.features(crops(3), torch.zeros(3, dtype=torch.int64))
    assert list(network.named_modules()) == parts
