"""The dual by way of a kernel that is held in memory: one pass of multiplications a look, for a CPU.

The kernel ``exp(f0_i + v0_j - delta C_ij)`` has the potentials of the time it was made absorbed, so that each
row's greatest entry is 1; what is multiplied to it since stays near 1. It is made anew only when the columns'
potentials have grown apart (Schmitzer, Stabilized Sparse Scaling Algorithms for Entropy Regularized Transport
Problems, 2019, section 3.1). In single precision it rounds each entry by 6e-8; sums are double.
"""

import math

import numpy as np
import torch
from torch import Tensor

from training.transport.dual import Look
from training.transport.problem import Problem

GROWN = 40.0  # how far apart column potentials may move before the kernel is made anew
FLOOR = -80.0  # of exponents: nothing in the kernel is 0 or denormal, whichever column asks for it
LEAST_SHARE = 1e-9  # of a row, below which an entry couples nothing
DENSE = 16  # a row's entries are few if there are this many times more columns
STRIP = 1 << 20  # elements multiplied at a time


class Kernel:
    """The dual of a balanced problem on a CPU.

    Args:
        problem: balanced.
        precision: of the kernel, float32 or float64.
    """

    def __init__(self, problem: Problem, precision: torch.dtype) -> None:
        n, k = problem.shape
        self.problem = problem
        self.builds = 0
        self.rounding = float(torch.finfo(precision).eps)
        # NumPy asks for large pages, which a memory-bound pass gains a quarter from
        self._kernel = np.empty((n, k), np.float32 if precision == torch.float32 else np.float64)
        self._absorbed: Tensor | None = None
        self._shift = torch.empty(n, dtype=torch.float64)
        self._dots = torch.empty(n, dtype=torch.float64)
        self._sums = torch.empty(k, dtype=torch.float64)
        self._beta = torch.ones(k, dtype=torch.float64)
        self._level = 0.0

    def look(self, g: Tensor) -> Look:
        """Evaluate the dual for the columns' potentials, float64, (K,)."""
        from training.transport.loops import sweep

        if self._absorbed is None or float((g - self._absorbed).max() - (g - self._absorbed).min()) > GROWN:
            self._build(g)
        assert self._absorbed is not None
        moved = g - self._absorbed
        self._level = float(moved.mean())
        self._beta = (moved - self._level).exp_()
        sweep(
            self._kernel,
            self._beta.numpy(),
            self.problem.rows.numpy(),
            self._dots.numpy(),
            self._sums.numpy(),
        )
        return Look.of(self.problem, self._sums * self._beta, g, self.rows())

    def rows(self) -> Tensor:
        """Give the rows' potentials of the last look, (N,)."""
        return self._shift - self._dots.log() - self._level

    def couplings(self) -> Tensor:
        """Give what each two columns share at the last look, (K, K)."""
        from training.transport.loops import count, couple, weigh

        kernel = self._kernel
        beta, rows, dots = (part.numpy() for part in (self._beta, self.problem.rows, self._dots))
        n, k = kernel.shape
        coupled = torch.zeros((k, k), dtype=torch.float64)
        some = slice(None, None, max(1, n // 256))
        few = count(kernel[some], beta, dots[some], LEAST_SHARE) * DENSE < math.ceil(n / (some.step or 1)) * k
        if few:
            couple(kernel, beta, rows, dots, LEAST_SHARE, coupled.numpy())
            return coupled.add(coupled.T)
        height = min(n, max(1, STRIP // k))
        strip = torch.empty((height, k), dtype=torch.float32)
        scale = n / float(self.problem.rows.sum())  # keeps single precision away from its ends
        for start in range(0, n, height):
            held = min(height, n - start)
            part = slice(start, start + held)
            weigh(kernel[part], beta, rows[part] * scale, dots[part], LEAST_SHARE, strip.numpy())
            coupled += strip[:held].T @ strip[:held]
        return coupled.div(scale)

    def _build(self, g: Tensor) -> None:
        from training.transport.loops import exponents

        v = torch.where(
            self.problem.columns > 0, g + self.problem.columns.log(), -torch.finfo(torch.float64).max
        )
        height = max(stop - start for start, stop in self.problem.spans())
        values = np.empty((height, self.problem.shape[1]))
        for start, stop in self.problem.spans():
            part = values[: stop - start]
            block, shift = self.problem.block(start, stop), self._shift[start:stop]
            if block.dtype not in (torch.float32, torch.float64):
                block = block.float()
            exponents(block.numpy(), v.numpy(), self.problem.delta, FLOOR, part, shift.numpy())
            self._kernel[start:stop] = np.exp(part, out=part)
        if bool((self.problem.columns == 0).any()):
            self._kernel[:, (self.problem.columns == 0).numpy()] = 0
        self._absorbed = g.clone()
        self.builds += 1
