"""Which layers stay fp32 so that a model in eight bits comes near enough to itself, at the least cost in speed.

All layers in eight bits are tried first. If that is not near enough, each layer is rounded alone, once, and those that harm most
are left out: as many as cost hardly any speed, since what is nearer is safer on images nobody has seen yet, and more only where
that is not enough. What a layer wins is measured and not counted: a first layer of three channels wins nothing in eight bits.
Knows no runtime and no people.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from export.layers import Layer
from export.quantize import Quantiser

MOST_KEPT = 0.5  # of the multiplications: with more in fp32 there is little to win
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
TIMED = 12  # with more layers left out than this it is never for nothing
HARDLY = 1.05  # times the fastest

Shown = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
# what an image costs for each choice of layers in eight bits, in any unit
Cost = Callable[[Sequence[Collection[Layer]]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A graph that was tried.

    Attributes:
        kept: how many layers were left in fp32.
        cosine: with the source's rows, the mean.
    """

    kept: int
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search came to.

    Attributes:
        graph: the one that is near enough, or came nearest.
        kept: layers that stay fp32, the most harmful first.
        cosine: with the source's rows, the mean.
        harm: of each layer rounded alone, 1 less the mean cosine; empty where nobody had to ask.
        attempts: in their order.
    """

    graph: bytes
    kept: tuple[Layer, ...]
    cosine: float
    harm: Mapping[str, float]
    attempts: tuple[Attempt, ...]


def search(
    quantiser: Quantiser,
    cosine_of: Callable[[bytes], float],
    least: float,
    harm_of: Callable[[bytes], float],
    cost: Cost,
    shown: Shown,
) -> Found:
    """Find which layers to leave in fp32.

    Args:
        quantiser: makes the graphs.
        cosine_of: a graph's mean cosine with the source.
        least: cosine that is near enough.
        harm_of: of a graph with a single layer in eight bits; need not be exact.
        cost: compares choices of layers.
        shown: shows progress.
    """
    order: list[Layer] = []
    graphs: dict[int, bytes] = {}
    cosines: dict[int, float] = {}
    harm: dict[str, float] = {}

    def rounded(count: int) -> list[Layer]:
        left = set(order[:count])
        return [layer for layer in quantiser.layers if layer not in left]

    def near_enough(count: int) -> bool:
        graphs[count] = quantiser.graph(rounded(count))
        cosines[count] = cosine_of(graphs[count])
        return cosines[count] >= least

    def told(count: int) -> Found:
        attempts = tuple(Attempt(kept, cosine) for kept, cosine in cosines.items())
        return Found(graphs[count], tuple(order[:count]), cosines[count], harm, attempts)

    if near_enough(0):
        return told(0)
    with shown("rounding each layer alone", len(quantiser.layers)) as advance:
        for layer in quantiser.layers:
            harm[layer.name] = harm_of(quantiser.graph([layer]))
            advance(1)
    order += sorted(quantiser.layers, key=lambda layer: harm[layer.name], reverse=True)
    counts = _counts(quantiser, order)
    with shown("trying how many stay in fp32", None) as advance:
        timed = [0, *(count for count in counts if count <= TIMED)]
        costs = cost([rounded(count) for count in timed])
        free = max(count for count, one in zip(timed, costs, strict=True) if one <= HARDLY * min(costs))
        for count in (count for count in counts if count >= free):
            advance(1)
            if near_enough(count):
                return told(count)
    return told(max(cosines, key=lambda count: cosines[count]))


def _counts(quantiser: Quantiser, order: Sequence[Layer]) -> list[int]:
    """Say how many layers may be left out before too much of the work is fp32."""
    most = 0
    while most < len(order) and quantiser.share(order[: most + 1]) <= MOST_KEPT:
        most += 1
    return [*(count for count in COUNTS if count < most), *([most] if most else [])]
