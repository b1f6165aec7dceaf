"""Teaching the infrared side of a bridged network where the visible side already puts each person.

The visible side is never touched: its embeddings are computed once and are the targets. Three losses: an
infrared image is told its person among all training people's visible prototypes; infrared images of one
person are drawn together; and the similarities within a modality stay near those of the network one
started from, which is the guard that keeps what it knew. Reads labelled crops from memory; knows no files and
no datasets.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.models.bridged import Adapter, BridgedNet
from vireid import progress
from vireid.arrays import BoolArray, Int64Array, UInt8Array
from vireid.errors import TrainingError

log = logging.getLogger(__name__)

VISIBLE, INFRARED = 0, 1


@dataclass(frozen=True, slots=True)
class Crops:
    """Labelled, preprocessed images in memory.

    Attributes:
        images: RGB, (N, H, W, 3).
        person: identity numbers, (N,).
        camera: camera numbers, (N,).
        modality: 0 visible, 1 infrared, (N,).
        scene: which drawn dataset; people are only ever compared within theirs, so that the look of its
            cameras gives nobody away, (N,).
    """

    images: UInt8Array
    person: Int64Array
    camera: Int64Array
    modality: Int64Array
    scene: Int64Array

    def __len__(self) -> int:
        return len(self.person)

    def of(self, modality: int) -> "Crops":
        """Return the crops of one modality."""
        return self.take(self.modality == modality)

    def take(self, rows: BoolArray) -> "Crops":
        """Return the crops where ``rows`` (N,) is true."""
        return Crops(
            self.images[rows],
            self.person[rows],
            self.camera[rows],
            self.modality[rows],
            self.scene[rows],
        )


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """How the infrared side is taught.

    Attributes:
        rank: of the adapters grown onto the start.
        steps: optimiser steps.
        persons: people in a batch.
        shots: infrared images of each.
        greyed: share of a batch's images that are a visible image in grey instead, passed off as infrared.
        learning_rate: at the top of its one cycle.
        weight_decay: of AdamW.
        temperature: of the two contrastive losses.
        together: weight of the loss that draws one person's infrared images together.
        keep: weight of the guard.
        strength: share of what was taught that is kept in the end; less keeps more of the start.
        watch_every: steps between two scores.
        seed: of batches and augmentation.
        compiled: compile the network first; twice as fast, needs a C++ compiler.
    """

    rank: int = 16
    steps: int = 400
    persons: int = 16
    shots: int = 3
    greyed: float = 0.4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    temperature: float = 0.1
    together: float = 0.5
    keep: float = 8.0
    strength: float = 0.5
    watch_every: int = 100
    seed: int = 0
    compiled: bool = True


def embed(net: BridgedNet, crops: Crops, *, centred: bool = True, batch: int = 32) -> Tensor:
    """Embed crops in evaluation mode; unit rows, (N, D)."""
    rows = []
    with torch.inference_mode():
        for at in range(0, len(crops), batch):
            images = torch.from_numpy(crops.images[at : at + batch])
            modality = torch.from_numpy(crops.modality[at : at + batch])
            rows.append(net(images, modality) if centred else net.uncentred(images, modality))
    return torch.cat(rows).clone()


def centre(net: BridgedNet, uncentred: Tensor, modality: Int64Array) -> None:
    """Put each modality's centre at the mean of its rows.

    Args:
        net: changed in place.
        uncentred: unit rows of the net before centring, (N, D).
        modality: of each row, (N,).

    Raises:
        TrainingError: a modality has no rows.
    """
    for each in (VISIBLE, INFRARED):
        rows = uncentred[torch.from_numpy(modality == each)]
        if not len(rows):
            raise TrainingError("centring needs crops of both modalities; one has none")
        net.centres[each] = rows.mean(0)


def soften(net: BridgedNet, strength: float) -> None:
    """Scale everything the infrared side adds: 0 leaves the start, 1 all that was taught."""
    added = [adapter.up for adapter in net.adapters.values() if isinstance(adapter, Adapter)]
    with torch.no_grad():
        for module in [*added, *([net.turn] if net.turn is not None else [])]:
            for parameter in module.parameters():
                parameter.mul_(strength)


def fit(
    net: BridgedNet,
    crops: Crops,
    uncentred: Tensor,
    settings: BridgeSettings,
    watch: Callable[[int, BridgedNet], float] | None = None,
) -> list[float]:
    """Teach the infrared side; ``net`` must have been centred.

    Args:
        net: changed in place; left with the weights of its best score if watched.
        crops: of both modalities; people without both are left out.
        uncentred: the start's unit rows of the crops before centring, (N, D).
        settings: how.
        watch: called with the step and the net every ``settings.watch_every`` steps and at the end; returns a
            score, more is better.

    Returns:
        The scores.

    Raises:
        TrainingError: nothing to learn from, or the loss is not finite.
    """
    lesson = _Lesson(net, crops, uncentred, settings)
    trained = [p for p in net.parameters() if p.requires_grad]
    if not trained:
        raise TrainingError("the network has no infrared side to teach: give it adapters (rank > 0)")
    optimiser = torch.optim.AdamW(trained, settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.15
    )
    forward = torch.compile(net) if settings.compiled else net
    scores: list[float] = []
    best: tuple[float, dict[str, Tensor]] = (-np.inf, {})
    with progress.bar("teaching the infrared side", total=settings.steps) as advance:
        for step in range(1, settings.steps + 1):
            images, rows = lesson.batch()
            loss = lesson.loss(forward(images, torch.ones(len(images), dtype=torch.int64)), rows)
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss is {loss.item()} at step {step}: lower the learning rate")
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            advance(1)
            if watch and (step % settings.watch_every == 0 or step == settings.steps):
                scores.append(watch(step, net))
                if scores[-1] > best[0]:
                    best = scores[-1], {name: p.detach().clone() for name, p in net.state_dict().items()}
    if watch:
        net.load_state_dict(best[1])
    return scores


class _Lesson:
    """Batches and losses; the targets are computed once."""

    def __init__(self, net: BridgedNet, crops: Crops, uncentred: Tensor, settings: BridgeSettings) -> None:
        self.settings = settings
        self.random = np.random.default_rng(settings.seed)
        self.draw = torch.Generator().manual_seed(settings.seed)
        both = np.intersect1d(crops.of(VISIBLE).person, crops.of(INFRARED).person)
        self.crops = crops.take(np.isin(crops.person, both))
        self.start = F.normalize(uncentred - net.centres[torch.from_numpy(crops.modality)])
        self.start = self.start[torch.from_numpy(np.isin(crops.person, both))]
        self.rows = {
            (int(person), modality): np.flatnonzero(
                (self.crops.person == person) & (self.crops.modality == modality)
            )
            for person in both
            for modality in (VISIBLE, INFRARED)
        }
        self.number = torch.from_numpy(np.searchsorted(both, self.crops.person))
        self.scene = torch.from_numpy(self.crops.scene)
        visible = torch.from_numpy(self.crops.modality == VISIBLE)
        sums = torch.zeros(len(both), self.start.shape[1])
        self.prototypes = F.normalize(sums.index_add_(0, self.number[visible], self.start[visible]))
        self.home = torch.zeros(len(both), dtype=torch.int64).index_put_((self.number,), self.scene)
        residents = {int(scene): both[self.home.numpy() == scene] for scene in np.unique(self.crops.scene)}
        fewest = min((len(people) for people in residents.values()), default=0)
        if fewest < settings.persons:
            raise TrainingError(
                f"a scene has {fewest} people with crops of both modalities; a batch needs {settings.persons}"
            )
        self._residents = residents

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return augmented images (B, H, W, 3) of one scene and their rows in the crops (B,)."""
        rows = []
        people = self._residents[int(self.random.choice(list(self._residents)))]
        for person in self.random.choice(people, self.settings.persons, replace=False).tolist():
            for _ in range(self.settings.shots):
                modality = VISIBLE if self.random.random() < self.settings.greyed else INFRARED
                rows.append(self.random.choice(self.rows[person, modality]))
        at: Int64Array = np.array(rows)
        images = torch.from_numpy(self.crops.images[at])
        grey = torch.from_numpy(self.crops.modality[at] == VISIBLE)
        return self._augment(images, grey), torch.from_numpy(at)

    def loss(self, embedded: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of infrared embeddings (B, D) of the crops ``rows``."""
        who, temperature = self.number[rows], self.settings.temperature
        elsewhere = self.home[None, :] != self.scene[rows][:, None]
        to_people = (embedded @ self.prototypes.T / temperature).masked_fill(elsewhere, -1e9)
        named = F.cross_entropy(to_people, who)
        similar = embedded @ embedded.T
        itself = torch.eye(len(rows), dtype=torch.bool)
        same = (who[:, None] == who[None, :]) & ~itself
        log_share = F.log_softmax((similar / temperature).masked_fill(itself, -1e9), dim=1)
        together = -(log_share * same).sum(1) / same.sum(1).clamp(min=1)
        infrared = torch.from_numpy(self.crops.modality[rows.numpy()] == INFRARED)
        before = self.start[rows] @ self.start[rows].T
        # the start's own view of two infrared images, or of two visible ones that are now shown in grey
        pairs = (infrared[:, None] == infrared[None, :]) & ~itself
        keep = (similar - before)[pairs].square().mean() if pairs.any() else similar.new_zeros(())
        return named + self.settings.together * together.mean() + self.settings.keep * keep

    def _augment(self, images: Tensor, grey: Tensor) -> Tensor:
        """Mirror, bend the tone, add noise, erase a box; mix the ``grey`` ones to one channel."""
        count, height, width, _ = images.shape

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(count, *shape, generator=self.draw)

        x = images.float() / 255
        weights = uniform(0, 1, 1, 1, 3).square()
        single = (x * weights / weights.sum(-1, keepdim=True)).sum(-1, keepdim=True).expand_as(x)
        x = torch.where(grey.view(-1, 1, 1, 1), single, x)
        mirrored = uniform(0, 1) < 0.5
        x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(2), x)
        x = x.clamp(1e-4, 1) ** uniform(-0.5, 0.5, 1, 1, 1).exp()
        noise = torch.randn(count, height, width, 1, generator=self.draw)
        x = x + noise * uniform(0, 0.05, 1, 1, 1)
        top, left = uniform(0, 1, 1, 1), uniform(0, 1, 1, 1)
        tall, wide = uniform(0.1, 0.35, 1, 1), uniform(0.15, 0.6, 1, 1)
        down = torch.arange(height).view(1, -1, 1) / height
        across = torch.arange(width).view(1, 1, -1) / width
        box = (down >= top) & (down < top + tall) & (across >= left) & (across < left + wide)
        box &= uniform(0, 1, 1, 1) < 0.3
        x = torch.where(box.unsqueeze(-1), uniform(0, 1, 1, 1, 1), x)
        return (x.clamp(0, 1) * 255).round().to(torch.uint8)
