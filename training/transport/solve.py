"""The one way in: a problem and how well it is to be solved, to a plan."""

from dataclasses import replace
from typing import Literal, get_args

import torch

from training.transport.accelerated import solve_balanced
from training.transport.dual import Dual
from training.transport.kernel import Kernel
from training.transport.log_dual import LogDual
from training.transport.plan import Plan
from training.transport.problem import Problem
from training.transport.sinkhorn import LogDomain, Stop, until_marginals, until_published
from vireid.errors import TrainingError

Way = Literal["fast", "log", "log-float32"]

LEAST_SINGLE = 5e-7  # tolerance below which a kernel in single precision is too coarse
LARGEST_KERNEL = 1 << 32  # bytes; a larger one is not made


def solve(
    problem: Problem,
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
    stop: Stop = "marginal",
    way: Way = "fast",
) -> Plan:
    """Solve a transport problem.

    Args:
        problem: what is to be transported.
        max_iterations: passes over the cost at most. A plan that needs more comes back with ``converged`` False.
        tolerance: by which a row's or column's sum may deviate from its marginal, relative.
        stop: "marginal" goes by that; "published" stops where OTLA's published solver would, and always takes
            plain steps.
        way: "fast" extrapolates, takes Newton steps and, on a CPU, holds a kernel in memory (half of what a
            double-precision cost takes; of a cost given by blocks nothing else is held). "log" takes plain
            steps in the logarithmic domain and holds neither; "log-float32" the same in single precision,
            whose errors end near 1e-5. A problem with penalties always takes plain steps.

    Returns:
        A plan with its errors; look at ``converged``.

    Raises:
        TrainingError: an option that is out of range, or the published rule with penalties.
    """
    if max_iterations < 1 or not tolerance > 0:
        raise TrainingError(
            f"max_iterations is {max_iterations} and tolerance {tolerance}; expected at least 1 and above 0"
        )
    for name, value, known in (("stop", stop, get_args(Stop)), ("way", way, get_args(Way))):
        if value not in known:
            raise TrainingError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    with torch.no_grad():
        domain = LogDomain(problem, torch.float32 if way == "log-float32" else torch.float64)
        if stop == "published":
            return until_published(domain, max_iterations)
        if way != "fast" or not problem.balanced:
            return until_marginals(domain, max_iterations, tolerance)
        turned = problem.dense and problem.shape[0] < problem.shape[1]  # potentials of the shorter side
        plan = solve_balanced(
            _dual(problem.transposed() if turned else problem, tolerance), max_iterations, tolerance
        )
    if not turned:
        return plan
    return replace(
        plan,
        problem=problem,
        u=plan.v,
        v=plan.u,
        row_error=plan.column_error,
        column_error=plan.row_error,
    )


def _dual(problem: Problem, tolerance: float) -> Dual:
    kind = torch.float32 if tolerance >= LEAST_SINGLE else torch.float64
    if problem.device.type == "cpu" and problem.shape[0] * problem.shape[1] * kind.itemsize <= LARGEST_KERNEL:
        return Kernel(problem, kind)
    return LogDual(problem)
