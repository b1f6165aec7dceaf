"""OTLA: visible images teach a classifier, optimal transport labels infrared images with it, both are learnt from.

Wang et al., Optimal Transport for Label-Efficient Visible-Infrared Person Re-Identification, ECCV 2022: identity
losses, a modality discriminator, the assignment of equation 5, prediction alignment. Where the published code and the
paper differ, the weights, the discriminator's many levels and the alignment are the code's; its habits that harm are
``compat`` switches. Is told the persons of both modalities, of visible images, or of none; then the labels of visible
images are a first stage's.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import losses
from training.data.loaders import Batch
from training.data.samplers import Draw, Part, two_modalities
from training.features import Look
from training.labels.outliers import OUTLIER
from training.labels.pseudo import PseudoLabels
from training.method import Epoch, Known
from training.method_settings import OtlaSettings
from training.methods.otla_labels import InfraredLabels
from training.models.adversary import GrlSchedule, ModalityDiscriminator
from training.models.heads import classifier
from training.models.network import Embedded, Network
from vireid.arrays import Int64Array
from vireid.errors import TrainingError
from vireid.types import Modality

Weighted = dict[str, tuple[float, Tensor]]


def told(wanted: OtlaSettings) -> frozenset[Modality]:
    """Say whose persons OTLA is told in a setting."""
    return {
        "supervised": frozenset(Modality),
        "semi-supervised": frozenset({Modality.VISIBLE}),
        "unsupervised": frozenset[Modality](),
    }[wanted.setting]


class Otla:
    """Learns from labelled visible images and unlabelled infrared ones.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: the persons it may know.
        wanted: the setting, weights and switches.

    Raises:
        TrainingError: an image whose person the setting tells has none, or no visible image has a label.
    """

    def __init__(self, network: Network, known: Known, wanted: OtlaSettings) -> None:
        self.network, self._wanted, self._modality = network, wanted, known.modality
        given = _classes(known, wanted)
        self._supervised = wanted.setting == "supervised"
        self._infrared = np.flatnonzero(known.modality == Modality.INFRARED)
        self._visible = np.where(known.modality == Modality.VISIBLE, given, OUTLIER)
        # what the batches of the epoch are trained with
        self._labels = given
        self._by_slot = False
        count = int(given.max()) + 1
        self._classifier = classifier(network.dim, count)
        self._bank = InfraredLabels(self._visible, self._infrared, count, wanted)
        self.modules = nn.ModuleDict({"model": network, "classifier": self._classifier, "labels": self._bank})
        self._adversary: tuple[ModalityDiscriminator, GrlSchedule] | None = None
        if wanted.discriminator:
            # made last, so that leaving it out changes no other weight
            self._adversary = ModalityDiscriminator(network.level_dim), GrlSchedule()
            self.modules["discriminator"], self.modules["reversal"] = self._adversary

    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        """Label infrared images, and draw the same classes in both modalities.

        Before the first epoch the classifier knows nothing, so infrared images are drawn at random and bring no
        identity losses.
        """
        if self._supervised:
            return Epoch(two_modalities(self._labels, self._modality))
        if self._wanted.assignment == "off":
            return Epoch(self._at_random())
        if self._wanted.compat.late:
            return self._late(epoch, look)
        if epoch == 0:
            return Epoch(self._at_random())
        made = self._bank.renew(look, self._probabilities)
        self._labels = made.labels
        return Epoch(two_modalities(made.labels, self._modality, shrink=True), made, _worth_telling(made))

    def _late(self, epoch: int, look: Look) -> Epoch:
        """Draw by the labels of the epoch before, then make those of the next."""
        self._labels, self._by_slot = self._bank.all(), epoch == 0
        drawn = two_modalities(self._labels, self._modality, shrink=True) if epoch else self._at_random()
        made = self._bank.renew_drawn(look, self._probabilities, drawn)
        return Epoch(drawn, made, _worth_telling(made))

    def _at_random(self) -> Draw:
        any_infrared = np.full(len(self._modality), OUTLIER, np.int64)
        any_infrared[self._infrared] = 0
        return Draw((Part(self._visible), Part(any_infrared, grouped=False)), paired=False, shrink=True)

    def _probabilities(self, seen: Embedded) -> Tensor:
        return F.softmax(self._classifier(seen.necked).float(), dim=1)

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch."""
        seen = self.network.features(batch.images, batch.modality, levels=self._adversary is not None)
        logits = self._classifier(seen.necked)
        labels = torch.from_numpy(self._labels).to(batch.index.device)[batch.index]
        visible, infrared = batch.modality == Modality.VISIBLE, batch.modality == Modality.INFRARED
        if self._by_slot:
            labels[infrared] = labels[visible & (batch.view == 0)]
        found = self._identities("", logits[visible], seen.pooled[visible], labels[visible])
        if bool((labels[infrared] != OUTLIER).all()):
            found |= self._identities("infrared_", logits[infrared], seen.pooled[infrared], labels[infrared])
        found |= self._deceived(seen, batch.modality)
        found |= self._aligned(logits[visible], logits[infrared])
        # what weighs nothing is told, and leaves no trace in a gradient
        total = sum(
            (weight * loss for weight, loss in found.values() if weight),
            torch.zeros_like(found["identity"][1]),
        )
        return {**{name: loss for name, (_, loss) in found.items()}, "total": total}

    def _identities(self, whose: str, logits: Tensor, pooled: Tensor, labels: Tensor) -> Weighted:
        wanted = self._wanted
        weights = (wanted.infrared_weight, wanted.infrared_triplet_weight) if whose else (1.0, 1.0)
        triplet = losses.batch_hard(pooled, labels, wanted.margin, normalise=False)
        return {
            f"{whose}identity": (weights[0], losses.identity(logits, labels)),
            f"{whose}triplet": (weights[1], triplet),
        }

    def _deceived(self, seen: Embedded, modality: Tensor) -> Weighted:
        if self._adversary is None or seen.levels is None:
            return {}
        discriminator, reversal = self._adversary
        told_apart = losses.modality_bce(discriminator(seen.levels, reversal.share()), modality)
        reversal.advance(self._wanted.grl_step)
        return {"modality": (self._wanted.discriminator_weight, told_apart)}

    def _aligned(self, visible: Tensor, infrared: Tensor) -> Weighted:
        wanted = self._wanted
        if wanted.alignment == "off":
            return {}
        of_visible, of_infrared = losses.prediction_alignment(visible, infrared, wanted.alignment)
        return {
            "alignment_visible": (wanted.visible_alignment, of_visible),
            "alignment_infrared": (wanted.infrared_alignment, of_infrared),
        }

    def after_step(self, _batch: Batch) -> None:
        """Do nothing: labels change between epochs only."""


def _classes(known: Known, wanted: OtlaSettings) -> Int64Array:
    """Number the persons that are known from 0; -1 elsewhere."""
    needed = np.isin(known.modality, [int(each) for each in told(wanted)])
    missing = int((known.persons[needed] < 0).sum())
    if missing:
        raise TrainingError(
            f"{missing} of {int(needed.sum())} training images whose persons a {wanted.setting} OTLA must know "
            f"have none; expected all of them"
        )
    if not (known.persons[known.modality == Modality.VISIBLE] >= 0).any():
        raise TrainingError(
            "no visible image has a label; an unsupervised OTLA needs those of a first stage: name its recipe "
            "under [stage1], or a finished run with --stage1 RUN"
        )
    labelled = known.persons >= 0
    classes = np.full(len(known.persons), OUTLIER, np.int64)
    classes[labelled] = np.unique(known.persons[labelled], return_inverse=True)[1]
    return classes


def _worth_telling(made: PseudoLabels) -> dict[str, float]:
    """Pick the numbers that say how the labelling went."""
    shares = np.array(made.made["histogram"]) / max(1, sum(made.made["histogram"]))
    numbers = {name: float(made.made[name]) for name in ("iterations", "error") if name in made.made}
    return {**numbers, "classes": float((shares > 0).sum()), "largest_class": float(shares.max())}
