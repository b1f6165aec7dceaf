"""The solvers against POT, each other, and the laws that every plan obeys."""

import importlib
import tracemalloc

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.transport import Problem, RowBlocks, accelerated, assign, exact, solve
from training.transport import problem as problem_module
from training.transport.accelerated import solve_balanced
from training.transport.log_dual import LogDual
from training.transport.solve import Way

WAYS: tuple[Way, ...] = ("fast", "log")


def drawn(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    a, b = random.uniform(0.2, 1, n), random.uniform(0.2, 1, k)
    return random.random((n, k)), a / a.sum(), b / b.sum()


def worst(plan: torch.Tensor, a: np.ndarray, b: np.ndarray) -> float:
    return max(np.abs(plan.sum(1).numpy() / a - 1).max(), np.abs(plan.sum(0).numpy() / b - 1).max())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(40, 5), (5, 40), (30, 30), (1, 7), (7, 1), (1, 1)])
def test_agrees_with_pot(shape: tuple[int, int], way: Way) -> None:
    cost, a, b = drawn(1, *shape)
    expected = ot.sinkhorn(a, b, cost, 1 / 25, method="sinkhorn_log", numItermax=50_000, stopThr=1e-14)
    plan = solve(Problem(cost, a, b), way=way, max_iterations=20_000, tolerance=1e-11)
    assert plan.converged
    np.testing.assert_allclose(plan.matrix(), expected, atol=1e-11)


@pytest.mark.parametrize("penalties", [(1.0, 1.0), (0.3, 2.0), (None, 0.5), (0.5, None)])
def test_penalties_agree_with_pot(penalties: tuple[float | None, float | None]) -> None:
    cost, a, b = drawn(2, 12, 7)
    b = b * 1.7
    weights = tuple(float("inf") if rho is None else rho for rho in penalties)
    expected = ot.unbalanced.sinkhorn_unbalanced(a, b, cost, 0.2, weights, numItermax=20_000, stopThr=1e-15)
    plan = solve(Problem(cost, a, b, delta=5, penalties=penalties), tolerance=1e-13)
    assert plan.converged
    np.testing.assert_allclose(plan.matrix(), expected, atol=1e-10)
    if penalties[0] is None:
        np.testing.assert_allclose(plan.matrix().sum(1), a, rtol=1e-9)


def test_a_great_penalty_is_an_equality() -> None:
    cost, a, b = drawn(3, 9, 6)
    loose = solve(Problem(cost, a, b, delta=5, penalties=(1e7, 1e7)), tolerance=1e-10, max_iterations=5000)
    tight = solve(Problem(cost, a, b, delta=5), tolerance=1e-10)
    np.testing.assert_allclose(loose.matrix(), tight.matrix(), atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 12), (12, 5), (6, 9)])
def test_great_sharpness_is_the_exact_plan(shape: tuple[int, int]) -> None:
    cost, _, _ = drawn(4, *shape)
    problem = Problem(cost, delta=3000)
    plan = solve(problem, max_iterations=50_000, tolerance=1e-5)
    assert plan.converged
    np.testing.assert_allclose(plan.matrix(), exact(problem), atol=2e-3)


@pytest.mark.parametrize("delta", [1, 5, 25])
@pytest.mark.parametrize("turned", [False, True])
def test_a_hard_problem_is_solved_and_the_error_is_true(
    hard_cost: np.ndarray, delta: float, turned: bool
) -> None:
    cost = hard_cost.T if turned else hard_cost
    plan = solve(Problem(cost, delta=delta))
    assert plan.converged
    n, k = cost.shape
    true = worst(plan.matrix(), np.full(n, 1 / n), np.full(k, 1 / k))
    assert true <= 1.2e-6  # the kernel's single precision adds up to 1e-7
    assert plan.error == pytest.approx(true, abs=2e-7)


def test_where_plain_steps_are_far_from_done(hard_cost: np.ndarray) -> None:
    plain = solve(Problem(hard_cost), way="log", max_iterations=60)
    assert not plain.converged
    assert plain.iterations == 60
    matrix = plain.matrix()
    assert plain.error == pytest.approx(worst(matrix, np.full(1500, 1 / 1500), np.full(60, 1 / 60)), rel=1e-6)
    assert plain.error > 0.01


def test_without_a_kernel_the_answer_is_the_same(hard_cost: np.ndarray) -> None:
    problem = Problem(hard_cost)
    one, other = solve(problem), solve_balanced(LogDual(problem), 1000, 1e-6)
    assert one.converged
    assert other.converged
    np.testing.assert_allclose(one.matrix() * 1500, other.matrix() * 1500, atol=1e-4)


def test_too_many_columns_for_newton(hard_cost: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated, "NEWTON_COLUMNS", 10)
    monkeypatch.setattr(accelerated, "newton", None)
    plain = solve(Problem(hard_cost, delta=1), way="log", max_iterations=5000)
    plan = solve(Problem(hard_cost, delta=1))
    assert plan.converged
    assert plan.iterations < plain.iterations / 3
    np.testing.assert_allclose(plan.matrix() * 1500, plain.matrix() * 1500, atol=1e-4)


def test_a_kernel_that_would_be_too_large_is_not_made(
    hard_cost: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("training.transport.solve")  # the package's name for it is the function
    monkeypatch.setattr(module, "LARGEST_KERNEL", 1000)
    monkeypatch.setattr(module, "Kernel", None)
    assert solve(Problem(hard_cost, delta=5)).converged


def test_single_precision_ends_near_its_own() -> None:
    cost, a, b = drawn(5, 200, 20)
    single = solve(Problem(cost.astype(np.float32), a, b), way="log-float32", tolerance=1e-4)
    assert single.converged
    assert worst(single.matrix(), a, b) < 3e-4


def test_single_precision_keeps_sharp_distant_costs() -> None:
    cost, a, b = drawn(6, 50, 8)
    offset = (
        np.arange(50)[:, None] * 40.0
    )  # in float32 a cost near 2000 times 25 has no digits left behind the point
    near, far = (
        solve(Problem((cost + o).astype(np.float32), a, b), way="log-float32", tolerance=1e-4)
        for o in (0, offset)
    )
    assert far.converged
    np.testing.assert_allclose(far.matrix() * 400, near.matrix() * 400, atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_probabilities_that_linear_sums_lose(way: Way) -> None:
    random = np.random.default_rng(7)
    chances = random.dirichlet(np.ones(6), 30)
    chances[random.random(chances.shape) < 0.5] = 1e-30
    chances[:, 0] = 1e-30
    assert (chances**25 == 0).any()
    plan = solve(Problem(-np.log(chances)), way=way, max_iterations=5000)
    matrix = plan.matrix()
    assert torch.isfinite(matrix).all()
    assert plan.converged
    assert worst(matrix, np.full(30, 1 / 30), np.full(6, 1 / 6)) < 1.2e-6


@pytest.mark.parametrize("way", WAYS)
def test_who_sends_or_receives_nothing(way: Way) -> None:
    cost, a, b = drawn(8, 20, 6)
    a[3], b[2] = 0, 0
    a, b = a / a.sum(), b / b.sum()
    plan = solve(Problem(cost, a, b), way=way)
    matrix = plan.matrix()
    assert plan.converged
    assert (matrix[3] == 0).all()
    assert (matrix[:, 2] == 0).all()
    rest = solve(
        Problem(np.delete(np.delete(cost, 3, 0), 2, 1), np.delete(a, 3), np.delete(b, 2)), tolerance=1e-9
    )
    np.testing.assert_allclose(np.delete(np.delete(matrix.numpy(), 3, 0), 2, 1), rest.matrix(), atol=1e-7)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 12), st.sampled_from([0.5, 5.0, 25.0, 80.0]))
def test_laws(seed: int, n: int, k: int, delta: float) -> None:
    cost, a, b = drawn(seed, n, k)
    random = np.random.default_rng(seed)
    plan = solve(Problem(cost, a, b, delta=delta), tolerance=1e-9)
    matrix = plan.matrix()
    assert plan.converged
    assert (matrix >= 0).all()
    assert worst(matrix, a, b) < 1e-8
    shifted = cost + random.normal(size=(n, 1)) + random.normal(size=k)
    moved = solve(Problem(shifted, a, b, delta=delta), tolerance=1e-9).matrix()
    np.testing.assert_allclose(moved, matrix, atol=1e-6)
    order, other = random.permutation(n), random.permutation(k)
    turned = solve(Problem(cost[order][:, other], a[order], b[other], delta=delta), tolerance=1e-9).matrix()
    np.testing.assert_allclose(turned, matrix[order][:, other], atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_blocks_change_nothing(hard_cost: np.ndarray, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solve(Problem(hard_cost, delta=0.5), way=way)
    monkeypatch.setattr(problem_module, "BLOCK", {"cpu": 60 * 70, "other": 60 * 70})
    asked = []

    def rows(start: int, stop: int) -> np.ndarray:
        asked.append(stop - start)
        part: np.ndarray = hard_cost[start:stop]
        return part

    pieces = solve(Problem(RowBlocks((1500, 60), rows), delta=0.5), way=way)
    assert set(asked) == {70, 1500 % 70}
    np.testing.assert_allclose(pieces.matrix(), whole.matrix(), rtol=1e-5)
    assert pieces.iterations == whole.iterations


class Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that any operation gives, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        self.nbytes = max(
            [self.nbytes, *(t.nbytes for t in tree_leaves(found) if isinstance(t, torch.Tensor))]
        )
        return found


@pytest.mark.parametrize(("way", "share"), [("fast", 0.8), ("log", 0.15)])
def test_nothing_of_the_costs_size_is_made_twice(way: Way, share: float) -> None:
    features = np.random.default_rng(9).standard_normal((4000, 8)) / 3
    centres = features[:500]
    problem = Problem(RowBlocks((4000, 500), lambda start, stop: -features[start:stop] @ centres.T), delta=2)
    with Largest():
        solve(problem, way=way)  # loads what is compiled
    tracemalloc.start()
    with Largest() as largest:
        plan = solve(problem, way=way)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.converged
    assert 0 < largest.nbytes < 0.15 * 4000 * 500 * 8
    assert peak < share * 4000 * 500 * 8


def test_no_gradient_flows() -> None:
    cost = torch.rand(6, 4, requires_grad=True)
    plan = solve(Problem(cost, torch.full((6,), 1 / 6, requires_grad=True)))
    for found in (plan.u, plan.v, plan.matrix(), plan.rows(0, 2)):
        assert not found.requires_grad
    assert cost.grad is None


def test_half_precision_and_whole_numbers_are_costs() -> None:
    cost = np.random.default_rng(0).integers(0, 3, (9, 4))
    expected = solve(Problem(cost.astype(float), delta=1)).matrix()
    for kind in (torch.float16, torch.bfloat16, torch.int64):
        np.testing.assert_allclose(
            solve(Problem(torch.tensor(cost).to(kind), delta=1)).matrix(), expected, atol=1e-9
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", ["fast", "log", "log-float32"])
def test_a_device_keeps_its_plan(hard_cost: np.ndarray, way: Way) -> None:
    cost = torch.tensor(hard_cost)
    options = {"way": way, "tolerance": 1e-3 if way == "log-float32" else 1e-6, "max_iterations": 5000}
    here, there = (solve(Problem(c, delta=1), **options) for c in (cost, cost.cuda()))
    assert there.converged
    assert there.u.is_cuda
    np.testing.assert_allclose(there.matrix().cpu() * 1500, here.matrix() * 1500, atol=1e-2)


def test_each_side_has_its_own_error_whichever_is_shorter(hard_cost: np.ndarray) -> None:
    for cost in (hard_cost, hard_cost.T):
        n, k = cost.shape
        plan = solve(Problem(cost), max_iterations=3)
        matrix = plan.matrix()
        rows, columns = ((matrix.sum(1) * n - 1).abs().max(), (matrix.sum(0) * k - 1).abs().max())
        assert (plan.row_error, plan.column_error) == pytest.approx((float(rows), float(columns)), abs=1e-5)
        assert max(plan.row_error, plan.column_error) > 0.01


def test_the_lower_of_equal_rows_wins_in_another_block_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(problem_module.BLOCK, "cpu", 2)
    assert assign(solve(Problem(np.ones((6, 2)))), "column").columns.tolist() == [0, 0]
