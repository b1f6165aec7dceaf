"""Values that can be worked out by hand, or were by independent programs."""

import numpy as np
import pytest
import torch

from training.transport import Plan, Problem, assign, exact, solve
from training.transport.solve import Way

WAYS: tuple[Way, ...] = ("fast", "log")
FOUR = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])


def solved(probabilities: np.ndarray, delta: float, way: Way) -> Plan:
    plan = solve(Problem(-np.log(probabilities), delta=delta), way=way, max_iterations=20_000, tolerance=1e-9)
    assert plan.converged
    return plan


@pytest.mark.parametrize("way", WAYS)
def test_no_preference_spreads_evenly(way: Way) -> None:
    plan = solved(np.full((6, 3), 1 / 3), 25, way)
    np.testing.assert_allclose(plan.matrix(), 1 / 18, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("delta", "diagonal"), [(1, 0.2224972), (5, 0.1244412), (25, 0.0019892)])
def test_two_by_two_has_a_closed_form(delta: float, diagonal: float, way: Way) -> None:
    chances = np.array([[0.6, 0.4], [0.7, 0.3]])
    rho = np.sqrt((chances[0, 0] * chances[1, 1] / (chances[0, 1] * chances[1, 0])) ** delta)
    plan = solved(chances, delta, way)
    assert diagonal == pytest.approx(0.5 * rho / (1 + rho), abs=1e-7)
    np.testing.assert_allclose(plan.matrix().diagonal(), diagonal, atol=1e-6)
    assert chances.argmax(1).tolist() == [0, 0]
    assert assign(plan).rows.tolist() == [1, 0]  # the balance decides


@pytest.mark.parametrize("way", WAYS)
def test_four_by_two(way: Way) -> None:
    soft = [[0.18258, 0.06742], [0.13655, 0.11345], [0.103123, 0.146877], [0.077747, 0.172253]]
    np.testing.assert_allclose(solved(FOUR, 1, way).matrix(), soft, atol=1e-5)
    sharp = solved(FOUR, 25, way)
    expected = [[0.25, 0], [0.249704, 0.000296], [0.000296, 0.249704], [0, 0.25]]
    np.testing.assert_allclose(sharp.matrix(), expected, atol=1e-5)
    assert assign(sharp).rows.tolist() == [0, 0, 1, 1]


def test_the_published_rule_stops_where_it_did() -> None:
    plan = solve(Problem(-np.log(FOUR)), stop="published")
    np.testing.assert_allclose(plan.looks, [3.790294, 0.219755, 0.107062, 0.070260], atol=1e-6)
    assert plan.iterations == 31
    assert plan.converged
    matrix = plan.matrix()
    np.testing.assert_allclose(matrix[2], [0.008646, 0.241354], atol=1e-6)
    np.testing.assert_allclose(matrix.sum(0), [0.508636, 0.491364], atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 0.25, atol=1e-15)
    assert plan.column_error == pytest.approx(0.508636 / 0.5 - 1, abs=3e-6)
    assert assign(plan).rows.tolist() == [0, 0, 1, 1]
    assert solve(Problem(-np.log(FOUR), delta=1), stop="published").iterations == 11


def test_the_published_rule_is_the_linear_iteration() -> None:
    chances = np.random.default_rng(3).dirichlet(np.full(7, 0.7), 50).clip(1e-3)
    u, kernel = np.full(50, 1 / 50), chances**25.0
    for step in range(100_000):  # the published procedure in the linear domain, in our words
        w = (1 / 7) / (kernel.T @ u)
        before, u = u, (1 / 50) / (kernel @ w)
        if step % 10 == 0 and np.abs(before / u - 1).sum() < 0.1:
            break
    plan = solve(Problem(-np.log(chances)), stop="published", max_iterations=100_000)
    assert plan.iterations == step + 1
    np.testing.assert_allclose(plan.matrix(), u[:, None] * kernel * w, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_a_permutation_is_recovered(way: Way) -> None:
    logits = torch.zeros(4, 4, dtype=torch.float64)
    logits[range(4), [2, 0, 3, 1]] = 4
    cost = -logits.log_softmax(1)
    soft = solve(Problem(cost, delta=1), way=way).matrix()
    assert soft[0, 2].item() == pytest.approx(np.exp(4) / (np.exp(4) + 3) / 4, abs=1e-7)
    assert soft[0, 2].item() == pytest.approx(0.2369787, abs=1e-7)
    assert soft[0, 0].item() == pytest.approx(0.0043404, abs=1e-7)
    sharp = solve(Problem(cost), way=way)
    np.testing.assert_allclose(sharp.matrix()[range(4), [2, 0, 3, 1]], 0.25, atol=1e-12)
    assert assign(sharp).rows.tolist() == [2, 0, 3, 1]


def test_balance_of_random_scores() -> None:
    logits = torch.tensor(np.random.default_rng(0).standard_normal((40, 5)))
    problem = Problem(-logits.log_softmax(1))
    plan, published = solve(problem), solve(problem, stop="published")
    labels = assign(plan).rows
    assert labels.bincount().tolist() == [9, 8, 8, 7, 8]
    assert logits.argmax(1).bincount().tolist() == [4, 13, 10, 4, 9]
    assert published.iterations == 61
    assert published.looks[-1] == pytest.approx(0.0577, abs=5e-5)
    assert assign(published).rows.tolist() == labels.tolist()
    best = exact(problem).argmax(1)
    assert best.bincount().tolist() == [8] * 5
    assert (best == labels).double().mean().item() == pytest.approx(0.95)


def test_the_published_rule_is_tight_at_scale() -> None:
    random = np.random.default_rng(0)
    logits = torch.tensor(random.standard_normal((2060, 206)) + 2 * np.eye(206)[np.arange(2060) % 206])
    plan = solve(Problem(-logits.log_softmax(1)), stop="published", max_iterations=2000)
    assert plan.converged
    assert plan.column_error < 5e-3


@pytest.mark.parametrize(
    ("seed", "by_argmax"), [(0, (0.315, 17, 57)), (1, (0.44, 18, 37)), (2, (0.22, 13, 105))]
)
def test_balance_repairs_a_biased_classifier(seed: int, by_argmax: tuple[float, int, int]) -> None:
    random = np.random.default_rng(seed)
    true = np.repeat(np.arange(20), 10)
    logits = torch.tensor(
        2 * np.eye(20)[true] + 1.5 * random.standard_normal(20) + random.standard_normal((200, 20))
    )
    naive, labels = logits.argmax(1), assign(solve(Problem(-logits.log_softmax(1)))).rows
    right = [(found == torch.tensor(true)).double().mean().item() for found in (naive, labels)]
    assert (right[0], len(naive.unique()), int(naive.bincount().max())) == pytest.approx(by_argmax)
    assert right[1] == pytest.approx((0.545, 0.535, 0.525)[seed])
    assert right[1] > right[0] + 0.08
    assert len(labels.unique()) == 20
    assert labels.bincount().max() <= 11


@pytest.mark.parametrize("seed", range(3))
def test_prototypes_match_across_an_offset(seed: int) -> None:
    random = np.random.default_rng(seed)
    day = random.standard_normal((30, 32))
    night = day + 2 * random.standard_normal(32) + 1.1 * random.standard_normal((30, 32))
    day, night = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (day, night))
    problem = Problem(-np.log((day @ night.T + 1) / 2))
    plan = solve(problem)
    nearest = (day @ night.T).argmax(1)
    assert assign(plan).rows.tolist() == list(range(30))
    assert exact(problem).argmax(1).tolist() == list(range(30))
    assert 0.9 < (nearest == np.arange(30)).mean() < 1


def test_three_suppliers_and_four_receivers() -> None:
    scores = np.array([[0.9, 0.2, 0.1, 0], [0.7, 0.6, 0.1, 0.1], [0.3, 0.2, 0.8, 0.75]])
    plan = solve(Problem(-np.log((scores + 1) / 2)))
    expected = [
        [0.245031, 0.000574, 0.072111, 0.015617], [0.004969, 0.249426, 0.023588, 0.05535], [0, 0, 0.154301, 0.179033],
    ]  # fmt: skip
    np.testing.assert_allclose(plan.matrix(), expected, atol=1e-5)
    assert scores.argmax(1).tolist() == [0, 0, 2]
    assert assign(plan, "row").rows.tolist() == [0, 1, 3]
    assert assign(plan, "column").columns.tolist() == [0, 1, 2, 2]
    both = assign(plan, "bidirectional")
    assert both.columns.tolist() == [-1, -1, 2, -1]
    assert both.pairs.tolist() == [[0, 0], [1, 1], [2, 2], [2, 3]]
    groups = assign(plan, "components")
    assert groups.row_groups.tolist() == [0, 1, 2]
    assert groups.column_groups.tolist() == [0, 1, 2, 2]
