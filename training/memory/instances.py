"""A memory of images and classes together: the hybrid memory of SpCL.

Ge et al., Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID, NeurIPS 2020, section 3.2: a row
for each class of a labelled source set and one for each image of the target; a class is as similar as its rows are on average.
"""

import torch
from torch import Tensor

from training.memory.rows import Rows


class InstanceBank(Rows):
    """Unit rows, each of a class; classes change from epoch to epoch, rows move from step to step.

    Args:
        count: of rows: source classes first, if any, then one a target image.
        dim: D.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a row.
    """

    labels: Tensor

    def __init__(self, count: int, dim: int, *, temperature: float, momentum: float) -> None:
        super().__init__(count, dim, momentum)
        self.temperature = temperature
        self.register_buffer("labels", torch.arange(count))

    def relabel(self, labels: Tensor) -> None:
        """Say which class each row is of, (R,); ``labels`` then counts them from 0 without gaps, in the order given."""
        self.labels = torch.unique(labels.to(self.labels), return_inverse=True)[1]

    def directions(self) -> Tensor:
        """Return the mean of each class's rows, (C, D): a mean of similarities is the similarity of the mean."""
        sizes = torch.bincount(self.labels)
        sums = self.rows.new_zeros(len(sizes), self.rows.shape[1]).index_add_(0, self.labels, self.rows)
        return sums / sizes[:, None]

    def logits(self, queries: Tensor) -> Tensor:
        """Compare with every class, differentiable in the queries only.

        Args:
            queries: unit rows, (B, D).

        Returns:
            (B, C).
        """
        with torch.autocast(queries.device.type, enabled=False):
            return queries.to(self.rows.dtype) @ self.directions().T / self.temperature

    @torch.no_grad()
    def update(self, queries: Tensor, place: Tensor) -> None:
        """Move the rows of a batch, one query after another; call it after the optimiser's step.

        Args:
            queries: unit rows, (B, D).
            place: the row of each, (B,).
        """
        self.move(place, queries)
