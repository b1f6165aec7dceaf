"""Mutual learning and prediction alignment, against values worked by hand and slow references."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import TwoViews, identity, kl, mutual, mutual_from_teachers, prediction_alignment

VISIBLE = TwoViews(own=torch.tensor([[2.0, 0.0]]), other=torch.tensor([[0.0, 1.0]]))
INFRARED = TwoViews(own=torch.tensor([[1.0, 1.0]]), other=torch.tensor([[3.0, 0.0]]))


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def slow_kl(p: np.ndarray, q: np.ndarray) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))


def test_mutual_learning_of_the_paper() -> None:
    """Equation 5: 1.0068421 of the visible image, 0.5022822 of the infrared one."""
    alone = [
        slow_kl(softmax(each.other.numpy()[0]), softmax(each.own.numpy()[0])) for each in (VISIBLE, INFRARED)
    ]
    assert alone == pytest.approx([1.0068421, 0.5022822], abs=1e-6)
    assert float(mutual(VISIBLE, INFRARED)) == pytest.approx(1.5091243, abs=1e-6)


def test_mutual_learning_from_teachers() -> None:
    """Arguments reversed, 0.8287249 and 0.8554402, averaged over both images."""
    assert float(mutual_from_teachers(VISIBLE, INFRARED)) == pytest.approx(0.8420825, abs=1e-6)
    alone = [
        slow_kl(softmax(each.own.numpy()[0]), softmax(each.other.numpy()[0])) for each in (VISIBLE, INFRARED)
    ]
    assert alone == pytest.approx([0.8287249, 0.8554402], abs=1e-6)


def test_the_classifiers_own_losses() -> None:
    """Equation 4's terms, label 0."""
    label = torch.tensor([0])
    assert float(identity(VISIBLE.own, label)) == pytest.approx(0.126928, abs=1e-6)
    assert float(identity(INFRARED.own, label)) == pytest.approx(0.693147, abs=1e-6)


def test_equal_answers_cost_nothing() -> None:
    same = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    views = TwoViews(same, same + 3)  # a constant changes no probability
    assert float(mutual(views, views)) == pytest.approx(0, abs=1e-6)
    assert float(mutual_from_teachers(views, views)) == pytest.approx(0, abs=1e-6)


def test_gradients_go_where_they_are_said_to_go() -> None:
    leaves = [
        torch.randn(3, 4, generator=torch.Generator().manual_seed(k)).requires_grad_() for k in range(4)
    ]
    mutual(TwoViews(leaves[0], leaves[1]), TwoViews(leaves[2], leaves[3])).backward()
    assert all(leaf.grad is not None and leaf.grad.abs().max() > 1e-3 for leaf in leaves)
    own, other = leaves[0].detach().requires_grad_(), leaves[1].detach().requires_grad_()
    mutual_from_teachers(TwoViews(own, other), TwoViews(own, other)).backward()
    assert own.grad is not None
    assert own.grad.abs().max() > 1e-3
    assert other.grad is None


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_any_batch_against_a_slow_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 6, 2)
    drawn = [[random.normal(0, 2, (size, 4)) for _ in range(2)] for size in sizes]
    views = [TwoViews(*(torch.tensor(each) for each in pair)) for pair in drawn]
    paper = sum(
        np.mean([slow_kl(softmax(q), softmax(p)) for p, q in zip(own, other, strict=True)])
        for own, other in drawn
    )
    code = np.mean(
        [slow_kl(softmax(p), softmax(q)) for own, other in drawn for p, q in zip(own, other, strict=True)]
    )
    assert float(mutual(*views)) == pytest.approx(paper, abs=1e-9)
    assert float(mutual_from_teachers(*views)) == pytest.approx(code, abs=1e-9)


def test_a_modality_that_is_missing_costs_nothing() -> None:
    none = TwoViews(torch.zeros(0, 2), torch.zeros(0, 2))
    assert float(mutual(VISIBLE, none)) == pytest.approx(1.0068421, abs=1e-6)
    assert float(mutual_from_teachers(VISIBLE, none)) == pytest.approx(0.8287249, abs=1e-6)


def test_of_a_distribution_to_itself() -> None:
    p = torch.tensor([[0.2, 0.3, 0.5]]).log()
    q = torch.tensor([[0.6, 0.3, 0.1]]).log()
    assert float(kl(p, p)) == 0
    assert float(kl(p, q)) == pytest.approx(slow_kl(p.exp().numpy()[0], q.exp().numpy()[0]), abs=1e-6)
    assert float(kl(p, q)) > 0


def logits() -> tuple[torch.Tensor, torch.Tensor]:
    visible = torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64)
    infrared = torch.tensor([[2.0, 0], [1, 1]], dtype=torch.float64)
    return visible, infrared


def test_alignment_as_the_code_has_it() -> None:
    visible, infrared = (each.requires_grad_() for each in logits())
    first, second = prediction_alignment(visible, infrared)
    assert float(first.detach()) == pytest.approx(0.15957491, abs=1e-5)
    assert float(second.detach()) == pytest.approx(0.07018012, abs=1e-5)
    total = 0.1 * first + 0.5 * second
    assert float(total.detach()) == pytest.approx(0.05104755, abs=1e-5)
    total.backward()
    for leaf, expected in (
        (visible, [-0.057747, 0.038385, -0.016582, 0.053923]),
        (infrared, [0.049548, -0.034828, 0.044394, -0.044394]),
    ):
        assert leaf.grad is not None
        assert leaf.grad.flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_alignment_as_the_poster_reads() -> None:
    first, second = prediction_alignment(*logits(), "literal")
    assert float(first) == pytest.approx(0.17207468, abs=1e-5)
    assert float(second) == pytest.approx(0.07460985, abs=1e-5)
    assert float(0.1 * first + 0.5 * second) == pytest.approx(0.05451239, abs=1e-5)


def test_alignment_of_equal_predictions() -> None:
    """The second term is 0; the first is not, for mixing smooths."""
    visible, _ = logits()
    first, second = prediction_alignment(visible, visible)
    assert float(second) == 0
    assert float(0.1 * first) == pytest.approx(0.00306278, abs=1e-5)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=25)
def test_alignment_against_a_slow_reference(seed: int, literal: bool) -> None:
    random = np.random.default_rng(seed)
    v, r = random.normal(0, 2, (4, 5)), random.normal(0, 2, (4, 5))

    def mixed(asking: np.ndarray, asked: np.ndarray) -> list[np.ndarray]:
        made = []
        for row in asking:
            alike = [
                row @ each / (1 if literal else np.linalg.norm(row) * np.linalg.norm(each)) for each in asked
            ]
            blend = softmax(np.array(alike)) @ asked
            made.append(blend if literal else softmax(blend))
        return made

    p, q = ([softmax(row) for row in each] for each in (v, r))
    one, two = (np.array(p), np.array(q)) if literal else (v, r)
    first = np.mean([slow_kl(a, b) for a, b in zip(p, mixed(one, two), strict=True)])
    second = np.mean([slow_kl(a, b) for a, b in zip(mixed(two, one), mixed(two, two), strict=True)])
    found = prediction_alignment(torch.tensor(v), torch.tensor(r), "literal" if literal else "code")
    assert [float(each) for each in found] == pytest.approx([first, second], abs=1e-9)
