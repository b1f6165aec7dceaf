"""What a solver found: two potentials and how good they are. The plan itself is computed when asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.transport.problem import Problem


@dataclass(frozen=True, slots=True)
class Plan:
    """A transport plan ``exp(u_i + v_j - delta C_ij)``, never stored and never part of a gradient.

    Args:
        problem: what was solved.
        u: potentials of the rows, float64, (N,); minus infinity where nothing is sent.
        v: potentials of the columns, float64, (K,).
        row_error: greatest relative deviation of a row's sum from the one wanted (of a penalised side: from the
            one that the optimum would have for this potential). Errors are as the solver's precision saw them;
            on the side that the last update met exactly, this is that precision's rounding.
        column_error: the same of the columns.
        converged: whether the stopping rule was met; if not, the plan is what the last iteration left.
        iterations: passes over the cost or its kernel.
        looks: what the stopping rule saw, in order.
    """

    problem: Problem
    u: Tensor
    v: Tensor
    row_error: float
    column_error: float
    converged: bool
    iterations: int
    looks: tuple[float, ...] = ()

    @property
    def error(self) -> float:
        """Give the greater of the two marginal errors."""
        return max(self.row_error, self.column_error)

    def rows(self, start: int, stop: int) -> Tensor:
        """Compute some rows of the plan, float64, (stop - start, K)."""
        exponent = self.problem.block(start, stop).double() * -self.problem.delta
        return exponent.add_(self.v).add_(self.u[start:stop, None]).exp_()

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Compute the plan block by block: the first row's number and the rows."""
        for start, stop in self.problem.spans():
            yield start, self.rows(start, stop)

    def matrix(self) -> Tensor:
        """Compute the whole plan, float64, (N, K)."""
        plan = torch.empty(self.problem.shape, dtype=torch.float64, device=self.problem.device)
        for start, block in self.blocks():
            plan[start : start + len(block)] = block
        return plan
