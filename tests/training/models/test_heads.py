"""Pooling and neck against values worked by hand."""

import pytest
import torch

from training.models.heads import Average, GeneralisedMean, Neck, classifier, pool
from vireid.errors import TrainingError


def test_generalised_mean() -> None:
    pool = GeneralisedMean(3.0)
    made = pool(torch.tensor([1.0, 2.0]).view(1, 1, 1, 2))
    assert float(made.detach()) == pytest.approx(((1 + 8) / 2) ** (1 / 3))
    assert float(made.detach()) == pytest.approx(1.6509636)
    made.sum().backward()
    assert pool.p.grad is not None
    # d/dp of ((1 + 2^p) / 2)^(1/p) by a difference
    low, high = (((1 + 2**p) / 2) ** (1 / p) for p in (2.9999, 3.0001))
    assert float(pool.p.grad) == pytest.approx((high - low) / 2e-4, rel=1e-3)


def test_between_the_mean_and_the_maximum() -> None:
    x = torch.rand(4, 5, 6, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(GeneralisedMean(1.0)(x), Average()(x), atol=1e-6)
    assert torch.allclose(GeneralisedMean(80.0)(x), x.amax((2, 3)), atol=0.04)


def test_a_dead_channel_has_a_finite_gradient() -> None:
    x = torch.zeros(2, 3, 4, 2, requires_grad=True)
    GeneralisedMean()(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_the_neck_learns_a_scale_and_no_shift() -> None:
    neck = Neck(4)
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)) * 3 + 5
    made = neck(x)
    assert torch.allclose(made.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(made.std(0, correction=0), torch.ones(4), atol=1e-3)
    made.square().sum().backward()
    assert neck.norm.weight.grad is not None
    assert neck.norm.bias.grad is None


def test_pooling_by_name() -> None:
    x = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    values = {name: float(pool(name)(x).detach()) for name in ("gem", "gem-fixed", "average")}
    assert values == pytest.approx({"gem": 1.6509636, "gem-fixed": 1.6509636, "average": 1.5})
    assert [each.requires_grad for each in pool("gem").parameters()] == [True]
    assert [each.requires_grad for each in pool("gem-fixed").parameters()] == [False]
    assert pool("gem").state_dict().keys() == pool("gem-fixed").state_dict().keys()
    with pytest.raises(
        TrainingError, match="there is no pooling 'maximum'; known are gem, gem-fixed, average"
    ):
        pool("maximum")


def test_a_classifier_begins_small_and_has_no_bias() -> None:
    torch.manual_seed(0)
    made = classifier(500, 40)
    assert made.bias is None
    assert made.weight.shape == (40, 500)
    assert float(made.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
