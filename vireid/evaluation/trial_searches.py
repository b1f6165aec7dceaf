"""Searches among people split in halves: what calibration is fitted on, and what it is checked with.

The people are split in two at random, several times over. Every image asks among the images of its own half. So the
galleries of both halves are of one size, a curve fitted on one half can be checked on the other, which shares no
person with it, and all people count in the end. Knows no curve and no threshold.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vireid import progress
from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vireid.errors import EvaluationError
from vireid.types import Modality

SPLITS = 5
HITS = 20
_CELLS = 1 << 21

Pair = tuple[Modality, Modality]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Embedded images of known people.

    Attributes:
        vectors: unit rows, (N, D).
        person: who is on them, (N,).
        camera: which camera took them, (N,).
        modality: 0 visible, 1 infrared, (N,).
    """

    vectors: Float32Array | Float64Array
    person: Int64Array
    camera: Int64Array
    modality: Int64Array

    def __post_init__(self) -> None:
        n = len(self.vectors)
        if any(labels.shape != (n,) for labels in (self.person, self.camera, self.modality)):
            raise EvaluationError(
                f"found {n} vectors and labels of another number; each image has one of each"
            )
        if not np.isfinite(self.vectors).all():
            raise EvaluationError("found NaN or infinity in the features; they cannot be calibrated")

    def rows(self, modality: Modality) -> Int64Array:
        """Return the rows of one modality."""
        return np.flatnonzero(self.modality == modality)


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """What the images of one half of the people found there.

    Attributes:
        score: of the first hits of each search, best first, -inf beyond the last, (Q, HITS).
        same: whether a hit shows the person asked for, (Q, HITS).
        stranger: the best score of somebody else, per search, (Q,).
        there: whether the person asked for could be found, (Q,).
        asked: who was asked for, (Q,).
        images: images searched, on average.
        people: people they show.
    """

    score: Float64Array
    same: BoolArray
    stranger: Float64Array
    there: BoolArray
    asked: Int64Array
    images: float
    people: int

    def hits(self, first: int) -> tuple[Float64Array, BoolArray]:
        """Return score and truth of the hits on lists of a length, where the person asked for was there."""
        score, same = self.score[self.there, :first], self.same[self.there, :first]
        filled = np.isfinite(score)
        return score[filled], same[filled]


def halves(people: People, pair: Pair, splits: int = SPLITS, seed: int = 0) -> list[tuple[Half, Half]]:
    """Search within halves of the people.

    A search leaves out the image itself and the other images of its person that its own camera took. Who has nothing
    else to be found by counts only among the searches for strangers.

    Args:
        people: embedded images.
        pair: modality that asks and modality that is found.
        splits: how often the people are split.
        seed: of the splits.

    Returns:
        The two halves of each split.
    """
    asks, finds = people.rows(pair[0]), people.rows(pair[1])
    everybody = np.unique(people.person[np.concatenate([asks, finds])])
    random = np.random.default_rng(seed)
    sides = [random.permutation(len(everybody)) < len(everybody) // 2 for _ in range(splits)]
    side = np.array(sides)[:, np.searchsorted(everybody, people.person)]  # (splits, N)
    score = np.full((splits, len(asks), HITS), -np.inf)
    same = np.zeros((splits, len(asks), HITS), dtype=bool)
    stranger = np.full((splits, len(asks)), -np.inf)
    there = np.zeros((splits, len(asks)), dtype=bool)
    images = np.zeros((splits, len(asks)))
    words = f"searching {pair[1].word} by {pair[0].word}"
    wanted = people.vectors[finds].astype(np.float64).T
    with progress.bar(words, total=len(asks)) as advance:
        for mine in _blocks(len(asks), len(finds)):
            rows = asks[mine]
            found = people.vectors[rows].astype(np.float64) @ wanted
            alike = people.person[rows, None] == people.person[finds]
            seen = ~(alike & (people.camera[rows, None] == people.camera[finds]))
            for number in range(splits):
                near = side[number, rows, None] == side[number, finds]
                shown = np.where(near & seen, found, -np.inf)
                best = np.argsort(-shown, axis=1, kind="stable")[:, :HITS]
                length = best.shape[1]
                score[number, mine, :length] = np.take_along_axis(shown, best, axis=1)
                same[number, mine, :length] = np.take_along_axis(alike, best, axis=1)
                stranger[number, mine] = np.where(near & ~alike, found, -np.inf).max(axis=1, initial=-np.inf)
                there[number, mine] = (near & seen & alike).any(axis=1)
                images[number, mine] = (near & seen).sum(axis=1)
            advance(len(rows))
    outcome = []
    for number in range(splits):
        both = []
        for which in (False, True):
            own = np.flatnonzero((side[number, asks] == which) & np.isfinite(stranger[number]))
            found_people = np.unique(people.person[finds][side[number, finds] == which])
            both.append(
                Half(
                    score[number, own],
                    same[number, own],
                    stranger[number, own],
                    there[number, own],
                    people.person[asks[own]],
                    float(images[number, own].mean()) if len(own) else 0.0,
                    len(found_people),
                )
            )
        outcome.append((both[0], both[1]))
    return outcome


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(1, width))
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
