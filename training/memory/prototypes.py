"""A memory of one prototype a class (Dai et al., Cluster Contrast for Unsupervised Person Re-Identification, ACCV 2022)."""

from typing import Literal

import torch
from torch import Tensor

from training.memory.rows import Rows

Update = Literal["instance", "batch_mean", "hardest"]


class PrototypeBank(Rows):
    """Unit prototypes that queries are compared with and move.

    Args:
        classes: C.
        dim: D.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a prototype.
        update: ``instance``: one query after another moves its class's; ``batch_mean``: the mean of a class's
            queries does; ``hardest``: the least similar of them does.
    """

    def __init__(
        self, classes: int, dim: int, *, temperature: float, momentum: float, update: Update = "instance"
    ) -> None:
        super().__init__(classes, dim, momentum)
        self.temperature = temperature
        self._update = update

    def directions(self) -> Tensor:
        """Return the prototypes, (C, D)."""
        return self.rows

    def logits(self, queries: Tensor) -> Tensor:
        """Compare with every class, differentiable in the queries only.

        Args:
            queries: unit rows, (B, D).

        Returns:
            (B, C).
        """
        with torch.autocast(queries.device.type, enabled=False):
            return queries.to(self.rows.dtype) @ self.rows.T / self.temperature

    @torch.no_grad()
    def update(self, queries: Tensor, labels: Tensor) -> None:
        """Move the prototypes of a batch's classes; call it after the optimiser's step.

        Args:
            queries: unit rows, (B, D).
            labels: classes, (B,).
        """
        queries = queries.detach().to(self.rows)
        if self._update == "instance":
            self.move(labels, queries)
            return
        classes, place = torch.unique(labels, return_inverse=True)
        if self._update == "batch_mean":
            sums = queries.new_zeros(len(classes), queries.shape[1]).index_add_(0, place, queries)
            self.blend(classes, sums / torch.bincount(place)[:, None])
            return
        alike = (queries * self.rows[labels]).sum(1)
        among = place[None] == torch.arange(len(classes), device=place.device)[:, None]
        self.blend(classes, queries[alike.expand(len(classes), -1).masked_fill(~among, torch.inf).argmin(1)])
