"""DCL: clusters of each modality, a prototype of each cluster, and nothing between the modalities.

The dual-contrastive learning of Yang et al., Augmented Dual-Contrastive Aggregation Learning for Unsupervised
Visible-Infrared Person Re-Identification, ACM Multimedia 2022: what most unsupervised methods of the field begin with and
are compared to. Every epoch clusters the images of each modality and remembers the mean of each cluster; batches show the
same number of clusters of either, drawn one without the other; images in no cluster are left out. Is told no persons.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from training.data.loaders import Batch
from training.data.samplers import Draw, Part
from training.features import Look
from training.labels.by_modality import centres, cluster_each
from training.method import Epoch, Known
from training.method_settings import DclSettings
from training.methods.contrast import Contrast, by_views, query
from training.models.network import Network
from vireid.types import Modality


class Dcl:
    """Learns from visible and infrared images without labels.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: the modality of each image.
        wanted: of clusters and prototypes.

    Raises:
        TrainingError: several processes would move prototypes apart.
    """

    def __init__(self, network: Network, known: Known, wanted: DclSettings) -> None:
        self.network, self._wanted, self._modality = network, wanted, known.modality
        self._contrasts = {
            kind: Contrast(
                network.dim,
                temperature=wanted.temperature,
                momentum=wanted.momentum,
                update=wanted.update,
                in_backward=wanted.compat.in_backward,
            )
            for kind in Modality
        }
        banks = {f"{kind.word}_bank": contrast.bank for kind, contrast in self._contrasts.items()}
        self.modules = nn.ModuleDict({"model": network, **banks})
        # cluster of each image in its own modality
        self._labels = np.full(len(known.modality), -1, np.int64)

    def begin_epoch(self, _epoch: int, look: Look) -> Epoch:
        """Cluster each modality, and begin with the means of its clusters as prototypes.

        Raises:
            TrainingError: a modality has fewer than two clusters.
        """
        features = look.embeddings()
        made = cluster_each(features, self._modality, self._wanted.clusters)
        self._labels = made.labels
        for kind, contrast in self._contrasts.items():
            contrast.reset(centres(features, made.of(kind), made.count(kind), normalise=True))
        draw = Draw(tuple(Part(made.of(kind)) for kind in Modality), paired=False, shrink=True)
        labels = made.pseudo_labels({"by": "clusters", **self._wanted.clusters.model_dump()})
        return Epoch(draw, labels, made.told())

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the contrastive loss of each modality."""
        queries = query(self.network.features(batch.images, batch.modality))
        labels = torch.from_numpy(self._labels).to(batch.index.device)[batch.index]
        found = {}
        for kind, contrast in self._contrasts.items():
            rows = batch.modality == kind
            found[kind.word] = by_views(
                contrast, queries[rows], labels[rows], batch.view[rows], self._wanted.views
            )
        return {**found, "total": torch.stack(list(found.values())).sum()}

    def after_step(self, _batch: Batch) -> None:
        """Move the prototypes towards what the step has seen."""
        for contrast in self._contrasts.values():
            contrast.after_step()
