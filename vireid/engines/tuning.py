"""Which of two engines is faster here, by trying both. Knows no runtime."""

import logging
import time
from collections.abc import Callable

import numpy as np

from vireid.engines.base import Engine

ROUNDS = 7
WORTH_IT = 0.97  # of the usual one's time: less is no more than chance

log = logging.getLogger(__name__)


def is_faster(
    other: Engine, usual: Engine, *, clock: Callable[[], float] = time.perf_counter, rounds: int = ROUNDS
) -> bool:
    """Let two engines embed one grey picture in turns, and compare the best time of each.

    Args:
        other: replaces the usual one if it is clearly faster.
        usual: stays otherwise.
        clock: seconds that never run back.
        rounds: turns of each.
    """
    height, width = usual.input_size
    picture = np.full((1, height, width, 3), 128, np.uint8)
    modality = np.zeros(1, np.int64)

    def seconds(engine: Engine) -> float:
        began = clock()
        engine.embed(picture, modality)
        return clock() - began

    for engine in (usual, other):
        engine.embed(picture, modality)  # the first run of a session prepares it
    best = tried = float("inf")
    for _ in range(rounds):
        best, tried = min(best, seconds(usual)), min(tried, seconds(other))
    log.info("one picture takes %.1f ms the usual way, %.1f ms the other", best * 1e3, tried * 1e3)
    return tried < WORTH_IT * best
