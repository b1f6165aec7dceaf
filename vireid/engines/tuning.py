"""How long engines take here, by trying them in turns. Knows no runtime."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vireid.arrays import Float64Array
from vireid.engines.base import Engine
from vireid.errors import EngineError

SIZES = (1, 8)  # a request on its own, and a batch
ROUNDS = 7
LEAST_ROUNDS = 2
ENOUGH_S = 5.0  # of trying; a server is to start
WORTH_IT = 0.97  # of another's time: less is no more than chance
# who takes so many times as long as the fastest is not tried again: by single pictures alone, then after each turn of all sizes
FIRST_LOOK = 4.0
LEFT_BEHIND = (2.5, 1.6, 1.25, 1.1)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying engines.

    Attributes:
        seconds: of each engine the geometric mean, over the batch sizes it was tried with, of what one image takes; infinite
            where it failed.
        settled: whether the last turn changed next to nothing, so that trying again would find the same.
        failed: by place of the engine what it failed with.
    """

    seconds: tuple[float, ...]
    settled: bool
    failed: Mapping[int, EngineError] = field(default_factory=dict)


def seconds_an_image(engines: Sequence[Engine], sizes: Sequence[int] = SIZES) -> list[float]:
    """Say what an image takes with each engine here; see ``tried``.

    Raises:
        EngineError: one of them failed.
    """
    found = tried(engines, sizes)
    for error in found.failed.values():
        raise error
    return list(found.seconds)


def tried(
    engines: Sequence[Engine],
    sizes: Sequence[int] = SIZES,
    *,
    clock: Callable[[], float] = time.perf_counter,
    rounds: int = ROUNDS,
    enough_s: float = ENOUGH_S,
) -> Tried:
    """Let engines embed batches of grey pictures in turns; the best time of each size counts.

    Turns make a disturbance hit all alike, and the best of several is not disturbed. Who is clearly behind is left out of the
    turns that follow, and they end when they find nothing new.

    Args:
        engines: of the same input size.
        sizes: of the batches, the smallest first.
        clock: seconds that never run back.
        rounds: turns of each at most.
        enough_s: no further turn begins after so long, but for the first two.

    Raises:
        EngineError: all of them failed; one that is left is enough.
    """
    if not engines:
        return Tried((), True)
    course = _Course(engines, sizes, clock)
    began, settled = clock(), False
    places, columns = list(range(len(engines))), range(len(sizes))
    course.prepare(places, columns[:1])
    if len(sizes) > 1:
        course.run(places, columns[:1])
        places = _near(course.left(places), course.seconds, FIRST_LOOK)
        course.prepare(places, columns[1:])
    places = course.left(places)
    for turn in range(rounds):
        if turn >= LEAST_ROUNDS and clock() - began > enough_s:
            break
        before = course.seconds
        course.run(places, columns)
        places, now = course.left(places), course.seconds
        settled = turn > 0 and bool(np.all(now[places] > WORTH_IT * before[places]))
        places = _near(places, now, LEFT_BEHIND[min(turn, len(LEFT_BEHIND) - 1)])
        # one that is alone is known well enough after two turns; of several that are near, more counts
        if settled and turn >= min(len(places), LEAST_ROUNDS):
            break
    log.info("an image takes %s ms", ", ".join(f"{1e3 * one:.1f}" for one in course.seconds))
    return Tried(tuple(course.seconds.tolist()), settled, course.failed)


class _Course:
    """Engines and batches, and the best times so far."""

    def __init__(self, engines: Sequence[Engine], sizes: Sequence[int], clock: Callable[[], float]) -> None:
        height, width = engines[0].input_size
        self._engines, self._sizes, self._clock = engines, sizes, clock
        self._batches = [(np.full((n, height, width, 3), 128, np.uint8), np.arange(n) % 2) for n in sizes]
        self._best = np.full((len(engines), len(sizes)), np.inf)
        self.failed: dict[int, EngineError] = {}

    def left(self, places: Sequence[int]) -> list[int]:
        """Return those that have not failed; where all of them have, those that were left behind.

        Raises:
            EngineError: there is none.
        """
        sound = [place for place in range(len(self._engines)) if place not in self.failed]
        if not sound:
            raise self.failed[places[0]]
        return [place for place in places if place in sound] or sound

    def prepare(self, places: Sequence[int], columns: Sequence[int]) -> None:
        """Run each once, which does not count: the first run of a size prepares it."""
        for place in places:
            for column in columns:
                self._embed(place, column)

    def run(self, places: Sequence[int], columns: Sequence[int]) -> None:
        """Run each once."""
        for place in places:
            for column in columns:
                start = self._clock()
                self._embed(place, column)
                each = max((self._clock() - start) / self._sizes[column], 1e-9)
                self._best[place, column] = min(self._best[place, column], each)

    def _embed(self, place: int, column: int) -> None:
        if place in self.failed:
            return
        try:
            self._engines[place].embed(*self._batches[column])
        except EngineError as error:
            self.failed[place] = error

    @property
    def seconds(self) -> Float64Array:
        """Of each engine the geometric mean of the sizes that were run; infinite before any was, and once it failed."""
        run = np.isfinite(self._best)
        logs = np.log(np.where(run, self._best, 1.0)).sum(axis=1)
        means: Float64Array = np.exp(np.where(run.any(axis=1), logs / np.maximum(run.sum(axis=1), 1), np.inf))
        means[list(self.failed)] = np.inf
        return means


def _near(places: Sequence[int], seconds: Float64Array, factor: float) -> list[int]:
    limit = factor * min(seconds[place] for place in places)
    return [place for place in places if seconds[place] <= limit]
