"""Refinement of one memory's answers by another's: worked values, its lower bound, where gradients go, its laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.losses import oclr


@pytest.fixture
def worked() -> tuple[Tensor, Tensor]:
    return (
        torch.tensor([[2.0, 0.0]], dtype=torch.float64, requires_grad=True),
        torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True),
    )


@pytest.mark.parametrize("detached", [True, False])
def test_the_worked_value_and_its_gradients(worked: tuple[Tensor, Tensor], detached: bool) -> None:
    prediction, target = worked
    loss = oclr(prediction, target, detach_target=detached)
    assert loss.item() == pytest.approx(0.1403137, abs=1e-6)
    into_prediction, into_target = torch.autograd.grad(loss, (prediction, target), allow_unused=True)
    torch.testing.assert_close(
        into_prediction, torch.tensor([[-0.11251, 0.11251]]).double(), atol=1e-5, rtol=0
    )
    if detached:
        assert into_target is None
    else:
        torch.testing.assert_close(
            into_target, torch.tensor([[-0.066481, 0.066481]]).double(), atol=1e-5, rtol=0
        )


def test_the_least_is_the_targets_entropy(worked: tuple[Tensor, Tensor]) -> None:
    _, target = worked
    least = oclr(target / 0.2, target)
    assert least.item() == pytest.approx(0.0401796, abs=1e-6)
    for shift in (-0.5, -0.1, 0.1, 0.5):
        assert oclr(target / 0.2 + torch.tensor([shift, 0.0]), target) > least


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 6), classes=st.integers(1, 6))
def test_order_of_rows_and_names_of_classes_do_not_matter(seed: int, rows: int, classes: int) -> None:
    random = torch.Generator().manual_seed(seed)
    prediction, target = (3 * torch.randn(rows, classes, generator=random).double() for _ in range(2))
    whole = oclr(prediction, target)
    order = torch.randperm(rows, generator=random)
    names = torch.randperm(classes, generator=random)
    torch.testing.assert_close(oclr(prediction[order][:, names], target[order][:, names]), whole)
    # a constant added to a row's logits changes no probability
    torch.testing.assert_close(oclr(prediction + 7, target - 5), whole)


def test_sharp_logits_of_low_precision_stay_finite() -> None:
    prediction = torch.tensor([[20.0, -20.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = oclr(prediction, torch.tensor([[-20.0, 20.0]], dtype=torch.bfloat16))
    (into_prediction,) = torch.autograd.grad(loss, prediction)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(40)
    assert torch.isfinite(into_prediction).all()
