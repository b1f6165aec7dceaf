"""What values the maps of an fp32 graph take, measured on images, and three ways to say how far eight bits should reach.

``minmax`` reaches all that was seen; ``percentile`` leaves out one value in ten thousand; ``entropy`` cuts where the least is
lost of the distribution (Migacz, 8-bit inference with TensorRT, GTC 2017). Knows no layers.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort

from vireid.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from vireid.errors import ExportError

Way = Literal["minmax", "percentile", "entropy"]
WAYS: tuple[Way, ...] = ("minmax", "percentile", "entropy")
PERCENTILE = 99.99
SAMPLE = 8192  # values of one map of one image that are kept
BATCH = 4
BINS = 2048
LEVELS = 128
STEP = 32  # bins between two cuts that are tried

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What was seen of one map.

    Attributes:
        low: least value.
        high: greatest value.
        sample: some of the values, evenly taken.
        mean: of each channel.
    """

    low: float
    high: float
    sample: Float32Array
    mean: Float64Array


def measure(
    model: Any,
    tensors: Collection[str],
    images: UInt8Array,
    modality: Int64Array,
    advance: Advance | None = None,
    threads: int = 1,
) -> dict[str, Spread]:
    """Run a graph on images and look at some of its maps.

    Args:
        model: with our inputs, fp32.
        tensors: which; channels are their second axis, or the last of tokens.
        images: preprocessed RGB, (N, H, W, 3).
        modality: 0 visible, 1 infrared, (N,).
        advance: told of each image that went through.
        threads: of the processor.

    Raises:
        ExportError: the graph does not run, or a map holds NaN or infinity.
    """
    wanted = sorted(tensors)
    session = _session(model, wanted, threads)
    seen: dict[str, list[Spread]] = {name: [] for name in wanted}
    for at in range(0, len(images), BATCH):
        part = slice(at, at + BATCH)
        try:
            maps = session.run(wanted, {"images": images[part], "modality": modality[part]})
        except Exception as error:  # onnxruntime's errors have no public base
            raise ExportError(f"the graph does not run on the calibration images: {error}") from error
        for name, values in zip(wanted, maps, strict=True):
            seen[name].append(_look(name, values))
        if advance is not None:
            advance(len(images[part]))
    return {name: _together(parts) for name, parts in seen.items()}


def reach(spread: Spread, way: Way) -> tuple[float, float]:
    """Say from where to where a map should be told apart."""
    if way == "minmax":
        return spread.low, spread.high
    if way == "percentile":
        low, high = np.percentile(spread.sample, [100 - PERCENTILE, PERCENTILE])
        return float(low), float(high)
    cut = _cut(np.abs(spread.sample))
    return max(spread.low, -cut), min(spread.high, cut)


def _session(model: Any, tensors: Collection[str], threads: int) -> ort.InferenceSession:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    given = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in given)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no public base
        raise ExportError(f"the graph cannot be run to calibrate it: {error}") from error


def _look(name: str, values: Float32Array) -> Spread:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ExportError(f"{name} holds NaN or infinity on a calibration image; look at the model's weights")
    flat = values.reshape(-1)
    axes = (0, 2, 3) if values.ndim == 4 else tuple(range(values.ndim - 1))
    step = max(1, flat.size // (SAMPLE * len(values)))
    # an odd step, so that columns take turns
    return Spread(low, high, flat[:: step | 1].copy(), values.mean(axis=axes, dtype=np.float64))


def _together(parts: list[Spread]) -> Spread:
    return Spread(
        min(part.low for part in parts),
        max(part.high for part in parts),
        np.concatenate([part.sample for part in parts]),
        np.mean([part.mean for part in parts], axis=0),
    )


def _cut(values: Float32Array) -> float:
    """Find where to cut absolute values so that the divergence from their distribution is least."""
    greatest = float(values.max(initial=0.0))
    if greatest == 0.0:
        return 0.0
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, greatest))
    counts[0] = counts[1]  # exact noughts after a rectifier are told apart by any grid
    losses = {bins: _divergence(counts, bins) for bins in range(LEVELS, BINS + 1, STEP)}
    return float(edges[min(losses, key=lambda bins: (losses[bins], -bins))])


def _divergence(counts: Any, bins: int) -> float:
    """Kullback and Leibler's divergence of a distribution, cut and rounded to levels, from what it was."""
    truth = counts[:bins].astype(np.float64)
    kept = truth.copy()
    truth[-1] += counts[bins:].sum()
    level = np.arange(bins) * LEVELS // bins
    filled = (kept > 0).astype(np.float64)
    total = np.bincount(level, kept, LEVELS)
    places = np.bincount(level, filled, LEVELS)
    share = np.divide(total, places, out=np.zeros(LEVELS), where=places > 0)
    rounded = share[level] * filled
    if not rounded.sum():
        return float("inf")
    p, q = truth / truth.sum(), rounded / rounded.sum()
    both = (p > 0) & (q > 0)
    lost = float(p[(p > 0) & (q <= 0)].sum())  # what is cut off into an empty place
    return float((p[both] * np.log(p[both] / q[both])).sum()) + lost
