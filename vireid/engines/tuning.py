"""How long engines take here, by trying them in turns. Knows no runtime."""

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from vireid.engines.base import Engine

SIZES = (1, 8)  # a request on its own, and a batch
ROUNDS = 7
LEAST_ROUNDS = 2
ENOUGH_S = 12.0  # of trying; a server is to start
WORTH_IT = 0.97  # of another's time: less is no more than chance

log = logging.getLogger(__name__)


def seconds_an_image(
    engines: Sequence[Engine],
    sizes: Sequence[int] = SIZES,
    *,
    clock: Callable[[], float] = time.perf_counter,
    rounds: int = ROUNDS,
    enough_s: float = ENOUGH_S,
) -> list[float]:
    """Let engines embed batches of grey pictures in turns; the best time of each size counts.

    Turns make a disturbance hit all alike, and the best of several is not disturbed.

    Args:
        engines: of the same input size.
        sizes: of the batches.
        clock: seconds that never run back.
        rounds: turns of each.
        enough_s: no further turn begins after so long, but for the first two.

    Returns:
        Of each engine the geometric mean over the batch sizes of the seconds that one image takes.
    """
    if not engines:
        return []
    height, width = engines[0].input_size
    batches = [(np.full((n, height, width, 3), 128, np.uint8), np.arange(n) % 2) for n in sizes]
    best = np.full((len(engines), len(sizes)), np.inf)
    for engine in engines:
        for images, modality in batches:
            engine.embed(images, modality)  # the first run of each size prepares it
    began = clock()
    for turn in range(rounds):
        if turn >= LEAST_ROUNDS and clock() - began > enough_s:
            break
        for place, engine in enumerate(engines):
            for column, (images, modality) in enumerate(batches):
                start = clock()
                engine.embed(images, modality)
                best[place, column] = min(best[place, column], clock() - start)
    each = best / np.array(sizes)
    found: list[float] = np.exp(np.log(np.maximum(each, 1e-9)).mean(axis=1)).tolist()
    log.info("an image takes %s ms", ", ".join(f"{1e3 * one:.1f}" for one in found))
    return found
