"""Rows that move towards queries, as every memory's do. Knows no classes."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Rows(nn.Module):
    """Unit rows that are remembered and saved, not learnt; a checkpoint with another number of them restores too.

    Args:
        count: of rows, zeros until they are set.
        dim: of a row.
        momentum: weight of the old value.
    """

    rows: Tensor

    def __init__(self, count: int, dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rows", torch.zeros(count, dim))

    def reset(self, rows: Tensor) -> None:
        """Remember these rows instead, brought to unit length, (R, D)."""
        self.rows = F.normalize(rows.detach().to(self.rows))

    def move(self, place: Tensor, towards: Tensor) -> None:
        """Move rows one query after another: M <- n(mu M + (1 - mu) q), in the order of the queries.

        Args:
            place: of the row each query moves, (B,).
            towards: the queries, (B, D).
        """
        towards = towards.detach().to(self.rows)
        # the first query of every row, then the second of every row: rows do not depend on one another
        turn = _turns(place)
        for number in range(int(turn.max()) + 1 if len(turn) else 0):
            now = turn == number
            self.blend(place[now], towards[now])

    def blend(self, place: Tensor, towards: Tensor) -> None:
        """Move rows, each named once, towards one query each."""
        mixed = self.momentum * self.rows[place] + (1 - self.momentum) * towards.to(self.rows)
        self.rows[place] = F.normalize(mixed)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        for name, own in list(self._buffers.items()):
            found = state_dict.get(prefix + name)
            if own is not None and found is not None and found.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_zeros(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *more)


def _turns(place: Tensor) -> Tensor:
    """Count, for each entry, how many equal ones stand before it, (B,)."""
    equal = place[:, None] == place[None]
    return equal.tril(-1).sum(1)
