"""How long engines take here, by trying them in turns. Knows no runtime."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float64Array
from vireid.engines.base import Engine

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
        seconds: of each engine the geometric mean, over the batch sizes it was tried with, of what one image takes.
        settled: whether the last turn changed next to nothing, so that trying again would find the same.
    """

    seconds: tuple[float, ...]
    settled: bool


def seconds_an_image(engines: Sequence[Engine], sizes: Sequence[int] = SIZES) -> list[float]:
    """Say what an image takes with each engine here; see ``tried``."""
    return list(tried(engines, sizes).seconds)


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
    """
    if not engines:
        return Tried((), True)
    course = _Course(engines, sizes, clock)
    began, settled = clock(), False
    places, columns = list(range(len(engines))), range(len(sizes))
    course.prepare(places, columns[:1])
    if len(sizes) > 1:
        course.run(places, columns[:1])
        places = _near(places, course.seconds, FIRST_LOOK)
        course.prepare(places, columns[1:])
    for turn in range(rounds):
        if turn >= LEAST_ROUNDS and clock() - began > enough_s:
            break
        before = course.seconds
        course.run(places, columns)
        now = course.seconds
        settled = turn > 0 and bool(np.all(now[places] > WORTH_IT * before[places]))
        places = _near(places, now, LEFT_BEHIND[min(turn, len(LEFT_BEHIND) - 1)])
        # one that is alone is known well enough after two turns; of several that are near, more counts
        if settled and turn >= min(len(places), LEAST_ROUNDS):
            break
    log.info("an image takes %s ms", ", ".join(f"{1e3 * one:.1f}" for one in course.seconds))
    return Tried(tuple(course.seconds.tolist()), settled)


class _Course:
    """Engines and batches, and the best times so far."""

    def __init__(self, engines: Sequence[Engine], sizes: Sequence[int], clock: Callable[[], float]) -> None:
        height, width = engines[0].input_size
        self._engines, self._sizes, self._clock = engines, sizes, clock
        self._batches = [(np.full((n, height, width, 3), 128, np.uint8), np.arange(n) % 2) for n in sizes]
        self._best = np.full((len(engines), len(sizes)), np.inf)

    def prepare(self, places: Sequence[int], columns: Sequence[int]) -> None:
        """Run each once, which does not count: the first run of a size prepares it."""
        for place in places:
            for column in columns:
                self._engines[place].embed(*self._batches[column])

    def run(self, places: Sequence[int], columns: Sequence[int]) -> None:
        """Run each once."""
        for place in places:
            for column in columns:
                start = self._clock()
                self._engines[place].embed(*self._batches[column])
                each = max((self._clock() - start) / self._sizes[column], 1e-9)
                self._best[place, column] = min(self._best[place, column], each)

    @property
    def seconds(self) -> Float64Array:
        """Of each engine the geometric mean of the sizes that were run; infinite before any was."""
        run = np.isfinite(self._best)
        logs = np.log(np.where(run, self._best, 1.0)).sum(axis=1)
        means: Float64Array = np.exp(np.where(run.any(axis=1), logs / np.maximum(run.sum(axis=1), 1), np.inf))
        return means


def _near(places: Sequence[int], seconds: Float64Array, factor: float) -> list[int]:
    limit = factor * min(seconds[place] for place in places)
    return [place for place in places if seconds[place] <= limit]
