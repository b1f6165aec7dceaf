"""What is refused, and what it is told."""

import numpy as np
import pytest
import torch

from training.transport import Problem, RowBlocks, solve
from vireid.errors import TrainingError

FINE = np.ones((3, 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_cost_that_is_not_finite(bad: float, kind: type) -> None:
    cost = FINE.astype(kind)
    cost[2, 1] = bad
    with pytest.raises(TrainingError, match=r"\(2, 1\).*log_softmax"):
        Problem(cost)
    with pytest.raises(TrainingError, match=r"\(2, 1\)"):
        solve(Problem(RowBlocks((3, 2), lambda start, stop: cost[start:stop])))


@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (3,), (1, 3, 2)])
def test_an_empty_or_misshapen_cost(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match="shape"):
        Problem(np.ones(shape))


def test_blocks_of_another_shape() -> None:
    with pytest.raises(TrainingError, match=r"rows 0 to 3.*\(3, 2\)"):
        solve(Problem(RowBlocks((3, 2), lambda start, stop: np.ones((stop - start, 5)))))


@pytest.mark.parametrize(
    ("rows", "columns", "told"),
    [
        ([0.5, 0.6, -0.1], None, "row marginals hold negative"),
        ([0.5, 0.5, np.nan], None, "row marginals hold"),
        (None, [np.inf, 0.5], "column marginals hold"),
        ([0.5, 0.5], None, r"row marginals have shape \(2,\)"),
        ([0, 0, 0], None, "nothing to transport"),
        (None, [0.7, 0.2], "equal sums"),
    ],
)
def test_marginals_that_cannot_be(rows: list[float] | None, columns: list[float] | None, told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        Problem(FINE, rows, columns)


def test_unequal_sums_are_fine_with_a_penalty() -> None:
    assert solve(Problem(FINE, None, [0.7, 0.2], penalties=(None, 1.0))).converged


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_sharpness_and_penalties_are_positive(bad: float) -> None:
    with pytest.raises(TrainingError, match="delta"):
        Problem(FINE, delta=bad)
    with pytest.raises(TrainingError, match="column penalty"):
        Problem(FINE, penalties=(None, bad))


def test_options_of_solve() -> None:
    with pytest.raises(TrainingError, match="max_iterations"):
        solve(Problem(FINE), max_iterations=0)
    with pytest.raises(TrainingError, match="tolerance"):
        solve(Problem(FINE), tolerance=0)
    with pytest.raises(TrainingError, match="way is 'quick'"):
        solve(Problem(FINE), way="quick")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="stop is 'never'"):
        solve(Problem(FINE), stop="never")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="no penalties"):
        solve(Problem(FINE, penalties=(1.0, 1.0)), stop="published")


def test_a_cost_is_not_copied_or_changed() -> None:
    cost = np.random.default_rng(0).random((8, 3))
    before = cost.copy()
    problem = Problem(cost)
    assert problem.block(0, 8).data_ptr() == torch.from_numpy(cost).data_ptr()
    for way in ("fast", "log"):
        solve(problem, way=way).matrix()  # type: ignore[arg-type]
    np.testing.assert_array_equal(cost, before)
