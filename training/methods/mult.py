"""MULT: labels handed between modalities until they agree with who is like whom, and learnt in two label spaces by turns.

He et al., Exploring Homogeneous and Heterogeneous Consistent Label Associations for Unsupervised Visible-Infrared Person
ReID, arXiv 2402.00672, 2024: label transfer, alternating modality-invariant learning, cross-memory refinement. At first each
modality learns from its own clusters (DCL). Then every epoch clusters each modality, labels all images in the label space
of either, and learns in one of them: in the visible one in even epochs, in the infrared one in odd ones. Each label space
has three memories: the modality's own, one that both modalities move, and one that only the other moves. Where paper
and published code differ, the clean form is the default and the code's habits are ``compat`` switches; memories begin
with the clusters' means from before the transfer, as published. Is told no persons.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training import losses, ranks
from training.data.loaders import Batch
from training.data.samplers import Draw, Part, two_modalities
from training.features import Look
from training.labels.by_modality import Clustered, centres, cluster_each
from training.method import Epoch, Known
from training.method_settings import MultSettings
from training.methods.contrast import Contrast, by_views, query
from training.methods.mult_labels import Space, transferred
from training.models.network import Network
from vireid.errors import TrainingError
from vireid.types import Modality

OWN, SHARED, CROSSED = "own", "shared", "crossed"
LEAST_SHARED = 2  # classes with images of both modalities that batches can be drawn of


class Mult:
    """Learns from visible and infrared images without labels.

    Attributes:
        modules: everything that is learnt and saved.
        network: what will be exported.

    Args:
        network: to be trained.
        known: the modality of each image.
        wanted: clusters, transfer, weights.

    Raises:
        TrainingError: several processes would move prototypes apart.
    """

    def __init__(self, network: Network, known: Known, wanted: MultSettings) -> None:
        self.network, self._wanted, self._modality = network, wanted, known.modality
        self._memories = {
            (space, role): Contrast(
                network.dim,
                temperature=wanted.temperature,
                momentum=wanted.momentum,
                in_backward=wanted.compat.in_backward,
            )
            for role in (OWN, SHARED, CROSSED)
            for space in Modality
        }
        banks = {f"{space.word}_{role}": each.bank for (space, role), each in self._memories.items()}
        self.modules = nn.ModuleDict({"model": network, **banks})
        # cluster of each image in its own modality, for the epochs without transfer
        self._clusters = np.full(len(known.modality), -1, np.int64)
        # labels of all images in either space, and the space of the epoch; none in epochs without transfer
        self._soft: dict[Modality, Tensor] = {}
        self._hard: dict[Modality, Tensor] = {}
        self._space: Modality | None = None
        # label spaces that batches are drawn of
        self._drawn = 1

    def begin_epoch(self, epoch: int, look: Look) -> Epoch:
        """Cluster each modality, begin with the means of its clusters as prototypes, and transfer labels when it is time.

        Raises:
            TrainingError: a modality has fewer than two clusters, or batches cannot be halved.
        """
        persons, shares = look.settings.data.persons, len(Modality) * ranks.count()
        if self._wanted.transfer != "off" and persons % shares:
            raise TrainingError(
                f"data.persons is {persons}; two label spaces bring one half each, to every process alike: expected a "
                f"multiple of {shares}"
            )
        features = look.embeddings()
        made = cluster_each(features, self._modality, self._wanted.clusters)
        self._clusters = made.labels
        means = {
            kind: centres(features, made.of(kind), made.count(kind), normalise=True) for kind in Modality
        }
        for (space, _), memory in self._memories.items():
            memory.reset(means[space])
        how: dict[str, object] = {"by": "clusters", **self._wanted.clusters.model_dump()}
        if epoch < self._wanted.dcl_epochs or self._wanted.transfer == "off":
            self._space, self._drawn = None, 1
            return Epoch(_each_its_own(made), made.pseudo_labels(how), made.told())
        spaces = transferred(features, made, self._wanted)
        self._space = Modality(epoch % 2)
        device = next(self.network.parameters()).device
        self._soft = {kind: torch.from_numpy(each.soft).to(device) for kind, each in spaces.items()}
        self._hard = {kind: torch.from_numpy(each.hard).to(device) for kind, each in spaces.items()}
        told = made.told() | {name: value for each in spaces.values() for name, value in each.told.items()}
        told |= {
            f"shared_{kind.word}": float(len(each.both(self._modality))) for kind, each in spaces.items()
        }
        labels = spaces[self._space].pseudo_labels({**how, "by": "transfer", "space": self._space.word})
        draw = self._draw(made, spaces, persons)
        self._drawn = draw.spaces
        return Epoch(draw, labels, told)

    def _draw(self, made: Clustered, spaces: Mapping[Modality, Space], persons: int) -> Draw:
        """Draw the same classes in both modalities, one half of them from either space.

        A space in which too few classes have images of both modalities is left out; where both have hardly any, each
        modality shows its own clusters.

        Args:
            made: clusters of each modality.
            spaces: labels of all images in either.
            persons: P identities in a batch.
        """
        shared = {kind: len(space.both(self._modality)) for kind, space in spaces.items()}
        enough = [kind for kind, count in shared.items() if count >= persons // len(spaces)]
        used = enough or [max(shared, key=shared.__getitem__)]
        if max(shared.values()) < LEAST_SHARED:
            return _each_its_own(made)
        parts = [part for kind in used for part in two_modalities(spaces[kind].hard, self._modality).parts]
        return Draw(tuple(parts), shrink=True, spaces=len(used))

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the losses of a batch."""
        queries = query(self.network.features(batch.images, batch.modality))
        if self._space is None:
            return self._apart(batch, queries)
        wanted = self._wanted
        said = [
            self._answers(kind, queries[rows], batch.index[rows], self._space)
            for kind, rows in _groups(batch)
        ]
        # what one visible view says is refined by the other, what infrared images say by themselves
        refining = [said[1], said[0], *said[2:]] if len(said) > len(Modality) else said
        refined = [
            losses.oclr(
                one.shared, target, wanted.refinement_temperature, detach_target=not wanted.compat.attached
            )
            for one, other in zip(said, refining, strict=True)
            for target in (other.own, other.crossed)
        ]
        found = {
            "own": (wanted.own_weight, torch.stack([each.own_loss for each in said]).sum()),
            "shared": (wanted.shared_weight, torch.stack([each.shared_loss for each in said]).sum()),
            "refinement": (wanted.refinement_weight, torch.stack(refined).sum()),
        }
        # what weighs nothing is told, and leaves no trace in a gradient
        total = sum((weight * loss for weight, loss in found.values() if weight), queries.sum() * 0)
        return {**{name: loss for name, (_, loss) in found.items()}, "total": total}

    def _apart(self, batch: Batch, queries: Tensor) -> Mapping[str, Tensor]:
        """Compute the contrastive loss of each modality by its clusters alone."""
        labels = torch.from_numpy(self._clusters).to(batch.index.device)[batch.index]
        found = {}
        for kind in Modality:
            rows = batch.modality == kind
            memory = self._memories[kind, OWN]
            found[kind.word] = by_views(memory, queries[rows], labels[rows], batch.view[rows], "added")
        return {**found, "total": torch.stack(list(found.values())).sum()}

    def _answers(self, kind: Modality, queries: Tensor, index: Tensor, space: Modality) -> "_Answers":
        """Compare images of one modality with the memories, and tell those that are to move.

        Their own modality's memory learns them by its labels in any epoch; of the space, the shared memory does, and the
        crossed one those of the other modality.
        """

        def learnt(of: Modality, role: str) -> tuple[Tensor, Tensor]:
            logits = self._memories[of, role].shown(queries, self._hard[of][index])
            return logits, losses.ce_soft(logits, self._soft[of][index])

        own, own_loss = learnt(kind, OWN)
        if kind == space:
            crossed = self._memories[space, CROSSED].logits(queries)
        else:
            own = self._memories[space, OWN].logits(queries)
            crossed, crossed_loss = learnt(space, CROSSED)
            own_loss = own_loss + crossed_loss
        shared, shared_loss = learnt(space, SHARED)
        return _Answers(own, crossed, shared, own_loss, shared_loss)

    def after_step(self, _batch: Batch) -> None:
        """Move the prototypes towards what the step has seen, by hard labels."""
        for memory in self._memories.values():
            memory.after_step(self._drawn)


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """What the memories of the epoch's label space say of some images, and what that costs."""

    own: Tensor
    crossed: Tensor
    shared: Tensor
    own_loss: Tensor
    shared_loss: Tensor


def _each_its_own(made: Clustered) -> Draw:
    return Draw(tuple(Part(made.of(kind)) for kind in Modality), paired=False, shrink=True)


def _groups(batch: Batch) -> list[tuple[Modality, Tensor]]:
    """Return the rows of each view of visible images, the same images in the same order, and those of infrared ones."""
    visible = batch.modality == Modality.VISIBLE
    views = [visible & (batch.view == 0), visible & (batch.view == 1)]
    found = [(Modality.VISIBLE, rows) for rows in views if bool(rows.any())]
    return [*found, (Modality.INFRARED, batch.modality == Modality.INFRARED)]
