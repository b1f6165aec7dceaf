"""The one way in: a problem and how well it is to be solved, to a plan."""

import torch

from training.transport.plan import Plan
from training.transport.problem import Problem
from training.transport.sinkhorn import LogDomain, Stop, until_marginals, until_published
from vireid.errors import TrainingError


def solve(
    problem: Problem,
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
    stop: Stop = "marginal",
    precision: torch.dtype = torch.float64,
) -> Plan:
    """Solve a transport problem.

    Args:
        problem: what is to be transported.
        max_iterations: passes over the cost at most. A plan that needs more comes back with ``converged`` False.
        tolerance: by which a row's or column's sum may deviate from its marginal, relative.
        stop: "marginal" goes by that; "published" stops where OTLA's published solver would.
        precision: of the logarithmic domain's sums. In float32 errors end near 1e-5.

    Returns:
        A plan with its errors; look at ``converged``.

    Raises:
        TrainingError: an option that is out of range, or a published rule with penalties.
    """
    if max_iterations < 1 or not tolerance > 0:
        raise TrainingError(
            f"max_iterations is {max_iterations} and tolerance {tolerance}; expected at least 1 and above 0"
        )
    with torch.no_grad():
        domain = LogDomain(problem, precision)
        if stop == "published":
            return until_published(domain, max_iterations)
        return until_marginals(domain, max_iterations, tolerance)
