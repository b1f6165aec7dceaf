"""MIOT: clusters of each modality, matched by optimal transport, and contrasted within and across modalities.

A re-implementation of Zhang et al., Mutual Information Guided Optimal Transport for Unsupervised Visible-Infrared Person
Re-identification (arXiv 2407.12758), whose code is not public: the discrepancy elimination network (a discriminator whose
gradient is reversed), clusters of each modality, their assignment (OTPA), prototype-based contrastive learning (VCL, ICL, CCL,
MCL) and cross prediction alignment (CPAL). What the paper leaves open (weights, temperature, what becomes one class) is an
option; the defaults are those of OTLA, by the same authors, and of DCL, as which every run begins. Is told no persons.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from training import losses
from training.data.loaders import Batch
from training.data.samplers import FEWEST, Draw, two_modalities
from training.features import Look
from training.labels.by_modality import Clustered, centres
from training.labels.outliers import OUTLIER
from training.labels.pseudo import PseudoLabels
from training.method import Epoch, Known
from training.method_settings import MiotSettings
from training.methods.contrast import by_views, query
from training.methods.miot_matching import Matching, match
from training.methods.within_modality import WithinModality, contrast
from training.models.adversary import GrlSchedule, ModalityDiscriminator
from training.models.network import Embedded, Network
from vireid.arrays import Float32Array, Int64Array
from vireid.types import Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
OTHER = {VISIBLE: INFRARED, INFRARED: VISIBLE}
Weighted = dict[str, tuple[float, Tensor]]


class Miot:
    """Learns from visible and infrared images without labels.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: the modality of each image.
        wanted: of clusters, matching and losses.

    Raises:
        TrainingError: several processes would move prototypes apart.
    """

    def __init__(self, network: Network, known: Known, wanted: MiotSettings) -> None:
        self.network, self._wanted, self._modality = network, wanted, known.modality
        self._within = WithinModality(network.dim, known.modality, wanted)
        self._cross = contrast(network.dim, wanted)
        # cross class and best matching cluster of the other modality of each image, -1 for none
        self._classes = self._partners = np.full(len(known.modality), OUTLIER, np.int64)
        banks = {**self._within.banks(), "cross_bank": self._cross.bank}
        self.modules = nn.ModuleDict({"model": network, **banks})
        self._adversary: tuple[ModalityDiscriminator, GrlSchedule] | None = None
        if wanted.discriminator:
            # made last, so that leaving it out changes no other weight
            self._adversary = ModalityDiscriminator(network.level_dim), GrlSchedule()
            self.modules["discriminator"], self.modules["reversal"] = self._adversary

    # ---- labels ----------------------------------------------------------------
    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        """Cluster each modality, and match the clusters once the warm-up is over.

        Raises:
            TrainingError: a modality has fewer than two clusters.
        """
        wanted = self._wanted
        features, made = self._within.cluster(look)
        how = {"by": "clusters", **wanted.clusters.model_dump()}
        if epoch < wanted.warmup_epochs or wanted.matching.way == "off":
            self._classes = self._partners = np.full(len(self._modality), OUTLIER, np.int64)
            self._cross.reset(np.zeros((0, self.network.dim), np.float32))
            return Epoch(self._within.draw(), made.pseudo_labels(how), made.told())
        prototypes = {kind: of.bank.rows.cpu().numpy() for kind, of in self._within.contrasts.items()}
        found = match(prototypes[VISIBLE], prototypes[INFRARED], wanted.matching)
        self._classes, self._partners = _spread(made, found.cross), _spread(made, found.partner)
        self._cross.reset(self._cross_prototypes(features, prototypes, found))
        told = made.told() | dict(found.told)
        labels = _labels(made, found, {**how, **wanted.matching.model_dump(), **told})
        return Epoch(self._draw(found), labels, told)

    def _cross_prototypes(
        self, features: Float32Array, prototypes: Mapping[Modality, Float32Array], found: Matching
    ) -> Float32Array:
        if not found.classes:
            return np.zeros((0, self.network.dim), np.float32)
        if self._wanted.matching.prototypes == "images":
            return centres(features, self._classes, found.classes, normalise=True)
        rows = np.concatenate([prototypes[kind] for kind in Modality])
        classes = np.concatenate([found.cross[kind] for kind in Modality])
        return centres(rows, classes, found.classes, normalise=True)

    def _draw(self, found: Matching) -> Draw:
        """Draw the same classes in both modalities, or apart where some clusters have none."""
        whole = all((cross >= 0).all() for cross in found.cross.values())
        if found.classes < FEWEST or not (whole or self._wanted.matching.unmatched == "left_out"):
            return self._within.draw()
        return two_modalities(self._classes, self._modality, shrink=True)

    # ---- losses ----------------------------------------------------------------
    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch."""
        wanted = self._wanted
        seen = self.network.features(batch.images, batch.modality, levels=self._adversary is not None)
        queries = query(seen)
        within = self._within.losses(queries, batch)
        found: Weighted = {
            "visible": (wanted.visible_weight, within["visible"]),
            "infrared": (wanted.infrared_weight, within["infrared"]),
            **self._across(queries, batch),
            **self._deceived(seen, batch),
        }
        # what weighs nothing is told, and leaves no trace in a gradient
        counted = [weight * loss for weight, loss in found.values() if weight]
        total = torch.stack(counted).sum() if counted else torch.zeros_like(within["visible"])
        return {**{name: loss for name, (_, loss) in found.items()}, "total": total}

    def _across(self, queries: Tensor, batch: Batch) -> Weighted:
        """Compute what joins the modalities: CCL, MCL and CPAL; nothing where nothing is matched."""
        wanted = self._wanted
        if not len(self._cross.bank.rows):
            return {}
        classes, partners = (
            torch.from_numpy(of).to(batch.index.device)[batch.index] for of in (self._classes, self._partners)
        )
        cross, mutual = [], []
        for kind in Modality:
            rows = batch.modality == kind
            shown, view = queries[rows], batch.view[rows]
            cross.append(by_views(self._cross, shown, classes[rows], view, wanted.views))
            other = self._within.contrasts[OTHER[kind]]
            mutual.append(by_views(other, shown, partners[rows], view, wanted.views, moves=False))
        return {
            "cross": (wanted.cross_weight, torch.stack(cross).sum()),
            "mutual": (wanted.mutual_weight, torch.stack(mutual).sum()),
            **self._aligned(queries[classes >= 0], batch.modality[classes >= 0]),
        }

    def _aligned(self, queries: Tensor, modality: Tensor) -> Weighted:
        wanted = self._wanted
        visible, infrared = modality == VISIBLE, modality == INFRARED
        if wanted.alignment == "off" or not (bool(visible.any()) and bool(infrared.any())):
            return {}
        logits = self._cross.logits(queries)
        of_visible, of_infrared = losses.prediction_alignment(
            logits[visible], logits[infrared], wanted.alignment
        )
        return {
            "alignment_visible": (wanted.visible_alignment, of_visible),
            "alignment_infrared": (wanted.infrared_alignment, of_infrared),
        }

    def _deceived(self, seen: Embedded, batch: Batch) -> Weighted:
        if self._adversary is None or seen.levels is None:
            return {}
        discriminator, reversal = self._adversary
        # second views would make two of three images visible
        first = batch.view == 0
        scores = discriminator(seen.levels[first], reversal.share())
        reversal.advance(self._wanted.grl_step)
        return {
            "modality": (
                self._wanted.discriminator_weight,
                losses.modality_bce(scores, batch.modality[first]),
            )
        }

    def after_step(self, _batch: Batch) -> None:
        """Move the prototypes towards what the step has seen."""
        self._within.after_step()
        self._cross.after_step()


def _spread(made: Clustered, of: Mapping[Modality, Int64Array]) -> Int64Array:
    """Give every image what its cluster has; -1 for outliers, (N,)."""
    spread = np.full(len(made.labels), OUTLIER, np.int64)
    for kind, values in of.items():
        inside = made.of(kind) >= 0
        spread[inside] = values[made.labels[inside]]
    return spread


def _labels(made: Clustered, found: Matching, how: Mapping[str, object]) -> PseudoLabels:
    """Return cross classes as labels; clusters that match none count on, those of either modality apart."""
    first, names = found.classes, {}
    for kind, cross in found.cross.items():
        alone = cross < 0
        names[kind] = np.where(alone, first + np.cumsum(alone) - 1, cross)
        first += int(alone.sum())
    labels = _spread(made, names)
    return PseudoLabels(labels, (labels >= 0).astype(np.float32), labels < 0, how)
