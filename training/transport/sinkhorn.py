"""Sinkhorn's iteration in the logarithmic domain: right at any sharpness, and the reference for the faster one.

Cuturi, Sinkhorn Distances, 2013, algorithm 1, with sums taken as log-sum-exp; penalised marginals after Chizat
et al., Scaling Algorithms for Unbalanced Optimal Transport Problems, 2018, algorithm 1. An iteration reads the
cost once, a block of rows at a time: a block's rows give their potentials, which at once add to the columns'
sums. Potentials are held relative to the marginals (``u = log a + f``, ``v = log b + g``).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from training.transport.plan import Plan
from training.transport.problem import Problem
from vireid.errors import TrainingError

PUBLISHED_EVERY, PUBLISHED_LIMIT = 10, 0.1

Stop = Literal["marginal", "published"]


@dataclass(frozen=True, slots=True)
class LogDomain:
    """Passes over a problem's cost.

    Args:
        problem: what is solved.
        precision: of the sums over a block. Costs are taken relative to their row's least before they are
            multiplied by delta, so that float32 keeps its digits for the entries that matter.
    """

    problem: Problem
    precision: torch.dtype = torch.float64

    @property
    def powers(self) -> tuple[float, float]:
        """Give what damps the two sides' updates: 1 for an equality, less for a penalty."""
        delta = self.problem.delta
        row, column = (
            1.0 if rho is None else rho * delta / (1 + rho * delta) for rho in self.problem.penalties
        )
        return row, column

    def sweep(self, g: Tensor, f: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the rows' potentials for g (or keep f) and the columns' potentials for those of the rows.

        Args:
            g: potentials of the columns, (K,).
            f: if given, potentials of the rows that are to be kept, (N,).
        """
        problem, (row_power, column_power) = self.problem, self.powers
        v = (g + problem.columns.log()).to(self.precision)
        found = torch.empty(problem.shape[0], dtype=torch.float64, device=problem.device)
        sums = torch.full((problem.shape[1],), -torch.inf, dtype=torch.float64, device=problem.device)
        weights = problem.rows.log()
        for start, stop in problem.spans():
            block = problem.block(start, stop).to(self.precision)
            least = block.amin(1)
            block = (least[:, None] - block).mul_(problem.delta)
            shift = problem.delta * least.double()
            if f is None:
                found[start:stop] = row_power * (shift - (block + v).logsumexp(1).double())
            else:
                found[start:stop] = f[start:stop]
            block.add_((found[start:stop] + weights[start:stop] - shift).to(self.precision)[:, None])
            sums = torch.logaddexp(sums, block.logsumexp(0).double())
        return found, -column_power * sums

    def deviation(self, g: Tensor, wanted: Tensor) -> float:
        """Tell how far the columns' sums are from those wanted, relative, for g and the rows that follow from it.

        Args:
            g: potentials of the columns, (K,).
            wanted: those that the following sweep found, (K,).
        """
        return float((((g - wanted) / self.powers[1]).expm1().abs() * (self.problem.columns > 0)).max())

    def plan(
        self, f: Tensor, g: Tensor, found: tuple[float, bool, int], looks: tuple[float, ...] = ()
    ) -> Plan:
        """Make a plan of potentials of which the rows' follow from the columns'.

        Args:
            f: potentials of the rows, (N,).
            g: potentials of the columns, (K,).
            found: the columns' deviation, whether that is good enough, and the iterations it took.
            looks: what the stopping rule saw.
        """
        problem, (error, converged, iterations) = self.problem, found
        u, v = f + problem.rows.log(), g + problem.columns.log()
        row_error = float(torch.finfo(self.precision).eps)
        return Plan(problem, u, v, row_error, error, converged, iterations, looks)


def until_marginals(domain: LogDomain, max_iterations: int, tolerance: float) -> Plan:
    """Iterate until every row and column deviates by no more than the tolerance, relative."""
    g = torch.zeros(domain.problem.shape[1], dtype=torch.float64, device=domain.problem.device)
    looks = []
    for iteration in range(1, max_iterations + 1):
        f, wanted = domain.sweep(g)
        looks.append(domain.deviation(g, wanted))
        if looks[-1] <= tolerance or iteration == max_iterations:
            break
        g = wanted
    return domain.plan(f, g, (looks[-1], looks[-1] <= tolerance, iteration), tuple(looks))


def until_published(domain: LogDomain, max_iterations: int) -> Plan:
    """Iterate as OTLA's published solver does, and stop where it stops.

    Column scalings follow from rows that start at their marginals, then rows from columns; at iterations 0, 10,
    20, ... it stops once the relative changes of the row scalings, summed over all rows, are below 0.1. The sum
    makes the rule strict for many rows and loose for few; the columns' error at the end is in the plan.

    Raises:
        TrainingError: a problem with penalties, which the rule is not defined for.
    """
    if not domain.problem.balanced:
        raise TrainingError("the published stopping rule knows no penalties; use the marginal rule with them")
    f = torch.zeros(domain.problem.shape[0], dtype=torch.float64, device=domain.problem.device)
    _, g = domain.sweep(torch.zeros_like(domain.problem.columns), f)
    looks: list[float] = []
    sends = domain.problem.rows > 0
    for step in range(max_iterations):
        before = f
        f, wanted = domain.sweep(g)
        met = False
        if step % PUBLISHED_EVERY == 0:
            looks.append(float(((before - f).expm1().abs() * sends).sum()))
            met = looks[-1] < PUBLISHED_LIMIT
        if met or step == max_iterations - 1:
            break
        g = wanted
    return domain.plan(f, g, (domain.deviation(g, wanted), met, step + 1), tuple(looks))
