"""P identities x K images, part by part, epoch after epoch; a pure function of seed and epoch, so resuming needs no state.

The identities are whatever labels a draw holds: true ones for a supervised method, pseudo-labels for others.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training import ranks
from training.data.places import OUTLIER, Places, Walk
from training.settings import RunSettings
from vireid.arrays import Int64Array
from vireid.errors import TrainingError

log = logging.getLogger(__name__)

FEWEST = 2  # identities a batch needs whatever happens: with one there is nobody to tell it from


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One share of every batch.

    Attributes:
        labels: of every image, -1 for those this part leaves out, (N,).
        grouped: P labels, K images of each; else P K images one by one, whatever their labels.
        cameras: of every image, (N,); then the K images of a label come from as many cameras as it has.
        fill: a label with fewer than K images shows each once, and further labels take the room it leaves; for
            clusters that may be single images, in draws that are not paired.
    """

    labels: Int64Array
    grouped: bool = True
    cameras: Int64Array | None = None
    fill: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What batches are made of.

    Attributes:
        parts: in the order they stand in a batch.
        paired: the grouped parts of a batch show the same labels, slot by slot; else each has its own.
        shrink: a batch may hold fewer than P identities if there are no more, as pseudo-labels may come out.
        spaces: of a paired draw whose parts are all grouped: how many label spaces they come from, as many parts of
            each, one space after another. Parts of a space show the same labels, and an equal share of P.
    """

    parts: tuple[Part, ...]
    paired: bool = True
    shrink: bool = False
    spaces: int = 1


def two_modalities(labels: Int64Array, modality: Int64Array, *, shrink: bool = False) -> Draw:
    """Draw the same identities in both modalities.

    Args:
        labels: of every image, -1 for none, (N,).
        modality: 0 visible, 1 infrared, (N,).
        shrink: see ``Draw``.
    """
    parts = (Part(np.where(modality == kind, labels, OUTLIER)) for kind in (0, 1))
    return Draw(tuple(parts), shrink=shrink)


class IdentitySampler:
    """Draws batches of indices.

    Args:
        draw: what of.
        persons: P identities in a batch, all processes' shares together.
        images: K images of each identity in each part; an epoch shows every image of an identity once before any again.
        iterations: batches in an epoch, 0 for as many as show every image about once.
        seed: everything follows from it and the epoch.
        processes: that divide every batch between them; the identities of a smaller batch are a multiple of it.

    Raises:
        TrainingError: there are too few identities, or a part that is drawn one by one has no image.
    """

    def __init__(
        self, draw: Draw, *, persons: int, images: int, iterations: int, seed: int, processes: int = 1
    ) -> None:
        self._draw = draw
        self._places = [Places(part.labels, part.cameras) for part in draw.parts]
        grouped = [part for part in draw.parts if part.grouped]
        named = [set(at.labels) for part, at in zip(draw.parts, self._places, strict=True) if part.grouped]
        for part, places in zip(draw.parts, self._places, strict=True):
            if not part.grouped and not len(places.all):
                raise TrainingError("a part of the batch has no images to draw from; expected at least one")
        # of parts that show the same labels
        together = len(named) // draw.spaces if draw.paired else 1
        self._decks = [
            sorted(set.intersection(*named[first : first + together]))
            for first in range(0, len(named), together or 1)
        ]
        self._deck_of = [place // together for place in range(len(named))]
        self._filled = {place for place, part in enumerate(grouped) if part.fill}
        assert not (draw.paired and self._filled), (
            "parts that show the same labels cannot be filled with others"
        )
        equal = draw.spaces * processes
        if persons % equal:
            whose = f"{draw.spaces} label spaces" + (f" in {processes} processes" if processes > 1 else "")
            raise TrainingError(
                f"{persons} identities of a batch cannot be shared by {whose} alike; set data.persons to a "
                f"multiple of {equal}"
            )
        asked, persons = persons, persons // draw.spaces
        fewest = min((len(deck) for deck in self._decks), default=persons)
        if fewest < (max(FEWEST // draw.spaces, processes) if draw.shrink else persons):
            whose = "visible and infrared images" if draw.paired and len(grouped) > 1 else "images"
            raise TrainingError(
                f"{fewest} identities have {whose}, a batch needs {persons}; "
                "lower data.persons, or bring more people"
            )
        held = min(persons, fewest) // processes * processes
        if held < persons:
            log.warning("batches hold %d identities instead of %d: there are no more", held, persons)
        self._persons, self._images, self._seed = held, images, seed
        drawn = sum(len(places.all) for places in self._places)
        self._iterations = iterations or max(1, round(drawn / (len(draw.parts) * asked * images)))

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return self._iterations

    @property
    def parts(self) -> int:
        """How many parts, of one length each, a batch has."""
        return len(self._places)

    def epoch(self, number: int) -> Iterator[Int64Array]:
        """Draw the batches of one epoch.

        Args:
            number: from 0.

        Yields:
            Indices, part by part and identity by identity, (parts P K,).
        """
        random = np.random.default_rng([self._seed, number])
        waiting: list[list[int]] = [[] for _ in self._decks]
        walks = [Walk(places, random) for places in self._places]
        singles: list[Int64Array] = [np.empty(0, np.int64) for _ in self._places]
        for _ in range(self._iterations):
            chosen = [
                [] if place in self._filled else self._deal(deck, waiting[place], self._persons, random)
                for place, deck in enumerate(self._decks)
            ]
            batch: list[int] = []
            group, count = 0, self._persons * self._images
            for place, (part, walk) in enumerate(zip(self._draw.parts, walks, strict=True)):
                if part.grouped and group in self._filled:
                    batch += self._fill(walk, self._decks[group], waiting[group], random)
                    group += 1
                elif part.grouped:
                    for label in chosen[self._deck_of[group]]:
                        batch += walk.next(label, self._images)
                    group += 1
                else:
                    while len(singles[place]) < count:
                        more = random.permutation(self._places[place].all)
                        singles[place] = np.concatenate([singles[place], more])
                    batch += singles[place][:count].tolist()
                    singles[place] = singles[place][count:]
            yield np.array(batch, np.int64)

    def _fill(
        self, walk: Walk, deck: list[int], waiting: list[int], random: np.random.Generator
    ) -> list[int]:
        """Draw up to K images of each of as many labels as fill a part."""
        drawn: list[int] = []
        shown: set[int] = set()
        while room := self._persons * self._images - len(drawn):
            if not waiting:
                # those in this batch already come last, so that none stands in it twice while there are others
                waiting += sorted(random.permutation(deck).tolist(), key=shown.__contains__)
            label = waiting.pop(0)
            shown.add(label)
            drawn += walk.next(label, min(self._images, walk.count(label), room))
        return drawn

    @staticmethod
    def _deal(deck: list[int], waiting: list[int], count: int, random: np.random.Generator) -> list[int]:
        if len(waiting) < count:
            # every identity once before any comes again
            waiting += [int(label) for label in random.permutation(deck) if label not in waiting]
        chosen = waiting[:count]
        del waiting[:count]
        return chosen


def sampler(draw: Draw, settings: RunSettings, seed: int | None = None) -> IdentitySampler:
    """Make the sampler a recipe asks for.

    Args:
        draw: what batches are made of.
        settings: of the run.
        seed: instead of the recipe's.

    Raises:
        TrainingError: there are too few identities.
    """
    return IdentitySampler(
        draw,
        persons=settings.data.persons,
        images=settings.data.images,
        iterations=settings.iterations * settings.accumulate or _enough(draw, settings),
        seed=settings.seed if seed is None else seed,
        processes=ranks.count(),
    )


def _enough(draw: Draw, settings: RunSettings) -> int:
    """Count the batches of whole steps that show every image about once."""
    drawn = sum(int((part.labels != OUTLIER).sum()) for part in draw.parts)
    batch = len(draw.parts) * settings.data.persons * settings.data.images
    return max(1, round(drawn / (batch * settings.accumulate))) * settings.accumulate
