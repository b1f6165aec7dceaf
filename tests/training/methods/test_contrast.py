"""A bank as methods use it: when it moves, by whom, and what the habit of moving it too early does to a gradient."""

from typing import Literal

import numpy as np
import pytest
import torch

from training.methods.contrast import Contrast, by_views, query
from training.models.network import Embedded

LABELS = torch.tensor([0, 0])


def bank(*, in_backward: bool = False, momentum: float = 0.1) -> Contrast:
    made = Contrast(2, temperature=0.05, momentum=momentum, in_backward=in_backward)
    made.reset(np.eye(2, dtype=np.float32))
    return made


def views() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[0.6, 0.8], [0.0, 1.0]], requires_grad=True), torch.tensor([0, 1])


def test_a_bank_moves_after_the_step_and_only_by_what_was_shown() -> None:
    contrast = bank()
    queries, view = views()
    by_views(contrast, queries, LABELS, view, "added").backward()
    contrast.logits(queries.detach())
    assert torch.equal(contrast.bank.rows, torch.eye(2))
    contrast.after_step()
    # row 0 by the first view, then by the second
    torch.testing.assert_close(
        contrast.bank.rows, torch.tensor([[0.068, 0.997685], [0, 1]]), atol=1e-5, rtol=0
    )
    before = contrast.bank.rows.clone()
    contrast.after_step()
    assert torch.equal(contrast.bank.rows, before)


@pytest.mark.parametrize(
    ("in_backward", "gradient", "row"),
    [
        (False, (-19.6403, 19.6403), (0.068, 0.997685)),
        # published: the second view has moved the row when the first one's gradient is computed
        (True, (-2.1689, 0.1201), (0.55805, 0.82981)),
    ],
)
def test_two_views_of_one_cluster(
    in_backward: bool, gradient: tuple[float, float], row: tuple[float, float]
) -> None:
    contrast = bank(in_backward=in_backward)
    queries, view = views()
    loss = by_views(contrast, queries, LABELS, view, "added")
    assert float(loss.detach()) == pytest.approx(24.01815, abs=1e-5)
    loss.backward()
    contrast.after_step()
    assert queries.grad is not None
    torch.testing.assert_close(queries.grad[0], torch.tensor(gradient), atol=1e-4, rtol=0)
    torch.testing.assert_close(contrast.bank.rows[0], torch.tensor(row), atol=1e-5, rtol=0)


@pytest.mark.parametrize("in_backward", [False, True])
def test_a_query_without_a_class_costs_nothing_and_moves_nothing(in_backward: bool) -> None:
    queries, _ = views()
    for classes in ([0, -1], [-1, -1]):
        contrast, alone = bank(in_backward=in_backward), bank(in_backward=in_backward)
        inside = torch.tensor(classes) >= 0
        loss = contrast.loss(queries, torch.tensor(classes))
        expected = alone.loss(queries[inside], torch.tensor(classes)[inside])
        assert torch.equal(loss, expected)
        for each, made in ((contrast, loss), (alone, expected)):
            made.backward()
            each.after_step()
        assert torch.equal(contrast.bank.rows, alone.bank.rows)
        assert torch.equal(contrast.bank.rows, torch.eye(2)) == (not inside.any())


def test_views_are_averaged_where_that_is_asked_for() -> None:
    queries, view = views()
    added, averaged = (
        float(by_views(bank(), queries, LABELS, view, how).detach())
        for how in ("added", "averaged")  # type: ignore[arg-type]
    )
    assert averaged == pytest.approx(added / 2)
    one = by_views(bank(), queries[:1], LABELS[:1], view[:1], "added")
    assert torch.equal(one, by_views(bank(), queries[:1], LABELS[:1], view[:1], "averaged"))


def test_a_query_is_what_the_neck_gives_at_length_one() -> None:
    seen = Embedded(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16))
    torch.testing.assert_close(query(seen), torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("how", ["added", "averaged"])
def test_a_batch_without_a_modality_teaches_nothing_of_it(how: Literal["added", "averaged"]) -> None:
    queries = torch.empty((0, 2), requires_grad=True)
    none = torch.empty(0, dtype=torch.int64)
    loss = by_views(bank(), queries, none, none, how)
    loss.backward()
    assert loss.item() == 0
    assert queries.grad is not None
