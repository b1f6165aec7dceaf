"""CM-EMD: a supervised network whose modalities are aligned, person by person, along the cheapest transport.

Ling et al., Cross-Modality Earth Mover's Distance for Visible Thermal Person Re-Identification, AAAI 2023. The distance is
taken of every head of a network with twin tails, and the ratio of variances within and between identities of its holistic
feature, so that alignment does not draw people together:

    total = identity + local_weight identity_local + emd_weight (emd + emd_local) + dl_weight dl

This is a re-implementation from what is public of the paper, its abstract and the caption of its figure: which losses there
are and of which features. It does not say there what a pair costs, how the plan is found, how the variances are taken across
modalities, and what the losses weigh; the settings name these choices. Is told every person.
"""

import logging
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import losses
from training.data.loaders import Batch
from training.data.samplers import two_modalities
from training.features import Look
from training.labels.outliers import OUTLIER
from training.losses.precision import widened
from training.method import Epoch, Known
from training.method_settings import CmEmdSettings
from training.models import MODELS
from training.models.heads import classifier
from training.models.network import Network
from training.models.twin_tails import Granular, TwinTails
from vireid.arrays import Int64Array
from vireid.errors import TrainingError

log = logging.getLogger(__name__)


class CmEmd:
    """Learns from true identities that have images of both modalities; others are left out.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained; it must have a local tail.
        known: the persons are the labels.
        wanted: which terms, and their weights.

    Raises:
        TrainingError: the network has no local tail, an image's person is unknown, or nobody has both modalities.
    """

    def __init__(self, network: Network, known: Known, wanted: CmEmdSettings) -> None:
        if not isinstance(network, TwinTails):
            fitting = ", ".join(name for name in MODELS if name.startswith("twin-tails"))
            raise TrainingError(
                f"CM-EMD needs a network with a local tail, and {type(network).__name__} has none; set model.name to "
                f"one of {fitting}"
            )
        if (known.persons < 0).any():
            raise TrainingError(
                f"{int((known.persons < 0).sum())} training images have no person; CM-EMD needs all of them"
            )
        self._labels, classes = _of_both(known)
        self._modality = known.modality
        self._wanted = wanted
        self.network = network
        self._tails = network
        self._classifier = classifier(network.whole_dim, classes)
        heads = network.stripes * (2 if wanted.local == "both" else 1)
        self._local_classifiers = nn.ModuleList(classifier(network.stripe_dim, classes) for _ in range(heads))
        self.modules = nn.ModuleDict(
            {"model": network, "classifier": self._classifier, "local_classifiers": self._local_classifiers}
        )

    def begin_epoch(self, _epoch: int, _look: Look) -> Epoch:
        """Draw by the true labels."""
        return Epoch(two_modalities(self._labels, self._modality))

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch: ``identity`` and ``emd`` of both tails, and ``dl`` if it is on."""
        wanted = self._wanted
        labels = torch.from_numpy(self._labels).to(batch.index.device)[batch.index]
        seen = self._tails.features(batch.images, batch.modality)
        parts = {
            "identity": losses.identity(self._classifier(seen.whole_necked), labels, wanted.label_smoothing),
            "identity_local": self._local_identity(seen, labels),
        }
        weights = {"identity_local": wanted.local_weight}
        after = wanted.at == "necked"
        if wanted.aligned != "local":
            whole = seen.whole_necked if after else seen.whole
            parts["emd"], weights["emd"] = self._moved(whole, labels, batch.modality), wanted.emd_weight
        if wanted.aligned != "whole":
            local = self._local(seen, necked=after)
            parts["emd_local"] = self._moved(local, labels, batch.modality)
            weights["emd_local"] = wanted.emd_weight
        if wanted.dl != "off":
            holistic = F.normalize(widened(seen.holistic)) if wanted.dl_normalised else seen.holistic
            across = batch.modality if wanted.dl == "cross" else None
            parts["dl"], weights["dl"] = losses.fisher_ratio(holistic, labels, across), wanted.dl_weight
        # what weighs nothing is told, and leaves no trace in a gradient
        total = parts["identity"]
        for name in [name for name in weights if weights[name]]:
            total = total + weights[name] * parts[name]
        return {**parts, "total": total}

    def after_step(self, _batch: Batch) -> None:
        """Do nothing: this method has no memory."""

    def _local(self, seen: Granular, *, necked: bool) -> Tensor:
        """Give the local heads' features, (H, B, D)."""
        stripes, holistic = (
            (seen.stripes_necked, seen.holistic_necked) if necked else (seen.stripes, seen.holistic)
        )
        heads = {"stripes": [stripes], "accumulated": [seen.accumulated(holistic)]}
        heads["both"] = heads["stripes"] + heads["accumulated"]
        return torch.cat(heads[self._wanted.local])

    def _local_identity(self, seen: Granular, labels: Tensor) -> Tensor:
        heads = zip(self._local_classifiers, self._local(seen, necked=True), strict=True)
        each = [
            losses.identity(classify(rows), labels, self._wanted.label_smoothing) for classify, rows in heads
        ]
        return torch.stack(each).mean()

    def _moved(self, features: Tensor, labels: Tensor, modality: Tensor) -> Tensor:
        wanted = self._wanted
        if wanted.emd_normalised:
            features = F.normalize(widened(features), dim=-1)
        return losses.earth_movers(
            features, labels, modality, solver=wanted.plan, ground=wanted.ground, epsilon=wanted.epsilon
        )


def _of_both(known: Known) -> tuple[Int64Array, int]:
    """Number the persons seen in both modalities from 0; images of others are outliers."""
    visible, infrared = (np.unique(known.persons[known.modality == kind]) for kind in (0, 1))
    names = np.intersect1d(visible, infrared)
    if not len(names):
        raise TrainingError(
            f"{len(visible)} persons have visible images and {len(infrared)} infrared ones, nobody has both; CM-EMD "
            "aligns the two sides of a person and needs people seen by day and by night"
        )
    meant = np.isin(known.persons, names)
    if not meant.all():
        log.warning(
            "%d persons have images of one modality only: their %d images are left out",
            len(np.union1d(visible, infrared)) - len(names),
            int((~meant).sum()),
        )
    return np.where(meant, np.searchsorted(names, known.persons), OUTLIER), len(names)
