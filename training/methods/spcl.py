"""SpCL: clusters of visible images nobody labelled, made of a memory that every step moves.

Ge et al., Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID, NeurIPS 2020. A first stage:
infrared images are not touched. It may learn from a labelled source set besides, which then has batch norms of its own
and its classes in the same memory. Is told the persons of that set alone.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import losses, ranks
from training.data.loaders import Batch
from training.data.samplers import Draw, Part
from training.features import Look
from training.labels.outliers import OUTLIER
from training.labels.pseudo import PseudoLabels
from training.memory import InstanceBank, moving_logits
from training.method import Epoch, Known
from training.method_settings import SpclSettings
from training.methods.spcl_clusters import Classes, Clusters
from training.models.domains import SourceNorms
from training.models.network import Embedded, Network
from vireid.arrays import Int64Array
from vireid.errors import TrainingError
from vireid.types import Modality


class Spcl:
    """Learns from visible images without labels.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: persons of a source set, if there is one.
        wanted: of memory and clusters.

    Raises:
        TrainingError: there are no visible images, an image of the source set has no person or is infrared, or
            several processes would move memories apart.
    """

    def __init__(self, network: Network, known: Known, wanted: SpclSettings) -> None:
        visible = known.modality == Modality.VISIBLE
        source = known.source
        if not (visible & ~source).any():
            raise TrainingError("there are no visible images to cluster; expected some")
        if (known.persons[source] < 0).any() or not visible[source].all():
            raise TrainingError(
                "the source set has images without a person, or infrared ones; expected neither"
            )
        if wanted.compat.in_backward and ranks.count() > 1:
            raise TrainingError(
                f"{ranks.count()} processes would each move a memory of its own; set method.compat.in_backward=false"
            )
        self.network, self._wanted, self._known = network, wanted, known
        self._target = np.flatnonzero(visible & ~source)
        self._source = np.flatnonzero(source)
        names, classes = np.unique(known.persons[self._source], return_inverse=True)
        self._source_classes = classes.astype(np.int64)
        # rows of the memory: a class of the source each, then an image of the target each
        self._first = len(names)
        self._rows = torch.from_numpy(
            np.maximum(
                self._spread(self._source, self._source_classes),
                self._spread(self._target, self._first + np.arange(len(self._target))),
            )
        )
        self._bank = InstanceBank(
            self._first + len(self._target),
            network.dim,
            temperature=wanted.temperature,
            momentum=wanted.momentum,
        )
        self._clusters = Clusters(wanted)
        self.modules = nn.ModuleDict({"model": network, "memory": self._bank, "clusters": self._clusters})
        self._norms: SourceNorms | None = None
        if self._first:
            self._norms = SourceNorms(network)
            self.modules["source_norms"] = self._norms
        self._joined_at = wanted.source_epochs if self._first else 0
        # whether the source teaches alone
        self._alone = False
        # what the step before has seen, for the memory
        self._moved: tuple[Tensor, Tensor] | None = None

    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        """Cluster what the memory holds; at first it holds every image as the network sees it.

        Raises:
            TrainingError: there are fewer than two clusters.
        """
        self._alone = epoch < self._joined_at
        if epoch == 0:
            self._bank.reset(torch.from_numpy(self._centroids(look)))
        if self._alone:
            self._bank.relabel(torch.arange(self._first))
            return Epoch(self._draw(None))
        if epoch == self._joined_at:
            seen = torch.from_numpy(self._seen(look, self._target)).to(self._bank.rows)
            self._bank.reset(torch.cat([self._bank.rows, seen]))
            if self._norms is not None:
                self._norms.follow(self.network)
        made = self._clusters.make(self._bank.rows[self._first :].cpu().numpy())
        self._bank.relabel(
            torch.cat([torch.arange(self._first), self._first + torch.from_numpy(made.labels)])
        )
        return Epoch(self._draw(made.labels), self._pseudo_labels(made), _worth_telling(made))

    def _centroids(self, look: Look) -> np.ndarray:
        """Return the mean embedding of each class of the source, (classes, D)."""
        sums = np.zeros((self._first, self.network.dim), np.float32)
        if self._first:
            np.add.at(sums, self._source_classes, self._seen(look, self._source))
        return sums

    def _seen(self, look: Look, index: Int64Array) -> np.ndarray:
        return look.rows(_query, index)

    def _draw(self, labels: Int64Array | None) -> Draw:
        """Draw classes of the source and of the target; without labels of the target the source's alone."""
        parts = []
        if len(self._source):
            parts.append(Part(self._spread(self._source, self._source_classes), cameras=self._known.camera))
        if labels is not None:
            spread = self._spread(self._target, labels)
            parts.append(Part(spread, cameras=self._known.camera, fill=True))
        return Draw(tuple(parts), paired=False, shrink=True)

    def _spread(self, index: Int64Array, values: Int64Array) -> Int64Array:
        """Give some images values, and all others -1, (N,)."""
        spread = np.full(len(self._known.persons), OUTLIER, np.int64)
        spread[index] = values
        return spread

    def _pseudo_labels(self, made: Classes) -> PseudoLabels:
        """Spread the classes over all images; those of the source and the infrared ones have none."""
        wanted = self._wanted
        labels = self._spread(self._target, made.labels)
        outlier = np.zeros(len(labels), np.bool_)
        outlier[self._target] = made.alone
        told = {
            "by": "clusters",
            "eps": wanted.eps,
            "min_samples": wanted.min_samples,
            **_worth_telling(made),
        }
        return PseudoLabels(labels, ((labels >= 0) & ~outlier).astype(np.float32), outlier, told)

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the contrastive loss of a batch (equation 2), of source and target images apart."""
        place = self._rows.to(batch.index.device)[batch.index]
        source = place < self._first
        queries = _query(self._features(batch, source))
        found = {
            name: self._contrastive(queries[rows], place[rows])
            for name, rows in (("source", source), ("contrastive", ~source))
            if bool(rows.any())
        }
        self._moved = queries.detach(), place
        return {**found, "total": torch.stack(list(found.values())).sum()}

    def _features(self, batch: Batch, source: Tensor) -> Embedded:
        if self._norms is None or self._alone:
            return self.network.features(batch.images, batch.modality)
        with self._norms.used(self.network, source):
            return self.network.features(batch.images, batch.modality)

    def _contrastive(self, queries: Tensor, place: Tensor) -> Tensor:
        moving = self._wanted.compat.in_backward
        logits = moving_logits(self._bank, queries, place) if moving else self._bank.logits(queries)
        return losses.capped(logits, self._bank.labels[place])

    def after_step(self, batch: Batch) -> None:
        """Move the memory's rows towards what the step has seen."""
        assert self._moved is not None
        if not self._wanted.compat.in_backward:
            self._bank.update(*(ranks.gather(each, batch.parts) for each in self._moved))
        self._moved = None


def _query(seen: Embedded) -> Tensor:
    return F.normalize(seen.necked.float())


def _worth_telling(made: Classes) -> dict[str, float]:
    """Pick the numbers that say how the clustering went."""
    told = {
        "clusters": float(made.clusters),
        "clusters_found": float(made.found),
        "alone": float(made.alone.mean()),
    }
    return told if np.isnan(made.threshold) else {**told, "threshold": made.threshold}
