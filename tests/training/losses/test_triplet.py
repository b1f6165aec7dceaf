"""Triplets of pairs that are named."""

import pytest
import torch

from training.losses import batch_hard, batch_hard_between


def test_masks_that_say_the_same_give_the_same() -> None:
    random = torch.Generator().manual_seed(1)
    x, labels = torch.randn(10, 4, generator=random), torch.arange(10) % 3
    modality = torch.arange(10) // 5
    same = labels[:, None] == labels
    apart = modality[:, None] != modality
    for keep in (True, False):
        expected = batch_hard(x, labels, 0.3, modality, normalise=keep)
        found = batch_hard_between(x, same & apart, ~same & apart, 0.3, normalise=keep)
        assert float(found) == float(expected)


def test_one_sided_pairs() -> None:
    """Anchor 0 has positive 1 at 3 and negatives 2 and 3 at 4 and 1; the masks choose 2 only."""
    x = torch.tensor([[0.0], [3.0], [4.0], [-1.0]])
    positive, negative = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    positive[0, 1] = negative[0, 2] = True
    assert float(batch_hard_between(x, positive, negative, 2.0, normalise=False)) == pytest.approx(1)
    negative[0, 3] = True
    assert float(batch_hard_between(x, positive, negative, 2.0, normalise=False)) == pytest.approx(4)
    assert float(batch_hard_between(x, positive, ~negative & negative, 2.0, normalise=False)) == 0


def test_clusters_far_apart_cost_nothing() -> None:
    x = torch.tensor([[0.0, 0], [0, 0.1], [9, 9], [9, 9.1]])
    assert float(batch_hard(x, torch.tensor([0, 0, 1, 1]), 0.3, normalise=False)) == 0
