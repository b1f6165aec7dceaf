"""How large the values of an fp32 graph become, measured by running it. Knows no precision but the limits it is asked about."""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from export.parity import draw_probes
from vireid.arrays import Int64Array, UInt8Array
from vireid.errors import ExportError

FP16_MAX = 65504.0
FP16_LEAST = 2.0**-14  # of the numbers that have all their bits
FP16_HOLDS = f"fp16 holds {FP16_LEAST:.2g} to {FP16_MAX:.0f}"
HEADROOM = 4.0  # other pictures than those tried may go further
FIGURES = 6


def beyond(model: Any, tensors: Collection[str], limit: float = FP16_MAX / HEADROOM) -> dict[str, float]:
    """Find the tensors fp16 cannot hold: some value is too great, or all are so small that they lose their bits.

    Args:
        model: with our inputs, fp32.
        tensors: float ones to look at.
        limit: for maps, tried on pictures of every kind; weights, which do not change, are held against ``FP16_MAX``.

    Returns:
        Greatest absolute value by name.

    Raises:
        ExportError: the graph does not run.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for name in set(tensors) & set(weights):
        values = numpy_helper.to_array(weights[name])
        greatest = float(np.abs(values).max(initial=0.0))
        # a bias, whatever its shape, is added to what is greater
        is_bias = values.size == max(values.shape, default=1)
        least = 0.0 if is_bias else FP16_LEAST
        if greatest > FP16_MAX or 0 < greatest < least:
            found[name] = greatest
    measured = _greatest(model, sorted(set(tensors) - set(weights))).items()
    return found | {
        name: greatest
        for name, greatest in measured
        if not (greatest == 0 or FP16_LEAST <= greatest <= limit)
    }


def _greatest(model: Any, maps: list[str]) -> dict[str, float]:
    watched = type(model)()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    for name in maps:
        watched.graph.node.append(helper.make_node("Abs", [name], [f"{name}.abs"]))
        watched.graph.node.append(helper.make_node("ReduceMax", [f"{name}.abs"], [f"{name}.max"], keepdims=0))
        watched.graph.output.append(helper.make_tensor_value_info(f"{name}.max", TensorProto.FLOAT, []))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(
            watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        most = np.zeros(len(maps))
        for picture, modality in zip(*_pictures(model), strict=True):
            given = {"images": picture[None], "modality": modality[None]}
            most = np.maximum(most, np.array(session.run(None, given), float))
    except Exception as error:  # onnxruntime's errors have no public base
        raise ExportError(f"the graph does not run in onnxruntime: {error}") from error
    return dict(zip(maps, most.tolist(), strict=True))


def _pictures(model: Any) -> tuple[UInt8Array, Int64Array]:
    """Drawn figures, then black, white and noise in either modality."""
    shape = next(value for value in model.graph.input if value.name == "images").type.tensor_type.shape
    height, width = shape.dim[1].dim_value, shape.dim[2].dim_value
    drawn = draw_probes(height, width, count=FIGURES)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    plain = np.stack([np.zeros_like(noise), np.full_like(noise, 255), noise])
    modality: Int64Array = np.concatenate([drawn.modality, np.repeat([0, 1], len(plain))])
    return np.concatenate([drawn.images, plain, plain]), modality
