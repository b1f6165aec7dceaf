"""Learning within each modality: clusters, a bank of their means, a contrastive loss against it.

What DCL is and others begin with. Knows nothing that joins the modalities.
"""

import numpy as np
import torch
from torch import Tensor, nn

from training.data.loaders import Batch
from training.data.samplers import Draw, Part
from training.features import Look
from training.labels.by_modality import Clustered, centres, cluster_each
from training.method_settings import DclSettings, MiotSettings
from training.methods.contrast import Contrast, by_views
from vireid.arrays import Float32Array, Int64Array
from vireid.types import Modality

Wanted = DclSettings | MiotSettings


class WithinModality:
    """Clusters of both modalities, each with a bank of its own.

    Attributes:
        contrasts: the bank of each modality.
        labels: cluster of each image in its own modality, -1 for outliers, (N,); from ``cluster``.

    Args:
        dim: of the embeddings.
        modality: of each image, (N,).
        wanted: of clusters and prototypes.

    Raises:
        TrainingError: several processes would move prototypes apart.
    """

    def __init__(self, dim: int, modality: Int64Array, wanted: Wanted) -> None:
        self._modality, self._wanted = modality, wanted
        self.contrasts = {kind: contrast(dim, wanted) for kind in Modality}
        self.labels = np.full(len(modality), -1, np.int64)

    def banks(self) -> dict[str, nn.Module]:
        """Return what is to be saved, by name."""
        return {f"{kind.word}_bank": of.bank for kind, of in self.contrasts.items()}

    def cluster(self, look: Look) -> tuple[Float32Array, Clustered]:
        """Cluster each modality, and begin with the means of its clusters as prototypes.

        Returns:
            The embeddings, and the clusters.

        Raises:
            TrainingError: a modality has fewer than two clusters.
        """
        features = look.embeddings()
        made = cluster_each(features, self._modality, self._wanted.clusters)
        self.labels = made.labels
        for kind, of in self.contrasts.items():
            of.reset(centres(features, made.of(kind), made.count(kind), normalise=True))
        return features, made

    def draw(self) -> Draw:
        """Draw clusters of each modality, one without the other; outliers are left out."""
        parts = (Part(np.where(self._modality == kind, self.labels, -1)) for kind in Modality)
        return Draw(tuple(parts), paired=False, shrink=True)

    def losses(self, queries: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Compute the contrastive loss of each modality, by its name.

        Args:
            queries: unit rows, (B, D).
            batch: what they are of.
        """
        labels = torch.from_numpy(self.labels).to(batch.index.device)[batch.index]
        found = {}
        for kind, of in self.contrasts.items():
            rows = batch.modality == kind
            found[kind.word] = by_views(of, queries[rows], labels[rows], batch.view[rows], self._wanted.views)
        return found

    def after_step(self) -> None:
        """Move the prototypes towards what the step has seen."""
        for of in self.contrasts.values():
            of.after_step()


def contrast(dim: int, wanted: Wanted) -> Contrast:
    """Make a bank as settings want it."""
    return Contrast(
        dim,
        temperature=wanted.temperature,
        momentum=wanted.momentum,
        update=wanted.update,
        in_backward=wanted.compat.in_backward,
    )
