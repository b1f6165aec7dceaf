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


@pytest.mark.parametrize("power", [3.0, 10.0])
@pytest.mark.parametrize("value", [0.0, 1e-3, 1e4])
def test_maps_of_any_size_have_a_finite_mean_and_gradient(power: float, value: float) -> None:
    """A dead channel, one whose tenth powers are below single precision, and one whose powers are above it."""
    x = torch.full((2, 3, 4, 2), value, requires_grad=True)
    made = GeneralisedMean(power)(x)
    assert torch.allclose(made, x.detach().amax((2, 3)), atol=1e-5)
    made.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_gradients_are_those_of_the_mean() -> None:
    pool = GeneralisedMean(3.0)
    x = torch.rand(2, 3, 4, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    (found,) = torch.autograd.grad(pool(x).square().sum(), x)
    (expected,) = torch.autograd.grad(x.pow(3).mean((2, 3)).pow(1 / 3).square().sum(), x)
    assert torch.allclose(found, expected, rtol=1e-4)


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
    names = ("gem", "gem-fixed", "gem-fixed-10", "average")
    values = {name: float(pool(name)(x).detach()) for name in names}
    tenth = ((1 + 2**10) / 2) ** 0.1
    assert values == pytest.approx(
        {"gem": 1.6509636, "gem-fixed": 1.6509636, "gem-fixed-10": tenth, "average": 1.5}
    )
    assert [each.requires_grad for each in pool("gem").parameters()] == [True]
    assert [each.requires_grad for each in pool("gem-fixed").parameters()] == [False]
    assert pool("gem").state_dict().keys() == pool("gem-fixed").state_dict().keys()
    with pytest.raises(
        TrainingError, match="there is no pooling 'maximum'; known are gem, gem-fixed, gem-fixed-10, average"
    ):
        pool("maximum")


def test_a_classifier_begins_small_and_has_no_bias() -> None:
    torch.manual_seed(0)
    made = classifier(500, 40)
    assert made.bias is None
    assert made.weight.shape == (40, 500)
    assert float(made.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
