"""What is to be transported: a cost, two marginals, a sharpness. Knows no solver.

The problem is ``min_Q <Q, C> + KL(Q || a b^T) / delta`` with ``Q 1 = a`` and ``Q^T 1 = b``; with a penalty
``rho`` on a side, that side's equality becomes a term ``rho KL(marginal || wanted)`` (Wang et al., Optimal
Transport for Label-Efficient Visible-Infrared Person Re-Identification, ECCV 2022, equation 5; Chizat et al.,
Scaling Algorithms for Unbalanced Optimal Transport Problems, 2018).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vireid.errors import TrainingError

BLOCK = {"cpu": 1 << 17, "other": 1 << 25}  # elements held at a time: half of a CPU's second cache
BALANCE = 1e-6  # by which the two sides' totals may differ; what rounding leaves is made good

Dense = Tensor | NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class RowBlocks:
    """A cost that is computed a block of rows at a time and never held whole.

    Args:
        shape: rows and columns, (N, K).
        rows: called with the first row and the one past the last; gives their costs, (stop - start, K). It is
            called again in every iteration and must give the same each time.
        device: where the blocks lie.
    """

    shape: tuple[int, int]
    rows: Callable[[int, int], Dense]
    device: torch.device | str = "cpu"


class Problem:
    """A transport problem, checked.

    Nothing here carries a gradient: what is given is detached. A dense cost is kept as it is, not copied.

    Args:
        cost: finite, (N, K); an array, a tensor (solved on its device) or blocks of rows. A cost of
            ``-log_softmax(logits)`` makes ``exp(-delta * cost)`` the probabilities to the power delta.
        rows: what each row sends, (N,); 1/N each if not given. Zeros are allowed.
        columns: what each column receives, (K,); 1/K each if not given. Zeros are allowed.
        delta: sharpness, one over the weight of the entropy.
        penalties: weights of the rows' and the columns' KL penalties; None keeps that side's equality.

    Attributes:
        shape: (N, K).
        device: where the cost lies and plans are computed.

    Raises:
        TrainingError: an empty or misshapen problem, a cost that is not finite, negative or unequal marginals,
            a sharpness or penalty that is not positive.
    """

    def __init__(
        self,
        cost: Dense | RowBlocks,
        rows: ArrayLike | Tensor | None = None,
        columns: ArrayLike | Tensor | None = None,
        *,
        delta: float = 25.0,
        penalties: tuple[float | None, float | None] = (None, None),
    ) -> None:
        self._given: Tensor | RowBlocks = cost if isinstance(cost, RowBlocks) else _tensor(cost)
        if len(self._given.shape) != 2 or 0 in self._given.shape:
            raise TrainingError(
                f"the cost has shape {tuple(self._given.shape)}; expected (N, K) with at least one row and column"
            )
        self.shape = (int(self._given.shape[0]), int(self._given.shape[1]))
        self.device = torch.device(self._given.device)
        for name, value in (
            ("delta", delta),
            ("row penalty", penalties[0]),
            ("column penalty", penalties[1]),
        ):
            if value is not None and not 0 < value < math.inf:
                raise TrainingError(f"{name} is {value}; expected a finite number above 0")
        self.delta, self.penalties = float(delta), penalties
        self.rows = _marginal(rows, self.shape[0], "row", self.device)
        self.columns = _marginal(columns, self.shape[1], "column", self.device)
        totals = float(self.rows.sum()), float(self.columns.sum())
        if self.balanced:
            if abs(totals[0] - totals[1]) > BALANCE * max(totals):
                raise TrainingError(
                    f"row marginals sum to {totals[0]:.9g}, column marginals to {totals[1]:.9g}; a balanced "
                    "problem needs equal sums: scale one side, or give a penalty"
                )
            self.columns = self.columns * (totals[0] / totals[1])
        if isinstance(self._given, Tensor):
            for start, stop in self.spans():
                _check_finite(self._given[start:stop], start)

    @property
    def balanced(self) -> bool:
        """Tell whether both sides' marginals are to be met exactly."""
        return self.penalties == (None, None)

    @property
    def dense(self) -> bool:
        """Tell whether the cost is held whole."""
        return isinstance(self._given, Tensor)

    def block(self, start: int, stop: int) -> Tensor:
        """Give the costs of some rows, (stop - start, K), in their own precision.

        Raises:
            TrainingError: a block function gave another shape, or a cost that is not finite.
        """
        if isinstance(self._given, Tensor):
            return self._given[start:stop]
        found = _tensor(self._given.rows(start, stop)).to(self.device)
        if found.shape != (stop - start, self.shape[1]):
            raise TrainingError(
                f"rows {start} to {stop} of the cost have shape {tuple(found.shape)}; "
                f"expected {(stop - start, self.shape[1])}"
            )
        _check_finite(found, start)
        return found

    def spans(self) -> Iterator[tuple[int, int]]:
        """Cut the rows into blocks that fit a cache (or, on a GPU, a small part of its memory)."""
        elements = BLOCK["cpu" if self.device.type == "cpu" else "other"]
        height = max(1, elements // self.shape[1])
        for start in range(0, self.shape[0], height):
            yield start, min(start + height, self.shape[0])

    def transposed(self) -> "Problem":
        """Exchange rows and columns of a cost that is held whole, without copying it."""
        assert isinstance(self._given, Tensor)
        twin = object.__new__(Problem)
        twin._given, twin.shape, twin.device = self._given.T, self.shape[::-1], self.device
        twin.delta, twin.penalties = self.delta, self.penalties[::-1]
        twin.rows, twin.columns = self.columns, self.rows
        return twin


def _tensor(values: Dense) -> Tensor:
    tensor = values.detach() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    return tensor if tensor.is_floating_point() else tensor.double()


def _marginal(given: ArrayLike | Tensor | None, length: int, side: str, device: torch.device) -> Tensor:
    if given is None:
        return torch.full((length,), 1 / length, dtype=torch.float64, device=device)
    values = given.detach() if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    values = values.to(device, torch.float64)
    if values.shape != (length,):
        raise TrainingError(f"{side} marginals have shape {tuple(values.shape)}; expected ({length},)")
    if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
        raise TrainingError(
            f"{side} marginals hold negative numbers, NaN or infinity; expected weights from 0 up"
        )
    if float(values.sum()) == 0:
        raise TrainingError(f"{side} marginals are all 0: there is nothing to transport")
    return values


def _check_finite(block: Tensor, start: int) -> None:
    if math.isfinite(float(block.sum(dtype=torch.float64))):  # NaN and infinity survive a sum
        return
    wrong = (~torch.isfinite(block)).nonzero()
    row, column = (int(index) for index in wrong[0])
    raise TrainingError(
        f"the cost at ({start + row}, {column}) is {float(block[row, column])}; expected finite numbers. "
        "A logarithm of a probability that has become 0 does this: take log_softmax of the logits instead"
    )
