"""Which layers stay fp32 so that a model in eight bits meets its bar, at the least cost in speed; or that none would do.

All layers in eight bits are tried first. If that is not enough, each layer is rounded alone, once; those that harm most are left
out, and how many is found by doubling and then halving. What a layer would win is not asked: multiplications do not tell it (a
first layer of three channels wins nothing in eight bits). Knows no runtime.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from export.bars import Bar
from export.layers import Layer
from export.quantize import Quantiser
from export.trial import Score

MOST_KEPT = 0.5  # of the multiplications: with more in fp32 there is little to win

Judge = Callable[[bytes], Score]
Shown = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A graph that was tried.

    Attributes:
        kept: how many layers were left in fp32.
        score: what it reached.
    """

    kept: int
    score: Score


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search came to.

    Attributes:
        graph: the one that meets the bar with the fewest layers left out, or came nearest.
        kept: layers that stay fp32, the most harmful first.
        score: what it reached.
        misses: each number beside the bar it misses; empty if all are met.
        harm: of each layer rounded alone, 1 less the mean cosine; empty where nobody had to ask.
        attempts: in their order.
    """

    graph: bytes
    kept: tuple[Layer, ...]
    score: Score
    misses: tuple[str, ...]
    harm: Mapping[str, float]
    attempts: tuple[Attempt, ...]

    @property
    def met(self) -> bool:
        """Whether the bar was met."""
        return not self.misses


def search(
    quantiser: Quantiser,
    judge: Judge,
    bar: Bar,
    harm_of: Callable[[bytes], float],
    shown: Shown,
) -> Found:
    """Find the fewest layers to leave in fp32.

    Args:
        quantiser: makes the graphs.
        judge: scores one.
        bar: to be met.
        harm_of: of a graph with a single layer in eight bits; need not be exact.
        shown: shows progress.
    """
    tried: dict[int, tuple[bytes, Score]] = {}
    order: list[Layer] = []

    def attempt(count: int) -> bool:
        if count not in tried:
            left = set(order[:count])
            graph = quantiser.graph([layer for layer in quantiser.layers if layer not in left])
            tried[count] = graph, judge(graph)
        return not tried[count][1].misses(bar)

    harm: dict[str, float] = {}
    if attempt(0):
        return _told(0, tried, order, harm, bar)
    with shown("rounding each layer alone", len(quantiser.layers)) as advance:
        for layer in quantiser.layers:
            harm[layer.name] = harm_of(quantiser.graph([layer]))
            advance(1)
    order += sorted(quantiser.layers, key=lambda layer: harm[layer.name], reverse=True)
    most = _most(quantiser, order)
    with shown("trying how many stay in fp32", None) as advance:

        def watched(count: int) -> bool:
            met = attempt(count)
            advance(1)
            return met

        enough = _enough(watched, most)
    if enough is None:
        nearest = min(tried, key=lambda count: tried[count][1].shortfall(bar))
        return _told(nearest, tried, order, harm, bar)
    return _told(enough, tried, order, harm, bar)


def _most(quantiser: Quantiser, order: list[Layer]) -> int:
    """Count how many layers can be left out before too much of the work is fp32."""
    count = 0
    while count < len(order) and quantiser.share(order[: count + 1]) <= MOST_KEPT:
        count += 1
    return count


def _enough(attempt: Callable[[int], bool], most: int) -> int | None:
    """Find the least count that is enough: doubled until one is, then halved; None if the most is not."""
    failed, count = 0, 1
    while count < most and not attempt(count):
        failed, count = count, 2 * count
    count = min(count, most)
    if count <= failed or not attempt(count):
        return None
    while count - failed > 1:
        middle = (count + failed) // 2
        if attempt(middle):
            count = middle
        else:
            failed = middle
    return count


def _told(
    count: int,
    tried: Mapping[int, tuple[bytes, Score]],
    order: list[Layer],
    harm: Mapping[str, float],
    bar: Bar,
) -> Found:
    graph, score = tried[count]
    attempts = tuple(Attempt(kept, one) for kept, (_, one) in tried.items())
    return Found(graph, tuple(order[:count]), score, score.misses(bar), dict(harm), attempts)
