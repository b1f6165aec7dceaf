"""Cross-entropies: of classes nobody knows, of soft targets, and the capped one."""

import math

import pytest
import torch

from training.losses import capped, ce_soft, identity


@pytest.mark.parametrize(("classes", "value"), [(395, 5.9788858), (206, 5.3278762)])
def test_an_answer_that_says_nothing(classes: int, value: float) -> None:
    found = identity(torch.zeros(3, classes), torch.tensor([0, 5, classes - 1]))
    assert float(found) == pytest.approx(value, abs=1e-5)


def test_soft_targets() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    assert float(ce_soft(logits, torch.tensor([[0.7, 0.3]]))) == pytest.approx(0.726928, abs=1e-5)
    assert float(ce_soft(logits, torch.tensor([[1.0, 0.0]]))) == pytest.approx(0.126928, abs=1e-5)
    assert float(ce_soft(logits, torch.tensor([[1.0, 0.0]]))) == pytest.approx(
        float(identity(logits, torch.tensor([0]))), abs=1e-6
    )


@pytest.mark.parametrize("detach", [True, False])
def test_a_target_that_is_a_sharpened_prediction(detach: bool) -> None:
    logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    other = torch.tensor([[1.0, 0.0]], requires_grad=True)
    target = (other / 0.2).softmax(1)
    assert target[0].tolist() == pytest.approx([0.993307, 0.006693], abs=1e-5)
    loss = ce_soft(logits, target, detach_target=detach)
    assert float(loss.detach()) == pytest.approx(0.1403137, abs=1e-5)
    (back,) = torch.autograd.grad(loss, logits, retain_graph=True)
    assert back[0].tolist() == pytest.approx([-0.11251, 0.11251], abs=1e-5)
    (into,) = torch.autograd.grad(loss, other, allow_unused=True)
    if detach:
        assert into is None
    else:
        assert into[0].tolist() == pytest.approx([-0.066481, 0.066481], abs=1e-5)


def test_the_capped_loss_is_nearly_the_plain_one() -> None:
    logits, label = torch.tensor([[15.6, 16.0, -12.0]], dtype=torch.float64), torch.tensor([0])
    assert float(capped(logits, label)) == pytest.approx(0.9130128, abs=1e-6)
    assert float(identity(logits, label)) == pytest.approx(0.9130153, abs=1e-6)


def test_a_hopeless_sample_costs_the_cap_and_is_left_alone() -> None:
    logits = torch.tensor([[-20.0, 20.0, 20.0]], requires_grad=True)
    loss = capped(logits, torch.tensor([0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-math.log(1e-6), abs=1e-4)
    assert float(loss.detach()) == pytest.approx(13.8155, abs=1e-4)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-9


def test_sharp_temperatures_do_not_overflow() -> None:
    logits = torch.tensor([[300.0, 299.0], [-300.0, -301.0]], requires_grad=True)
    loss = capped(logits, torch.tensor([0, 0]))
    loss.backward()
    # where all powers are far below the constant beside their sum, the answer is that nothing is likely
    assert float(loss.detach()) == pytest.approx((math.log(1 + math.exp(-1)) - math.log(1e-6)) / 2, abs=1e-4)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
