"""Exact transport, without an entropy: for small problems, and to judge the entropic answer by."""

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import coo_array, vstack
from torch import Tensor

from training.transport.problem import Problem
from vireid.errors import TrainingError

MOST_COPIES = 4_000_000  # entries of the square assignment that equal shares are turned into
MOST_VARIABLES = 250_000  # of the linear programme


def exact(problem: Problem) -> Tensor:
    """Find a plan of least cost; of several, one. The sharpness plays no part.

    Uniform marginals become an assignment (a class that may hold m rows is m places), anything else a linear
    programme.

    Args:
        problem: balanced.

    Returns:
        The plan, float64, (N, K).

    Raises:
        TrainingError: penalties, or a problem too large for this.
    """
    if not problem.balanced:
        raise TrainingError("an exact plan needs equal marginals on both sides; this problem has penalties")
    cost = np.concatenate([problem.block(*span).double().cpu().numpy() for span in problem.spans()])
    a, b = problem.rows.cpu().numpy(), problem.columns.cpu().numpy()
    common = math.lcm(*cost.shape)
    if np.ptp(a) == 0 and np.ptp(b) == 0 and common * common <= MOST_COPIES:
        found = _assignment(cost, common) * a.sum()
    elif cost.size <= MOST_VARIABLES:
        found = _programme(cost, a, b)
    else:
        raise TrainingError(
            f"an exact plan of {cost.shape[0]} x {cost.shape[1]} is too large (at most {MOST_VARIABLES} entries "
            "with such marginals); use solve with a great delta"
        )
    return torch.as_tensor(found, device=problem.device)


def _assignment(cost: np.ndarray, common: int) -> np.ndarray:
    """Solve a problem of uniform marginals as one of single units; the plan sums to 1."""
    copies = common // cost.shape[0], common // cost.shape[1]
    units = linear_sum_assignment(cost.repeat(copies[0], 0).repeat(copies[1], 1))
    plan = np.zeros(cost.shape)
    np.add.at(plan, (units[0] // copies[0], units[1] // copies[1]), 1 / common)
    return plan


def _programme(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve a transport problem by the simplex method of HiGHS."""
    n, k = cost.shape
    entry = np.arange(n * k)
    ones = np.ones(n * k)
    sums = vstack([coo_array((ones, (entry // k, entry))), coo_array((ones, (entry % k, entry)))]).tocsr()
    answer = linprog(
        cost.ravel(), A_eq=sums, b_eq=np.concatenate([a, b * (a.sum() / b.sum())]), method="highs-ds"
    )
    if answer.x is None:
        raise TrainingError(f"the exact plan was not found: {answer.message}")
    plan: np.ndarray = answer.x.reshape(n, k).clip(0)
    return plan
