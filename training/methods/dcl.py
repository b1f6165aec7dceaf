"""DCL: clusters of each modality, a prototype of each cluster, and nothing between the modalities.

The dual-contrastive learning of Yang et al., Augmented Dual-Contrastive Aggregation Learning for Unsupervised
Visible-Infrared Person Re-Identification, ACM Multimedia 2022: what most unsupervised methods of the field begin with and
are compared to. Every epoch clusters the images of each modality and remembers the mean of each cluster; batches show the
same number of clusters of either, drawn one without the other; images in no cluster are left out. Is told no persons.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.data.loaders import Batch
from training.features import Look
from training.method import Epoch, Known
from training.method_settings import DclSettings
from training.methods.contrast import query
from training.methods.within_modality import WithinModality
from training.models.network import Network


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
        self.network, self._clusters = network, wanted.clusters
        self._within = WithinModality(network.dim, known.modality, wanted)
        self.modules = nn.ModuleDict({"model": network, **self._within.banks()})

    def begin_epoch(self, _epoch: int, look: Look) -> Epoch:
        """Cluster each modality, and begin with the means of its clusters as prototypes.

        Raises:
            TrainingError: a modality has fewer than two clusters.
        """
        _, made = self._within.cluster(look)
        labels = made.pseudo_labels({"by": "clusters", **self._clusters.model_dump()})
        return Epoch(self._within.draw(), labels, made.told())

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the contrastive loss of each modality."""
        found = self._within.losses(query(self.network.features(batch.images, batch.modality)), batch)
        return {**found, "total": torch.stack(list(found.values())).sum()}

    def after_step(self, _batch: Batch) -> None:
        """Move the prototypes towards what the step has seen."""
        self._within.after_step()
