"""Variance within over variance between: values worked by hand, a slow reference, and what must hold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import fisher_ratio

PLACES = torch.tensor([[0, 0], [0, 2], [4, 0], [4, 2]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1])


def slow(x: np.ndarray, labels: np.ndarray, modality: np.ndarray, *, across: bool) -> float:
    own = []
    for row, label, kind in zip(x, labels, modality, strict=True):
        others = x[(labels == label) & (modality != kind)] if across else x[labels == label]
        if len(others):
            own.append(np.sum((row - others.mean(0)) ** 2))
    centres = np.stack([x[labels == label].mean(0) for label in np.unique(labels)])
    between = np.mean(np.sum((centres - centres.mean(0)) ** 2, 1))
    return float(np.mean(own) / (between + 1e-6)) if own and len(centres) > 1 else 0.0


def test_worked_values() -> None:
    assert float(fisher_ratio(PLACES, LABELS)) == pytest.approx(0.25, abs=1e-6)
    apart = PLACES * torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert float(fisher_ratio(apart, LABELS)) == pytest.approx(1 / 16, abs=1e-6)
    # each image is 2 from the one of its identity in the other modality
    assert float(fisher_ratio(PLACES, LABELS, torch.tensor([0, 1, 0, 1]))) == pytest.approx(1.0, abs=1e-5)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40)
def test_any_batch_against_a_slow_reference(seed: int, across: bool) -> None:
    """Identities and modalities as they come: some are missing on one side, some alone."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 14))
    x, labels = random.normal(0, 2, (count, 3)), random.integers(0, 4, count)
    modality = random.integers(0, 2, count)
    given_features = torch.from_numpy(x).requires_grad_()
    found = fisher_ratio(
        given_features, torch.from_numpy(labels), torch.from_numpy(modality) if across else None
    )
    assert float(found.detach()) == pytest.approx(slow(x, labels, modality, across=across), rel=1e-6)
    found.backward()
    assert given_features.grad is not None
    assert torch.isfinite(given_features.grad).all()


@given(st.integers(0, 10_000), st.floats(0.1, 50), st.booleans())
@settings(max_examples=20)
def test_neither_scale_nor_place_matters(seed: int, scale: float, across: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(12, 4, generator=random, dtype=torch.float64)
    labels, modality = torch.arange(3).repeat(4), torch.arange(12) % 2 if across else None
    expected = float(fisher_ratio(x, labels, modality))
    assert float(fisher_ratio(x * scale + 3, labels, modality)) == pytest.approx(expected, rel=1e-3)


def test_centres_carry_a_gradient() -> None:
    """Without it, the first image's share would be its own deviation alone."""
    x = PLACES.clone().requires_grad_()
    fisher_ratio(x, LABELS).backward()
    assert x.grad is not None
    # d/dx of 0.25: within moves by 2 (x - c) / 4, between by (c_k - c), a half of which is an image's
    assert x.grad[0].tolist() == pytest.approx([0.25 * 1 / 4, -0.5 / 4], abs=1e-5)
