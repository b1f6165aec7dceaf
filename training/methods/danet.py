"""DANet: a supervised network whose modalities are aligned in the features and in the classifiers.

Wu et al., Logit and Feature Dual-level Alignment for Visible-Infrared Person Re-Identification: the identity loss, the
cross-modality centre loss (equation 3) and mutual learning of two modalities' classifiers (equations 4 to 6). With both
alignments off it is their baseline, the identity loss alone. Is told every person.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from training import losses
from training.data.loaders import Batch
from training.data.samplers import two_modalities
from training.features import Look
from training.losses import TwoViews
from training.method import Epoch, Known
from training.method_settings import DanetSettings
from training.models.heads import classifier
from training.models.network import Embedded, Network
from vireid.errors import TrainingError

VISIBLE, INFRARED = "visible", "infrared"


class Danet:
    """Learns from true identities.

    Centres are of features before the neck, classifiers see them after it.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: the persons are the labels.
        wanted: which alignments, and their weights.

    Raises:
        TrainingError: an image's person is unknown.
    """

    def __init__(self, network: Network, known: Known, wanted: DanetSettings) -> None:
        if (known.persons < 0).any():
            raise TrainingError(
                f"{int((known.persons < 0).sum())} training images have no person; DANet needs all of them"
            )
        names, labels = np.unique(known.persons, return_inverse=True)
        self._labels = labels.astype(np.int64)
        self._modality = known.modality
        self._wanted = wanted
        self.network = network
        self._classifier = classifier(network.dim, len(names))
        self.modules = nn.ModuleDict({"model": network, "classifier": self._classifier})
        if wanted.ml:
            self._specific = nn.ModuleDict(
                {kind: classifier(network.dim, len(names)) for kind in (VISIBLE, INFRARED)}
            )
            self.modules["specific"] = self._specific
        if wanted.ml and wanted.compat.teachers:
            self._teachers = copy.deepcopy(self._specific).requires_grad_(False)
            self.modules["teachers"] = self._teachers

    def begin_epoch(self, _epoch: int, _look: Look) -> Epoch:
        """Draw by the true labels."""
        return Epoch(two_modalities(self._labels, self._modality))

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch: ``identity``, and what is on of ``cc``, ``sid`` and ``ml``."""
        wanted = self._wanted
        labels = torch.from_numpy(self._labels).to(batch.index.device)[batch.index]
        seen = self.network.features(batch.images, batch.modality)
        identity = losses.identity(self._classifier(seen.necked), labels, wanted.label_smoothing)
        parts, weights = {"identity": identity}, {"identity": 1.0}
        if wanted.cc != "off":
            parts["cc"], weights["cc"] = self._centres(seen, labels, batch.modality), wanted.cc_weight
        if wanted.ml:
            parts["sid"], parts["ml"] = self._mutual(seen, labels, batch.modality == 0)
            weights |= {"sid": wanted.sid_weight, "ml": wanted.ml_weight}
        # what weighs nothing is told, and leaves no trace in a gradient
        total = identity
        for name in [name for name in parts if name != "identity" and weights[name]]:
            total = total + weights[name] * parts[name]
        return {**parts, "total": total}

    def after_step(self, _batch: Batch) -> None:
        """Let the teachers follow, if there are any."""
        if self._wanted.ml and self._wanted.compat.teachers:
            with torch.no_grad():
                for slow, fast in zip(self._teachers.parameters(), self._specific.parameters(), strict=True):
                    slow.lerp_(fast, self._wanted.compat.teacher_rate)

    def _centres(self, seen: Embedded, labels: Tensor, modality: Tensor) -> Tensor:
        wanted = self._wanted
        if wanted.compat.centres:
            return losses.mixed_centres(seen.pooled, labels, wanted.margin)
        assert wanted.cc != "off"
        return losses.centre_cluster(
            seen.pooled, labels, modality, wanted.margin, negatives=wanted.cc, detach=wanted.cc_detached
        )

    def _mutual(self, seen: Embedded, labels: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Compute equations 4 and 5."""
        teachers = self._wanted.compat.teachers
        others = self._teachers if teachers else self._specific
        views = [
            TwoViews(self._specific[own](rows), others[other](rows))
            for own, other, rows in (
                (VISIBLE, INFRARED, seen.necked[visible]),
                (INFRARED, VISIBLE, seen.necked[~visible]),
            )
        ]
        smoothing = self._wanted.label_smoothing
        sid = losses.identity(views[0].own, labels[visible], smoothing) + losses.identity(
            views[1].own, labels[~visible], smoothing
        )
        return sid, (losses.mutual_from_teachers if teachers else losses.mutual)(*views)
