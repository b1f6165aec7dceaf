"""The hybrid memory of SpCL."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import capped, identity
from training.memory import InstanceBank, moving_logits


def bank() -> InstanceBank:
    made = InstanceBank(4, 2, temperature=0.05, momentum=0.2)
    made.reset(torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1], [-1, 0]]))
    made.relabel(torch.tensor([0, 0, 1, 2]))
    return made


def test_worked_by_hand() -> None:
    made = bank()
    query = torch.tensor([[0.6, 0.8]], requires_grad=True)
    logits = made.logits(query)
    assert logits[0].tolist() == pytest.approx([15.6, 16, -12], abs=1e-5)
    loss = capped(logits, made.labels[torch.tensor([0])])
    assert float(loss.detach()) == pytest.approx(0.9130128, abs=1e-5)
    assert float(identity(logits.detach(), torch.tensor([0]))) == pytest.approx(0.9130153, abs=1e-5)
    loss.backward()
    assert query.grad is not None
    assert query.grad[0].tolist() == pytest.approx([-10.776351, 8.381606], abs=1e-4)
    made.update(query, torch.tensor([0]))
    assert made.rows[0].tolist() == pytest.approx([0.7282, 0.685365], abs=1e-5)
    assert torch.equal(made.rows[1:], bank().rows[1:])


def slow_logits(rows: np.ndarray, labels: np.ndarray, queries: np.ndarray, temperature: float) -> np.ndarray:
    """The definition: a class's logit is the mean of its members' similarities."""
    made = np.zeros((len(queries), labels.max() + 1))
    for i, query in enumerate(queries):
        for label in range(labels.max() + 1):
            members = rows[labels == label]
            made[i, label] = sum(query @ member for member in members) / len(members) / temperature
    return made


def slow_update(rows: np.ndarray, place: np.ndarray, queries: np.ndarray, momentum: float) -> np.ndarray:
    rows = rows.copy()
    for row, query in zip(place, queries, strict=True):
        mixed = momentum * rows[row] + (1 - momentum) * query
        rows[row] = mixed / np.linalg.norm(mixed)
    return rows


def units(random: np.random.Generator, count: int) -> np.ndarray:
    drawn = random.normal(0, 1, (count, 6))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_any_batch_against_a_slow_reference(seed: int) -> None:
    """Rows of source classes are asked several times in a batch, one after another."""
    random = np.random.default_rng(seed)
    rows, queries, place = units(random, 11), units(random, 9), random.integers(0, 7, 9)
    labels = np.unique(random.integers(0, 6, 11), return_inverse=True)[1]
    made = InstanceBank(11, 6, temperature=0.05, momentum=0.2)
    made.reset(torch.tensor(rows))
    made.relabel(torch.tensor(labels))
    found = made.logits(torch.tensor(queries))
    np.testing.assert_allclose(found.numpy(), slow_logits(rows, labels, queries, 0.05), atol=1e-4)
    made.update(torch.tensor(queries), torch.tensor(place))
    np.testing.assert_allclose(made.rows.numpy(), slow_update(rows, place, queries, 0.2), atol=1e-5)


def test_order_of_queries_matters_and_is_kept() -> None:
    queries, place = torch.tensor([[0.0, 1.0], [0.6, 0.8]]), torch.tensor([0, 0])
    one, other = bank(), bank()
    one.update(queries, place)
    other.update(queries.flip(0), place)
    assert not torch.allclose(one.rows[0], other.rows[0], atol=0.01)


def test_names_of_classes_may_have_gaps_and_mean_nothing() -> None:
    made = bank()
    expected = made.logits(torch.tensor([[0.6, 0.8]]))
    made.relabel(torch.tensor([10, 10, 17, 400]))
    assert made.labels.tolist() == [0, 0, 1, 2]
    assert torch.equal(made.logits(torch.tensor([[0.6, 0.8]])), expected)


def test_rows_and_labels_are_saved() -> None:
    made = bank()
    made.update(torch.tensor([[0.0, 1.0]]), torch.tensor([3]))
    other = InstanceBank(4, 2, temperature=0.05, momentum=0.2)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.rows, made.rows)
    assert torch.equal(other.labels, made.labels)
    assert not list(made.parameters())


def test_the_published_form_moves_rows_between_two_losses_of_a_step() -> None:
    """Source and target are asked apart: the target's rows move before the source's gradient is computed."""

    def gradients(*, published: bool) -> tuple[torch.Tensor, torch.Tensor, InstanceBank]:
        made = bank()
        source = torch.tensor([[0.6, 0.8]], requires_grad=True)
        target = torch.tensor([[0.0, -1.0]], requires_grad=True)
        loss = torch.zeros(())
        for query, place in ((source, torch.tensor([0])), (target, torch.tensor([2]))):
            answered = moving_logits(made, query, place) if published else made.logits(query)
            loss = loss + identity(answered, made.labels[place])
        loss.backward()
        assert source.grad is not None
        assert target.grad is not None
        return source.grad, target.grad, made

    plain, published = gradients(published=False), gradients(published=True)
    assert torch.allclose(plain[1], published[1])
    assert not torch.allclose(plain[0], published[0], atol=0.1)
    assert torch.equal(plain[2].rows, bank().rows)
    # what the published form computes: the source's gradient with the row of class 1 already at its new place
    moved = bank()
    moved.update(torch.tensor([[0.0, -1.0]]), torch.tensor([2]))
    shares = bank().logits(torch.tensor([[0.6, 0.8]])).softmax(1)[0] - torch.tensor([1.0, 0, 0])
    assert torch.allclose(published[0][0], shares @ moved.directions() / 0.05, atol=1e-4)


def test_rows_of_a_real_size_are_asked_quickly_and_in_little_memory() -> None:
    """23,000 rows of 256 in 9,000 classes: a tensor of queries by rows by classes would need 53 GB."""
    random = torch.Generator().manual_seed(0)
    made = InstanceBank(23_000, 256, temperature=0.05, momentum=0.2)
    made.reset(torch.randn(23_000, 256, generator=random))
    made.relabel(torch.arange(23_000) % 9_000)
    queries = torch.nn.functional.normalize(torch.randn(64, 256, generator=random)).requires_grad_()
    place = torch.arange(64) * 300
    capped(made.logits(queries), made.labels[place]).backward()
    made.update(queries, place)
    assert queries.grad is not None
    assert torch.isfinite(queries.grad).all()
