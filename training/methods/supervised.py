"""The supervised baseline: identity loss and batch-hard triplets within a batch and across modalities.

The field's two-stream baseline (Ye et al., AGW, TPAMI 2021, section 4) without its attention, and with batch-hard triplets
in place of its weighted ones. Is told every person.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from training import losses
from training.data.loaders import Batch
from training.data.samplers import two_modalities
from training.features import Look
from training.method import Epoch, Known
from training.method_settings import SupervisedSettings
from training.models.heads import classifier
from training.models.network import Network
from vireid.errors import TrainingError


class Supervised:
    """Learns from true identities.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: the persons are the labels.
        wanted: weights of the losses.

    Raises:
        TrainingError: an image's person is unknown.
    """

    def __init__(self, network: Network, known: Known, wanted: SupervisedSettings) -> None:
        persons = known.persons
        if (persons < 0).any():
            raise TrainingError(
                f"{int((persons < 0).sum())} training images have no person; the supervised method needs all of them"
            )
        names, labels = np.unique(persons, return_inverse=True)
        self._labels = labels.astype(np.int64)
        self._modality = known.modality
        self._wanted = wanted
        self.network = network
        self._classifier = classifier(network.dim, len(names))
        self.modules = nn.ModuleDict({"model": network, "classifier": self._classifier})

    def begin_epoch(self, _epoch: int, _look: Look) -> Epoch:
        """Draw by the true labels."""
        return Epoch(two_modalities(self._labels, self._modality))

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch."""
        labels = torch.from_numpy(self._labels).to(batch.index.device)[batch.index]
        seen = self.network.features(batch.images, batch.modality)
        wanted = self._wanted
        identity = losses.identity(self._classifier(seen.necked), labels, wanted.label_smoothing)
        triplet = losses.batch_hard(seen.pooled, labels, wanted.margin)
        cross = losses.batch_hard(seen.pooled, labels, wanted.margin, batch.modality)
        total = identity + wanted.triplet_weight * triplet + wanted.cross_weight * cross
        return {"identity": identity, "triplet": triplet, "cross": cross, "total": total}

    def after_step(self, _batch: Batch) -> None:
        """Do nothing: this method has no memory."""
