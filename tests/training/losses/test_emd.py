"""The earth mover's distance of an identity's two sides: values worked by hand, POT as the oracle, and what must hold."""

import itertools
from typing import Any

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from training.losses import earth_movers
from training.losses.emd import exact_plans, sinkhorn_plans

# two visible and two infrared images of one identity; each infrared one is 1 or 3 from its match
PLACES = [(0, 0), (4, 0), (1, 0), (4, 3)]
METRIC = {"euclidean": "euclidean", "squared": "sqeuclidean", "cosine": "cosine"}


def pair(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor(PLACES, dtype=dtype), torch.zeros(4, dtype=torch.int64), torch.tensor([0, 0, 1, 1])


def entropic(epsilon: float) -> float:
    """The value of the two by two problem in closed form: 2 on the matching, 4 elsewhere."""
    share = 1 / (1 + np.exp(2 / epsilon))
    return 2 * (1 - share) + 4 * share


def drawn(seed: int, *, even: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A few identities in any order, with as many images of each kind as come, or four of each."""
    random = np.random.default_rng(seed)
    labels, modality = [], []
    for label in range(int(random.integers(1, 5))):
        for kind in (0, 1):
            count = 4 if even else int(random.integers(1, 5))
            labels += [label * 7 + 3] * count
            modality += [kind] * count
    order = random.permutation(len(labels))
    features = torch.from_numpy(random.normal(0, 2, (len(labels), 3)))
    return features, torch.tensor(labels)[order], torch.tensor(modality)[order]


def blocks(
    features: torch.Tensor, labels: torch.Tensor, modality: torch.Tensor
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The visible and the infrared images of each identity that has both."""
    x = features.detach().numpy()
    found = []
    for label in labels.unique():
        visible, infrared = (x[((labels == label) & (modality == kind)).numpy()] for kind in (0, 1))
        if len(visible) and len(infrared):
            found.append((visible, infrared))
    return found


def test_two_images_of_each_kind() -> None:
    features, labels, modality = pair()
    features.requires_grad_()
    found = earth_movers(features, labels, modality)
    assert float(found.detach()) == pytest.approx(2.0, abs=1e-9)
    found.backward()
    assert features.grad is not None
    expected = torch.tensor([[-0.5, 0], [0, -0.5], [0.5, 0], [0, 0.5]], dtype=torch.float64)
    assert torch.allclose(features.grad, expected)
    assert float(earth_movers(features.detach(), labels, modality, ground="squared")) == pytest.approx(5.0)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0, 5.0])
def test_the_entropic_value_is_the_closed_form(epsilon: float) -> None:
    """At 0.1 plain Sinkhorn passes would be 2.5e-4 off after a thousand: this kernel's errors fall as one over them."""
    found = earth_movers(*pair(), solver="sinkhorn", epsilon=epsilon)
    assert float(found) == pytest.approx(entropic(epsilon), abs=1e-6)


def test_worked_values() -> None:
    values = [float(earth_movers(*pair(), solver="sinkhorn", epsilon=e)) for e in (0.5, 1, 5)]
    assert values == pytest.approx([2.035972, 2.238406, 2.802625], abs=1e-5)
    costs = torch.tensor([[[1.0, 5], [3, 3]]])
    there = torch.ones(1, 2, dtype=torch.bool)
    assert exact_plans(costs, there, there)[0].tolist() == [[0.5, 0], [0, 0.5]]
    plan = sinkhorn_plans(costs, there, there, 0.5)[0]
    assert plan[0].tolist() == pytest.approx([0.491007, 0.008993], abs=1e-5)


def test_the_mean_is_over_identities_and_heads() -> None:
    features, labels, modality = pair()
    two = torch.cat([features, features[:2], features[:2]])
    names = torch.cat([labels, labels + 1])
    kinds = modality.repeat(2)
    assert float(earth_movers(two, names, kinds)) == pytest.approx(1.0, abs=1e-5)
    heads = torch.stack([two, two * 3])
    assert float(earth_movers(heads, names, kinds)) == pytest.approx(2.0, abs=1e-5)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(["euclidean", "squared", "cosine"]))
@settings(max_examples=40, deadline=None)
def test_exact_values_are_those_of_pot(seed: int, even: bool, ground: Any) -> None:
    features, labels, modality = drawn(seed, even=even)
    expected = [ot.emd2([], [], cdist(v, t, METRIC[ground])) for v, t in blocks(features, labels, modality)]
    found = earth_movers(features, labels, modality, ground=ground)
    assert float(found) == pytest.approx(np.mean(expected), abs=1e-5)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([1.0, 4.0]))
@settings(max_examples=15, deadline=None)
def test_entropic_values_are_those_of_pot(seed: int, even: bool, epsilon: float) -> None:
    features, labels, modality = drawn(seed, even=even)
    expected = []
    for visible, infrared in blocks(features, labels, modality):
        cost = cdist(visible, infrared)
        even_shares = np.full(len(cost), 1 / len(cost)), np.full(cost.shape[1], 1 / cost.shape[1])
        plan = ot.sinkhorn(*even_shares, cost, epsilon, "sinkhorn_log", numItermax=20_000, stopThr=1e-8)
        expected.append((plan * cost).sum())
    found = earth_movers(features, labels, modality, solver="sinkhorn", epsilon=epsilon)
    assert float(found) == pytest.approx(np.mean(expected), abs=1e-5)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(["exact", "sinkhorn"]))
@settings(max_examples=40, deadline=None)
def test_it_lies_between_the_centres_and_the_mean_of_all_pairs(seed: int, even: bool, solver: Any) -> None:
    features, labels, modality = drawn(seed, even=even)
    sides = blocks(features, labels, modality)
    nearest = np.mean([np.linalg.norm(v.mean(0) - t.mean(0)) for v, t in sides])
    farthest = np.mean([cdist(v, t).mean() for v, t in sides])
    found = float(earth_movers(features, labels, modality, solver=solver))
    assert nearest - 1e-5 <= found <= farthest + 1e-5


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=20, deadline=None)
def test_it_grows_with_the_entropy_to_the_mean_of_all_pairs(seed: int, even: bool) -> None:
    batch = drawn(seed, even=even)
    values = [float(earth_movers(*batch))]
    values += [float(earth_movers(*batch, solver="sinkhorn", epsilon=e)) for e in (0.1, 0.5, 2, 10, 1e4)]
    assert all(one <= other + 1e-4 for one, other in itertools.pairwise(values))
    assert values[-1] == pytest.approx(np.mean([cdist(v, t).mean() for v, t in blocks(*batch)]), abs=1e-3)


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
@given(seed=st.integers(0, 10_000), even=st.booleans())
@settings(max_examples=20, deadline=None)
def test_plans_meet_their_marginals(solver: str, seed: int, even: bool) -> None:
    """Padded places send and receive nothing; no plan is part of a gradient."""
    random = np.random.default_rng(seed)
    rows, columns = (np.full(5, 4) if even else random.integers(1, 5, 5) for _ in range(2))
    there = [torch.arange(4)[None] < torch.from_numpy(count)[:, None] for count in (rows, columns)]
    costs = torch.from_numpy(random.uniform(0, 3, (5, 4, 4))).requires_grad_()
    plans = exact_plans(costs, *there) if solver == "exact" else sinkhorn_plans(costs, *there, 0.1)
    assert not plans.requires_grad
    assert bool((plans >= -1e-15).all())
    assert torch.allclose(plans.sum(2), there[0] / there[0].sum(1, keepdim=True).double(), atol=1e-12)
    assert torch.allclose(plans.sum(1), there[1] / there[1].sum(1, keepdim=True).double(), atol=1e-12)


def test_identities_without_both_kinds_are_left_out() -> None:
    features, labels, modality = pair()
    strangers = torch.tensor([[9.0, 9], [8, 8], [7, 7]], dtype=torch.float64)
    wide = torch.cat([strangers, features]).requires_grad_()
    names = torch.cat([torch.tensor([5, 6, -1]), labels])
    kinds = torch.cat([torch.tensor([0, 1, 1]), modality])
    found = earth_movers(wide, names, kinds)
    assert float(found.detach()) == pytest.approx(2.0)
    found.backward()
    assert wide.grad is not None
    assert bool((wide.grad[:3] == 0).all())
    nobody = earth_movers(wide, torch.arange(7), kinds)
    assert float(nobody.detach()) == 0
    nobody.backward()


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_features_that_are_not_finite_make_a_loss_that_is_not(solver: Any, wrong: float) -> None:
    """The loop then stops and says so: no plan is sought for ever, and none is refused in a solver's words."""
    features, labels, modality = pair()
    features[1] = wrong
    assert not torch.isfinite(earth_movers(features, labels, modality, solver=solver))


def test_the_gradient_is_that_of_the_costs_under_the_plan() -> None:
    """Of the entropic value too: what differentiating through the iteration would add is left out."""
    features, labels, modality = drawn(4, even=True)
    features.requires_grad_()
    earth_movers(features, labels, modality, solver="sinkhorn", epsilon=1.0).backward()
    assert features.grad is not None
    expected = torch.zeros_like(features)
    names = labels.unique()
    for label in names:
        rows = [((labels == label) & (modality == kind)).nonzero()[:, 0] for kind in (0, 1)]
        v, t = (features.detach()[each] for each in rows)
        cost = torch.cdist(v, t)
        share = np.full(4, 0.25)
        plan = torch.from_numpy(
            ot.sinkhorn(share, share, cost.numpy(), 1.0, "sinkhorn_log", numItermax=10_000, stopThr=1e-12)
        )
        pull = plan[..., None] * (v[:, None] - t[None]) / cost[..., None] / len(names)
        expected[rows[0]], expected[rows[1]] = pull.sum(1), -pull.sum(0)
    assert torch.allclose(features.grad, expected, atol=1e-6)
