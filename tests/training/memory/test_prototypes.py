"""The memory of prototypes, and its published form that changes during the backward pass."""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import identity
from training.memory import PrototypeBank, moving_logits

Update = Literal["instance", "batch_mean", "hardest"]


def bank(update: Update = "instance") -> PrototypeBank:
    made = PrototypeBank(2, 2, temperature=0.05, momentum=0.1, update=update)
    made.reset(torch.eye(2))
    return made


def test_the_loss_of_either_class() -> None:
    query = torch.tensor([[0.6, 0.8]])
    for label, value in ((0, 4.0181499), (1, 0.0181499)):
        assert float(identity(bank().logits(query), torch.tensor([label]))) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    ("gap", "value"), [(0.0, 0.693147), (0.1, 0.126928), (0.2, 0.018150), (0.5, 4.54e-5)]
)
def test_what_a_gap_of_similarities_costs(gap: float, value: float) -> None:
    made = PrototypeBank(2, 2, temperature=0.05, momentum=0.1)
    made.rows.copy_(torch.tensor([[0.5 + gap, 0.0], [0.5, 0.0]]))
    loss = identity(made.logits(torch.tensor([[1.0, 0.0]], dtype=torch.float64)), torch.tensor([0]))
    assert float(loss) == pytest.approx(value, abs=1e-6)


def test_one_query_after_another() -> None:
    made = bank()
    made.update(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    assert made.rows[0].tolist() == pytest.approx([0.664364, 0.747409], abs=1e-5)
    made.update(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    assert made.rows[0].tolist() == pytest.approx([0.068, 0.997685], abs=1e-5)
    assert made.rows[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("update", "row"),
    [
        ("instance", (0.068, 0.997685)),
        ("batch_mean", (0.415494, 0.909596)),
        ("hardest", (0.110432, 0.993884)),
    ],
)
def test_two_queries_of_a_class(update: Update, row: tuple[float, float]) -> None:
    made = bank(update)
    made.update(torch.tensor([[0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0]))
    assert made.rows[0].tolist() == pytest.approx(row, abs=1e-5)
    assert made.rows[1].tolist() == [0, 1]


def units(random: np.random.Generator, count: int) -> np.ndarray:
    drawn = random.normal(0, 1, (count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def slow(
    rows: np.ndarray, queries: np.ndarray, labels: np.ndarray, momentum: float, update: Update
) -> np.ndarray:
    rows, before = rows.copy(), rows
    for label in range(len(rows)):
        mine = queries[labels == label]
        if update == "batch_mean" and len(mine):
            mine = mine.mean(0, keepdims=True)
        if update == "hardest" and len(mine):
            mine = mine[[int(np.argmin(mine @ before[label]))]]
        for query in mine:
            mixed = momentum * rows[label] + (1 - momentum) * query
            rows[label] = mixed / np.linalg.norm(mixed)
    return rows


@given(st.integers(0, 10_000), st.sampled_from(["instance", "batch_mean", "hardest"]))
@settings(max_examples=40)
def test_any_batch_against_a_slow_reference(seed: int, update: Update) -> None:
    random = np.random.default_rng(seed)
    rows, queries, labels = units(random, 5), units(random, 12), random.integers(0, 5, 12)
    made = PrototypeBank(5, 4, temperature=0.05, momentum=0.3, update=update)
    made.reset(torch.tensor(rows))
    made.update(torch.tensor(queries), torch.tensor(labels))
    np.testing.assert_allclose(made.rows.numpy(), slow(rows, queries, labels, 0.3, update), atol=1e-5)


def test_gradients_go_into_the_queries_only_and_an_update_takes_none() -> None:
    made = bank()
    query = torch.tensor([[0.6, 0.8]], requires_grad=True)
    identity(made.logits(query), torch.tensor([0])).backward()
    assert query.grad is not None
    assert not list(made.parameters())
    made.update(query, torch.tensor([0]))
    assert not made.rows.requires_grad


def test_it_is_saved_whatever_the_number_of_classes() -> None:
    larger = PrototypeBank(3, 2, temperature=0.05, momentum=0.1)
    larger.reset(torch.tensor([[1.0, 0], [0, 2], [3, 4]]))
    other = bank()
    other.load_state_dict(larger.state_dict())
    assert torch.equal(other.rows, larger.rows)
    assert other.rows[2].tolist() == pytest.approx([0.6, 0.8])
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(PrototypeBank(2, 5, temperature=0.05, momentum=0.1).state_dict())


def two_calls(made: PrototypeBank, *, published: bool) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Two views of one image in one step: their gradients, and the loss."""
    first = torch.tensor([[0.6, 0.8]], requires_grad=True)
    second = torch.tensor([[0.0, 1.0]], requires_grad=True)
    label = torch.tensor([0])
    loss = torch.zeros(())
    for query in (first, second):
        answered = moving_logits(made, query, label) if published else made.logits(query)
        loss = loss + identity(answered, label)
    loss.backward()
    assert first.grad is not None
    assert second.grad is not None
    return first.grad[0], second.grad[0], float(loss.detach())


def test_two_calls_in_one_step() -> None:
    made = bank()
    first, second, loss = two_calls(made, published=False)
    assert first.tolist() == pytest.approx([-19.6403, 19.6403], abs=1e-4)
    assert second.tolist() == pytest.approx([-20, 20], abs=1e-4)
    assert loss == pytest.approx(24.01815, abs=1e-5)
    assert torch.equal(made.rows, torch.eye(2))


def test_two_calls_in_one_step_as_published() -> None:
    """The loss is the same, the earlier call's gradient is nearly gone: its row has moved onto the later query."""
    made = bank()
    first, second, loss = two_calls(made, published=True)
    assert first.tolist() == pytest.approx([-2.1689, 0.1201], abs=1e-4)
    assert second.tolist() == pytest.approx([-20, 20], abs=1e-4)
    assert loss == pytest.approx(24.01815, abs=1e-5)
    assert made.rows[0].tolist() == pytest.approx([0.55805, 0.82981], abs=1e-5)


def test_one_call_in_a_step_is_the_same_either_way() -> None:
    queries = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
    labels = torch.tensor([0, 1])
    grads = []
    for published in (False, True):
        made = bank()
        asked = queries.clone().requires_grad_()
        answered = moving_logits(made, asked, labels) if published else made.logits(asked)
        identity(answered, labels).backward()
        if not published:
            made.update(asked, labels)
        assert asked.grad is not None
        grads.append((asked.grad, made.rows))
    assert torch.allclose(grads[0][0], grads[1][0])
    assert torch.allclose(grads[0][1], grads[1][1])
