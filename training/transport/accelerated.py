"""Balanced problems, faster than by Sinkhorn's steps alone: extrapolated steps, then Newton's.

Each look at the dual costs one pass. First Sinkhorn's steps are extrapolated from the ones before (Anderson,
Iterative Procedures for Nonlinear Integral Equations, 1965), which suits soft plans; if that would take long,
Newton's method on the columns' potentials follows, damped as Levenberg and Marquardt do, with a few Sinkhorn
steps after each of its own: those undo what a long step does to single columns.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.transport.dual import Dual, Look
from training.transport.plan import Plan

REMEMBERED = 8  # earlier steps that an extrapolation is made of
PATIENCE, WORTH = 30, 60  # steps before a forecast is made, and how many more it may ask for
FAILURES, LONGEST = 3, 40.0  # extrapolated steps that may fail, and their greatest length
NEWTON_COLUMNS = 2048  # most columns whose second derivative is formed
POLISH, ROUGH = 2, 1e-3  # Sinkhorn steps after one of Newton's, down to an error
FIRST_DAMPING, DAMPING_FACTOR, TRIES = 1e-2, 6.0, 12
SLACK = 1e-13  # of the dual's value, by which rounding may raise it


@dataclass(slots=True)
class Search:
    """Where the search stands.

    Args:
        dual: what is minimised.
        tolerance: error that ends it.
        budget: looks allowed.
        g: the columns' potentials that the last look was taken at.
        look: that look.
        errors: of all looks so far.
    """

    dual: Dual
    tolerance: float
    budget: int
    g: Tensor
    look: Look
    errors: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, dual: Dual, tolerance: float, budget: int) -> "Search":
        """Begin with potentials of 0."""
        g = torch.zeros_like(dual.problem.columns)
        look = dual.look(g)
        return cls(dual, tolerance, budget, g, look, [look.error])

    def over(self) -> bool:
        """Tell whether the tolerance is met or the budget spent."""
        return self.look.error <= self.tolerance or len(self.errors) >= self.budget

    def go(self, g: Tensor) -> None:
        """Look somewhere else."""
        self.g, self.look = g, self.dual.look(g)
        self.errors.append(self.look.error)


def solve_balanced(dual: Dual, max_iterations: int, tolerance: float) -> Plan:
    """Minimise the dual of a balanced problem until every column deviates by no more than the tolerance."""
    search = Search.start(dual, tolerance, max_iterations)
    small = dual.problem.shape[1] <= NEWTON_COLUMNS
    extrapolate(search, forecast=small)
    if small and not search.over():
        newton(search)
        extrapolate(search, forecast=False)
    problem, f = dual.problem, dual.rows()
    return Plan(
        problem=problem,
        u=f + problem.rows.log(),
        v=search.g + problem.columns.log(),
        row_error=dual.rounding,
        column_error=search.look.error,
        converged=search.look.error <= tolerance,
        iterations=len(search.errors),
        looks=tuple(search.errors),
    )


def extrapolate(search: Search, *, forecast: bool) -> None:
    """Take Sinkhorn's steps, each extrapolated from the ones before.

    A step that raises the dual is taken back, what was remembered forgotten, and a plain one taken instead,
    which never does.

    Args:
        search: moved in place.
        forecast: give up once the errors' trend would need many more steps.
    """
    weights = search.dual.problem.columns.sqrt()
    past: deque[tuple[Tensor, Tensor]] = deque(maxlen=REMEMBERED + 1)
    kept, failures = (search.g, search.look), 0
    while not search.over() and not (
        forecast and (failures == FAILURES or _slow(search.errors, search.tolerance))
    ):
        if _better(search.look, kept[1]):
            kept = search.g, search.look
            past.append((search.g, search.look.residual))
            search.go(search.g + _step(past, weights))
        else:
            failures += 1
            past.clear()
            search.go(kept[0] + kept[1].residual)
            kept = search.g, search.look
    if not _better(search.look, kept[1]) and not search.over():
        search.go(kept[0])


def _step(past: deque[tuple[Tensor, Tensor]], weights: Tensor) -> Tensor:
    """Combine remembered steps so that what is left of the residual is least."""
    residual = past[-1][1]
    if len(past) < 2:
        return residual
    moves = torch.stack(
        [later[0] - earlier[0] for earlier, later in zip(past, list(past)[1:], strict=False)], 1
    )
    changes = torch.stack(
        [later[1] - earlier[1] for earlier, later in zip(past, list(past)[1:], strict=False)], 1
    )
    weighted = changes * weights[:, None]
    norms = weighted.norm(dim=0).clamp(min=1e-300)
    left, values, right = torch.linalg.svd(weighted / norms, full_matrices=False)
    inverse = torch.where(values > 1e-8 * values[0], 1 / values, 0.0)
    mix = (right.T @ (inverse * (left.T @ (residual * weights)))) / norms
    step = residual - (moves + changes) @ mix
    return step if float(step.max() - step.min()) < LONGEST else residual


def _slow(errors: list[float], tolerance: float) -> bool:
    """Tell, now and then, whether the errors of late would need many more steps to come down to the tolerance."""
    half = PATIENCE // 2
    if len(errors) < PATIENCE or len(errors) % half:
        return False
    late = [math.log(error) for error in errors[-PATIENCE:]]
    gain = (sum(late[:half]) - sum(late[half:])) / half**2
    return late[-1] - math.log(tolerance) > WORTH * gain


def newton(search: Search) -> None:
    """Take damped Newton steps until the search is over or none helps any more."""
    damping = FIRST_DAMPING
    columns = search.dual.problem.columns
    while not search.over():
        before, start = search.look, search.g
        coupled = search.dual.couplings().fill_diagonal_(0)
        for attempt in range(TRIES):
            step = _newton_step(coupled, before.sums, columns, damping)
            search.go(start + step)
            for _ in range(POLISH):
                if search.over() or search.look.error <= ROUGH:
                    break
                search.go(search.g + search.look.residual)
            if search.over() or _better(search.look, before):
                damping /= DAMPING_FACTOR if attempt == 0 else 1
                break
            damping *= DAMPING_FACTOR
        else:
            search.go(start)
            return


def _better(look: Look, before: Look) -> bool:
    """Tell whether a look is no worse: rounding may raise the dual's value near its least."""
    return look.value <= before.value + SLACK * abs(before.value) or look.error < before.error / 2


def _newton_step(coupled: Tensor, sums: Tensor, columns: Tensor, damping: float) -> Tensor:
    """Solve for a step; adding a constant to all potentials changes nothing, so that direction is fixed.

    The term that fixes it has no zeros, which also keeps the factors' small numbers from becoming denormal.
    """
    second = torch.outer(columns, columns / columns.sum()) - coupled
    second.diagonal().add_(coupled.sum(1) + damping * torch.maximum(columns, sums))
    second.diagonal()[columns == 0] = 1
    factor, failed = torch.linalg.cholesky_ex(second)
    if int(failed):
        return torch.where(columns > 0, (columns / sums).log(), 0.0)
    return torch.cholesky_solve((columns - sums)[:, None], factor)[:, 0]
