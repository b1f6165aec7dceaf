"""Each loss against a slow reference written here."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import batch_hard, identity


def slow_identity(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        log_sum = math.log(sum(math.exp(v - max(row)) for v in row)) + max(row)
        target = [smoothing / len(row) + (1 - smoothing) * (k == label) for k in range(len(row))]
        total -= sum(t * (v - log_sum) for t, v in zip(target, row, strict=True))
    return total / len(logits)


def slow_triplet(features: np.ndarray, labels: list[int], margin: float, modality: list[int] | None) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    terms = []
    for a in range(len(unit)):
        positives, negatives = [], []
        for b in range(len(unit)):
            if a == b or (modality is not None and modality[a] == modality[b]):
                continue
            distance = math.dist(unit[a], unit[b])
            (positives if labels[a] == labels[b] else negatives).append(distance)
        if positives and negatives:
            terms.append(max(0.0, margin + max(positives) - min(negatives)))
    return sum(terms) / len(terms) if terms else 0.0


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=30, deadline=None)
def test_identity(seed: int, smoothing: float) -> None:
    random = np.random.default_rng(seed)
    logits, labels = random.normal(0, 3, (6, 5)), random.integers(0, 5, 6)
    found = identity(torch.tensor(logits), torch.tensor(labels), smoothing)
    assert float(found) == pytest.approx(slow_identity(logits, labels, smoothing), abs=1e-5)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=40, deadline=None)
def test_batch_hard(seed: int, across: bool, margin: float) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (9, 4))
    labels, modality = random.integers(0, 3, 9), random.integers(0, 2, 9)
    kinds = torch.tensor(modality) if across else None
    found = batch_hard(torch.tensor(features), torch.tensor(labels), margin, kinds)
    expected = slow_triplet(features, labels.tolist(), margin, modality.tolist() if across else None)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_batch_hard_worked_by_hand() -> None:
    """Lengths kept: hardest positives 5, 5, 85^.5, 85^.5, hardest negatives 1, 18^.5, 5, 1."""
    features = torch.tensor([[0.0, 0], [3, 4], [6, 8], [0, 1]])
    found = batch_hard(features, torch.tensor([0, 0, 1, 1]), 0.3, normalise=False)
    expected = (5 - 1 + 5 - 18**0.5 + 85**0.5 - 5 + 85**0.5 - 1) / 4 + 0.3
    assert float(found) == pytest.approx(expected, abs=1e-5)
    assert float(found) == pytest.approx(4.599112, abs=1e-5)


def test_the_loss_knows_neither_order_nor_names() -> None:
    random = torch.Generator().manual_seed(2)
    features, modality = torch.randn(12, 5, generator=random), torch.arange(12) % 2
    labels = torch.arange(12) // 4
    order = torch.randperm(12, generator=random)
    renamed = torch.tensor([7, 3, 11])[labels]
    for kinds in (None, modality):
        found = batch_hard(features, labels, 0.3, kinds)
        turned = batch_hard(features[order], renamed[order], 0.3, None if kinds is None else kinds[order])
        assert float(turned) == pytest.approx(float(found), abs=1e-6)


def test_equal_images_have_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    batch_hard(features, torch.tensor([0, 0, 1, 1]), 0.3).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_no_positive_pair_costs_nothing_and_has_a_gradient() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    loss = batch_hard(features, torch.tensor([0, 1, 2]), 0.3)
    loss.backward()
    assert float(loss.detach()) == 0
    assert features.grad is not None
    assert features.grad.abs().max() == 0
