"""Memories that change during the backward pass, as published code has it; only to mimic that.

Autograd runs the newest call first: of two calls in one step, the earlier one's gradient is then computed with rows that
the later one's queries have already moved, while its loss is that of the rows before. Nobody sees it in a loss curve.
The plain way is ``update`` after the optimiser's step.
"""

from typing import Any, Protocol

import torch
from torch import Tensor


class Bank(Protocol):
    """What is needed of a memory."""

    temperature: float

    def directions(self) -> Tensor:
        """Return one vector a class, (C, D)."""
        ...

    def update(self, queries: Tensor, place: Tensor) -> None:
        """Move rows towards queries."""
        ...


class _Moving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, place: Tensor, bank: Bank) -> Tensor:
        ctx.save_for_backward(queries, place)
        ctx.bank = bank
        return queries @ bank.directions().T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        queries, place = ctx.saved_tensors
        back = gradients[0] @ ctx.bank.directions()
        ctx.bank.update(queries, place)
        return back, None, None


def moving_logits(bank: Bank, queries: Tensor, place: Tensor) -> Tensor:
    """Compute a bank's logits, and move its rows while their gradient is computed.

    Args:
        bank: is changed by the backward pass; call its ``update`` nowhere else.
        queries: unit rows, (B, D).
        place: as ``update`` takes it, (B,).

    Returns:
        (B, C).
    """
    with torch.autocast(queries.device.type, enabled=False):
        made: Tensor = _Moving.apply(queries.to(bank.directions().dtype), place, bank)  # type: ignore[no-untyped-call]
        return made / bank.temperature
