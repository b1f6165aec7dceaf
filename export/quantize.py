"""An fp32 graph made to compute in eight bits, fitted to calibration images. Knows the graph alone: no torch and no bundle.

Batch norm is part of its convolution first; weights have a scale for each output channel, maps one each; biases make up for
what rounding weights shifts on average. The head (pooling, neck, unit length) stays fp32.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from export import layers, qdq, ranges
from export.calibration_images import CalibrationImages
from export.layers import Layer
from export.qdq import SCHEMES, Scheme
from export.ranges import Spread, Way
from export.trial import Trial
from vireid.errors import ExportError

CHOOSE_ON = 16  # images on which the ways to calibrate are compared

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Quantiser:
    """A folded graph with what was measured of its maps: any of its layers can be put into eight bits.

    Attributes:
        model: folded, fp32.
        layers: those that can compute in eight bits.
        scheme: of the runtime.
        spreads: of every map that may be rounded.
        way: how far eight bits reach.
    """

    model: Any
    layers: tuple[Layer, ...]
    scheme: Scheme
    spreads: Mapping[str, Spread]
    way: Way = "minmax"

    def graph(self, chosen: Collection[Layer] | None = None) -> bytes:
        """Put layers into eight bits, all if none are named.

        Raises:
            ExportError: the graph that was made is not valid ONNX.
        """
        wanted = self.layers if chosen is None else chosen
        needed = qdq.maps(self.model.graph, wanted, self.scheme)
        reaches = {name: ranges.reach(self.spreads[name], self.way) for name in needed}
        means = {name: spread.mean for name, spread in self.spreads.items()}
        return qdq.insert(self.model, wanted, reaches, self.scheme, means)

    def by(self, way: Way) -> "Quantiser":
        """Return the same with another way to say how far eight bits reach."""
        return Quantiser(self.model, self.layers, self.scheme, self.spreads, way)

    def share(self, chosen: Collection[Layer]) -> float:
        """Say which share of the multiplications these layers do."""
        return sum(layer.macs for layer in chosen) / sum(layer.macs for layer in self.layers)


def prepare(
    graph: bytes,
    scheme: str,
    calibration: CalibrationImages,
    *,
    advance: Advance | None = None,
    threads: int = 1,
) -> Quantiser:
    """Fold a graph and measure its maps.

    Args:
        graph: images and modality in, unit rows out, as ``to_onnx`` makes it.
        scheme: a key of ``SCHEMES``.
        calibration: images of both modalities.
        advance: told of each image that went through.
        threads: of the processor.

    Raises:
        ExportError: the graph is not fp32, has nothing to quantise, or does not run.
    """
    if scheme not in SCHEMES:
        raise ExportError(f"scheme {scheme!r} was asked for; expected one of {', '.join(SCHEMES)}")
    model = layers.plain(graph)
    found = layers.find(model)
    if not found:
        raise ExportError("no convolution or product with weights of the graph can compute in eight bits")
    needed = qdq.maps(model.graph, found, SCHEMES[scheme])
    # a layer that is left out can show a map that was hidden in the middle of two others
    needed |= {name for layer in found for name in qdq.maps(model.graph, [layer], SCHEMES[scheme])}
    spreads = ranges.measure(model, needed, calibration.images, calibration.modality, advance, threads)
    return Quantiser(model, found, SCHEMES[scheme], spreads)


def choose_way(
    quantiser: Quantiser,
    source: bytes,
    calibration: CalibrationImages,
    *,
    advance: Advance | None = None,
    threads: int = 1,
) -> tuple[Way, Mapping[Way, float]]:
    """Try each way to say how far eight bits reach, all layers rounded, and take the nearest to the source.

    Returns:
        The way, and what mean cosine each of them reached.
    """
    few = calibration.first(CHOOSE_ON)
    trial = Trial(source, few.images, few.modality, threads, fused=quantiser.scheme.fused)
    found: dict[Way, float] = {}
    for way in ranges.WAYS:
        found[way] = trial.cosine(quantiser.by(way).graph())
        if advance is not None:
            advance(1)
    return max(found, key=lambda way: found[way]), found
