"""Batch norm over groups: the same as a network that saw each group alone."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from training import models
from training.data.samplers import Draw, IdentitySampler, Part, two_modalities
from training.grouping import Grouping
from training.settings import ModelSettings
from vireid.errors import TrainingError

P, K = 4, 2
PART = P * K
SMALL = {"width": 0.125, "height": 64, "columns": 32}


def group_rows(rows: int, group: int) -> torch.Tensor:
    """Return the places of a group's rows in a batch of two parts."""
    slots = rows // 2
    own = torch.arange(slots) + group * slots
    return torch.cat([own, own + PART])


def network(name: str) -> nn.Module:
    torch.manual_seed(2)
    return models.build(ModelSettings.model_validate({"name": name, **SMALL})).train()


@pytest.mark.parametrize("name", ["two-stream-resnet18", "one-stream-resnet18"])
@pytest.mark.parametrize("rows", [4, 8])
def test_a_group_sees_what_it_would_see_alone(name: str, rows: int) -> None:
    images = torch.rand(2 * PART, 64, 32, 3) * 255
    modality = torch.arange(2 * PART) // PART
    alone = network(name)
    grouped = copy.deepcopy(alone)
    grouping = Grouping(rows)
    grouping.apply(grouped)
    assert grouped.state_dict().keys() == alone.state_dict().keys()
    with grouping.of(2 * PART, parts=2, images=K):
        found = grouped.features(images, modality).necked
    found.square().sum().backward()
    left, gradient = [], None
    for group in range(2 * PART // rows):
        single = copy.deepcopy(alone)
        places = group_rows(rows, group)
        made = single.features(images[places], modality[places]).necked
        assert torch.allclose(found[places], made, atol=1e-4)
        made.square().sum().backward()
        own = single.trunk.layer1[0].conv1.weight.grad
        gradient = own if gradient is None else gradient + own
        left.append(dict(single.named_buffers()))
    assert torch.allclose(grouped.trunk.layer1[0].conv1.weight.grad, gradient, rtol=1e-3, atol=1e-3)
    for name_, value in grouped.named_buffers():
        if "running" in name_:
            expected = torch.stack([each[name_] for each in left]).mean(0)
            assert torch.allclose(value, expected, rtol=1e-4, atol=1e-5), name_
        if "num_batches" in name_:
            assert int(value) == 1, name_


def outputs(change: Callable[[nn.Module], object]) -> torch.Tensor:
    made = network("two-stream-resnet18")
    change(made)
    torch.manual_seed(0)
    images, modality = torch.rand(2 * PART, 64, 32, 3) * 255, torch.arange(2 * PART) // PART
    found: torch.Tensor = made.features(images, modality).necked
    return found


def test_without_an_announced_batch_or_in_evaluation_nothing_changes() -> None:
    assert torch.equal(outputs(lambda made: None), outputs(lambda made: Grouping(4).apply(made)))

    def announced_in_evaluation(made: nn.Module) -> None:
        grouping = Grouping(4)
        grouping.apply(made.eval())
        grouping.of(2 * PART, 2, K).__enter__()

    assert torch.equal(outputs(nn.Module.eval), outputs(announced_in_evaluation))


def test_groups_have_whole_identities_in_both_modalities() -> None:
    labels, modality = np.repeat(np.arange(6), 8), np.tile([0, 0, 0, 0, 1, 1, 1, 1], 6)
    sampler = IdentitySampler(two_modalities(labels, modality), persons=P, images=K, iterations=9, seed=0)
    for batch in sampler.epoch(0):
        groups = [batch[group_rows(8, group).numpy()] for group in range(2)]
        shown = [set(labels[rows].tolist()) for rows in groups]
        assert not shown[0] & shown[1]
        for rows in groups:
            for label in set(labels[rows].tolist()):
                of = rows[labels[rows] == label]
                assert sorted(modality[of].tolist()) == [0] * K + [1] * K


def test_a_filled_part_has_as_many_rows_in_every_group() -> None:
    """A source's classes beside clusters, most of them single images."""
    source, target = np.full(40, -1), np.full(40, -1)
    source[:16], target[16:] = np.repeat(np.arange(4), 4), np.array([0] * 5 + [1] * 3 + list(range(2, 18)))
    draw = Draw((Part(source), Part(target, fill=True)), paired=False, shrink=True)
    grouping, norm = Grouping(8), nn.BatchNorm1d(3).train()
    grouping.apply(norm)
    for batch in IdentitySampler(draw, persons=P, images=K, iterations=9, seed=0).epoch(0):
        assert len(batch) == 2 * PART
        x = torch.randn(2 * PART, 3)
        with grouping.of(len(batch), parts=2, images=K):
            found = norm(x)
        for group in range(2):
            rows = group_rows(8, group)
            assert (source[batch[rows]] >= 0).sum() == (target[batch[rows]] >= 0).sum() == 4
            assert torch.allclose(found[rows], nn.BatchNorm1d(3).train()(x[rows]), atol=1e-5)


def test_a_smaller_batch_leaves_a_smaller_last_group() -> None:
    norm = nn.BatchNorm1d(3).train()
    x = torch.randn(2 * 6, 3)
    grouping = Grouping(8)  # 4 rows of each part; the batch has 6
    grouping.apply(norm)
    with grouping.of(12, parts=2, images=2):
        found = norm(x)
    for rows in ([0, 1, 2, 3, 6, 7, 8, 9], [4, 5, 10, 11]):
        assert torch.allclose(found[rows], nn.BatchNorm1d(3).train()(x[rows]), atol=1e-5)


def test_a_batch_smaller_than_a_group_is_one_group() -> None:
    grouping, norm = Grouping(32), nn.BatchNorm1d(3).train()
    x = torch.randn(2 * PART, 3)
    grouping.apply(norm)
    with grouping.of(2 * PART, 2, K):
        found = norm(x)
    assert torch.allclose(found, nn.BatchNorm1d(3).train()(x), atol=1e-6)


def test_groups_that_would_divide_an_identity() -> None:
    with (
        pytest.raises(
            TrainingError, match=r"bn_group is 6; expected a multiple of 4 rows \(2 parts x 2 images"
        ),
        Grouping(6).of(16, 2, 2),
    ):
        pass
