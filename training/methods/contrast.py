"""Comparing queries with a bank of prototypes, and moving it by what was compared: what methods of clusters share.

A bank is set anew from an epoch's clusters; in a step, queries are compared with it, and those of the classes it holds are
remembered; after the step they move it, those of all processes alike. Knows no method and no labels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training import losses, ranks
from training.memory import PrototypeBank, moving_logits
from training.memory.prototypes import Update
from training.models.network import Embedded
from vireid.arrays import Float32Array
from vireid.errors import TrainingError


class Contrast:
    """A bank, and what the step before has shown it.

    Attributes:
        bank: to be saved with what is learnt.

    Args:
        dim: D.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a prototype.
        update: how queries move their class's prototype.
        in_backward: move it while gradients are computed, as published code does, and not after the step.

    Raises:
        TrainingError: several processes would move banks apart.
    """

    def __init__(
        self,
        dim: int,
        *,
        temperature: float,
        momentum: float,
        update: Update = "instance",
        in_backward: bool = False,
    ) -> None:
        if in_backward and ranks.count() > 1:
            raise TrainingError(
                f"{ranks.count()} processes would each move a memory of its own; set method.compat.in_backward=false"
            )
        self.bank = PrototypeBank(0, dim, temperature=temperature, momentum=momentum, update=update)
        self._in_backward = in_backward
        self._seen: list[tuple[Tensor, Tensor]] = []

    def reset(self, rows: Float32Array) -> None:
        """Remember these prototypes instead, brought to unit length, (C, D)."""
        self.bank.reset(torch.from_numpy(rows))

    def logits(self, queries: Tensor) -> Tensor:
        """Compare with every prototype, and move none; differentiable in the queries only.

        Args:
            queries: unit rows, (B, D).

        Returns:
            (B, C).
        """
        return self.bank.logits(queries)

    def shown(self, queries: Tensor, classes: Tensor) -> Tensor:
        """Compare with every prototype; after the step the queries move those of their classes.

        Args:
            queries: unit rows, (B, D).
            classes: of each, -1 for one that moves none after the step, (B,).

        Returns:
            As ``logits``.
        """
        if self._in_backward:
            return moving_logits(self.bank, queries, classes)
        self._seen.append((queries.detach(), classes))
        return self.bank.logits(queries)

    def loss(self, queries: Tensor, classes: Tensor, *, moves: bool = True) -> Tensor:
        """Average the cross-entropy over queries that have a class.

        Every process calls it as often as the others do, whatever its queries.

        Args:
            queries: unit rows, (B, D).
            classes: of each, -1 for none, (B,).
            moves: whether they move the prototypes of their classes after the step.

        Returns:
            A scalar; 0 if no query has a class.
        """
        inside = classes >= 0
        if not bool(inside.any()):
            if moves:
                # told all the same: what other processes have seen is gathered call by call
                self._seen.append((queries.detach(), classes))
            return queries.sum() * 0
        if not moves:
            return losses.identity(self.logits(queries)[inside], classes[inside])
        if self._in_backward:
            return losses.identity(self.shown(queries[inside], classes[inside]), classes[inside])
        return losses.identity(self.shown(queries, classes)[inside], classes[inside])

    def after_step(self, parts: int = 1) -> None:
        """Move the prototypes: one call's queries after another's, those of the first process first.

        Args:
            parts: that each call's queries fall into, all of one length; then one part of all processes after another, as
                they would stand in one process.
        """
        for own, place in self._seen:
            queries, classes = ranks.gather(own, parts), ranks.gather(place, parts)
            inside = classes >= 0
            if bool(inside.any()):
                self.bank.update(queries[inside], classes[inside])
        self._seen.clear()


def query(seen: Embedded) -> Tensor:
    """Return what is compared: features after the neck at length one, (B, D)."""
    return F.normalize(seen.necked.float())


def by_views(
    contrast: Contrast,
    queries: Tensor,
    classes: Tensor,
    view: Tensor,
    how: Literal["added", "averaged"],
    *,
    moves: bool = True,
) -> Tensor:
    """Average the cross-entropy to a bank's classes over the rows of each view.

    Args:
        contrast: the bank.
        queries: unit rows, (B, D).
        classes: of each, -1 for none, (B,).
        view: of each, 0 or 1, (B,).
        how: several views' losses are added or averaged.
        moves: whether the queries move the prototypes of their classes after the step.
    """
    rows = [view == number for number in torch.unique(view).tolist()]
    if not rows:
        return queries.sum() * 0.0  # a batch without a modality teaches nothing of it
    made = torch.stack([contrast.loss(queries[of], classes[of], moves=moves) for of in rows]).sum()
    return made / len(rows) if how == "averaged" else made
