"""The dual straight from the cost, block by block in the logarithmic domain: for a GPU, and for what no kernel fits.

Computes in double precision on whatever device the cost lies; holds nothing of the size of the cost.
"""

import torch
from torch import Tensor

from training.transport.dual import Look
from training.transport.problem import Problem


class LogDual:
    """The dual of a balanced problem.

    Args:
        problem: balanced.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rounding = float(torch.finfo(torch.float64).eps)
        self._v = problem.columns.log()
        self._rows = torch.zeros_like(problem.rows)

    def look(self, g: Tensor) -> Look:
        """Evaluate the dual for the columns' potentials, float64, (K,)."""
        self._v = g + self.problem.columns.log()
        sums = torch.zeros_like(g)
        for start, stop in self.problem.spans():
            shares, total = self._shares(start, stop)
            self._rows[start:stop] = -total
            sums += self.problem.rows[start:stop] @ shares
        return Look.of(self.problem, sums, g, self._rows)

    def rows(self) -> Tensor:
        """Give the rows' potentials of the last look, (N,)."""
        return self._rows

    def couplings(self) -> Tensor:
        """Give what each two columns share at the last look, (K, K)."""
        k = self.problem.shape[1]
        coupled = torch.zeros((k, k), dtype=torch.float64, device=self.problem.device)
        for start, stop in self.problem.spans():
            shares, _ = self._shares(start, stop)
            shares *= self.problem.rows[start:stop, None].sqrt()
            coupled += shares.T @ shares
        return coupled

    def _shares(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Give each row's distribution over the columns, and the logarithm of what it was divided by."""
        exponents = self.problem.block(start, stop).to(torch.float64, copy=True).mul_(-self.problem.delta)
        exponents.add_(self._v)
        greatest = exponents.amax(1)
        shares = exponents.sub_(greatest[:, None]).exp_()
        sums = shares.sum(1)
        return shares.div_(sums[:, None]), greatest + sums.log()
