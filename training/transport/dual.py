"""What an accelerated solver needs of a problem: its dual function, seen from the columns' potentials.

For column potentials g the rows' follow, so that row marginals are exact and only the columns deviate. The dual
``F(g) = sum_i a_i log sum_j b_j exp(g_j - delta C_ij) - sum_j b_j g_j`` is convex; its gradient is the columns'
sums less their marginals, and its second derivative the Laplacian of the graph in which two columns are joined
by what they share in the rows (Tang et al., Accelerating Sinkhorn Algorithm with Sparse Newton Iterations, 2024,
section 2, with the rows' potentials eliminated).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from training.transport.problem import Problem


@dataclass(frozen=True, slots=True)
class Look:
    """One evaluation of the dual.

    Args:
        residual: what Sinkhorn's step would add to the columns' potentials, (K,).
        sums: the columns' sums, (K,).
        error: their greatest relative deviation.
        value: of the dual.
    """

    residual: Tensor
    sums: Tensor
    error: float
    value: float

    @classmethod
    def of(cls, problem: Problem, sums: Tensor, g: Tensor, f: Tensor) -> "Look":
        """Make a look of the columns' sums and both sides' potentials."""
        asked = problem.columns > 0
        ratio = torch.where(asked, sums / problem.columns, 1.0)
        value = -(problem.rows @ f) - problem.columns @ g
        return cls(-ratio.log(), sums, float((ratio - 1).abs().max()), float(value))


class Dual(Protocol):
    """A problem's dual; ``couplings`` and ``rows`` belong to the last look, ``rounding`` bounds a row's error."""

    problem: Problem
    rounding: float

    def look(self, g: Tensor) -> Look:
        """Evaluate it for the columns' potentials, float64, (K,)."""

    def rows(self) -> Tensor:
        """Give the rows' potentials, (N,)."""

    def couplings(self) -> Tensor:
        """Give what each two columns share, (K, K); the diagonal means nothing."""
