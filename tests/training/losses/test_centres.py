"""Centre losses across modalities, against values worked by hand and a slow reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import batch_hard, centre_cluster, mixed_centres

# two identities, two visible images of each, then two infrared ones of each
PLACES = [(0, 0), (0, 2), (6, 0), (6, 2), (3, 0), (3, 2), (3, 4), (3, 6)]
LABELS = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
MODALITY = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


def features() -> torch.Tensor:
    return torch.tensor(PLACES, dtype=torch.float64)


def test_the_triplets_that_motivate_them() -> None:
    """Equations 1 and 2 of the DANet paper."""
    plain = batch_hard(features(), LABELS, 0.7, normalise=False)
    across = batch_hard(features(), LABELS, 0.7, MODALITY, normalise=False)
    positives = [3.605551, 3.605551, 6.708204, 5, 3.605551, 3.605551, 5, 6.708204]
    negatives = [5, 3.605551, 3, 3, 3, 3, 3.605551, 5]
    by_hand = sum(max(0.0, 0.7 + p - n) for p, n in zip(positives, negatives, strict=True)) / 8
    assert float(plain) == pytest.approx(2.315939, abs=1e-5)
    assert float(across) == pytest.approx(1.865245, abs=1e-5)
    assert float(across) == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize(
    ("margin", "negatives", "pushed"),
    [
        (0.7, "literal", [0] * 8),
        (5.0, "literal", [1.837722, 1.837722, 0.757359, 0.757359, 0.757359, 0.757359, 1.837722, 1.837722]),
        (5.0, "own", [0, 0, 0, 0, 2, 2, 2, 2]),
    ],
)
def test_centres_across(margin: float, negatives: str, pushed: list[float]) -> None:
    drawn = [3.162278, 3.162278, 5.830952, 4.242641, 3.162278, 3.162278, 4.242641, 5.830952]
    found = centre_cluster(features(), LABELS, MODALITY, margin, negatives=negatives)  # type: ignore[arg-type]
    assert float(found) == pytest.approx((sum(drawn) + sum(pushed)) / 8, abs=1e-5)


def test_published_values() -> None:
    values = [
        float(centre_cluster(features(), LABELS, MODALITY, 0.7)),
        float(centre_cluster(features(), LABELS, MODALITY, 5.0)),
        float(centre_cluster(features(), LABELS, MODALITY, 5.0, negatives="own")),
    ]
    assert values == pytest.approx([4.099537, 5.397078, 5.099537], abs=1e-5)


@pytest.mark.parametrize(
    ("detach", "expected"), [(False, (-0.237171, -0.039528)), (True, (-0.118585, -0.039528))]
)
def test_a_detached_centre_halves_the_pull(detach: bool, expected: tuple[float, float]) -> None:
    given_features = features().requires_grad_()
    centre_cluster(given_features, LABELS, MODALITY, 0.7, detach=detach).backward()
    assert given_features.grad is not None
    assert given_features.grad[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_mixed_centres() -> None:
    """Pull 2.190607; the centres are 3.605551 apart, so that a margin of 5 is missed by 1.394449."""
    assert float(mixed_centres(features(), LABELS, 0.7)) == pytest.approx(2.190607, abs=1e-5)
    assert float(mixed_centres(features(), LABELS, 5.0)) == pytest.approx(2.190607 + 1.394449, abs=1e-5)


def slow_centres(
    x: np.ndarray, labels: np.ndarray, modality: np.ndarray, margin: float, *, own: bool
) -> float:
    terms = []
    for i in range(len(x)):
        other = x[(labels == labels[i]) & (modality != modality[i])]
        same = x[(labels == labels[i]) & (modality == modality[i])]
        if not len(other):
            continue
        pushed = (same if own else other).mean(0)
        strangers = x[(labels != labels[i]) & (modality == modality[i])]
        nearest = min((math.dist(pushed, stranger) for stranger in strangers), default=math.inf)
        terms.append(math.dist(x[i], other.mean(0)) + max(0.0, margin - nearest))
    return sum(terms) / len(terms) if terms else 0.0


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 0.7, 4.0]))
@settings(max_examples=40)
def test_any_batch_against_a_slow_reference(seed: int, own: bool, margin: float) -> None:
    """Identities and modalities as they come: some are missing on one side, some alone."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 12))
    x, labels, modality = (
        random.normal(0, 2, (count, 3)),
        random.integers(0, 4, count),
        random.integers(0, 2, count),
    )
    given_features = torch.tensor(x, requires_grad=True)
    found = centre_cluster(
        given_features,
        torch.tensor(labels),
        torch.tensor(modality),
        margin,
        negatives="own" if own else "literal",
    )
    assert float(found.detach()) == pytest.approx(
        slow_centres(x, labels, modality, margin, own=own), abs=1e-6
    )
    found.backward()
    assert given_features.grad is not None
    assert torch.isfinite(given_features.grad).all()


def test_one_identity_alone_is_only_drawn() -> None:
    x = torch.tensor([[0.0, 0], [4, 0]])
    labels = torch.zeros(2, dtype=torch.int64)
    assert float(centre_cluster(x, labels, torch.tensor([0, 1]), 0.7)) == pytest.approx(4)
    assert float(mixed_centres(x, labels, 0.7)) == pytest.approx(2)
