"""The fp32 graph with its trunk in half precision: fp16 or bf16.

Convolutions and the matrix products of a transformer's tokens, and what is cheap between them, become half; what prepares the
pixels, normalises, attends or makes one row of an image (pooling, neck, centring, unit length) stays fp32, and so do inputs and
outputs. Nothing that half precision cannot hold is made half. Works on the graph alone: knows no torch and no bundle.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from export import folding, magnitude, onnx_file
from vireid.errors import ExportError

Half = Literal["fp16", "bf16"]

BF16_OPSET = 22  # the first that lets a convolution be bfloat16
TYPES = {
    "fp16": (TensorProto.FLOAT16, np.dtype(np.float16)),
    "bf16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
}
# of maps and tokens they are what costs; of single rows they belong to the head
ANCHORS = {"Conv", "MatMul", "Gemm"}
# between anchors: what rounds each value on its own, moves it, or takes the greatest
BETWEEN = {
    *(
        "Add",
        "Sub",
        "Mul",
        "Relu",
        "PRelu",
        "LeakyRelu",
        "Clip",
        "Sigmoid",
        "Tanh",
        "Erf",
        "Gelu",
        "HardSwish",
    ),
    *("Identity", "Where", "MaxPool", "Concat", "Slice", "Split", "Pad"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"),
}
# after the last anchor: what ends a block, so that its convolution's map is not written twice
ENDING = {
    "Add",
    "Relu",
    "PRelu",
    "LeakyRelu",
    "Identity",
    "Where",
    "MaxPool",
    "Concat",
    "Slice",
    "Transpose",
    "Reshape",
}
ROWS = 2  # dimensions of one row an image

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Halved:
    """What became of a graph.

    Attributes:
        graph: the ONNX file.
        half: how many convolutions and products compute in half precision.
        full: how many of them stay fp32, those of the head among them.
        kept: what stays fp32 because half precision cannot hold its values, and the greatest of them.
    """

    graph: bytes
    half: int
    full: int
    kept: Mapping[str, float]


def halve(graph: bytes, precision: Half, *, exact: bool = False) -> Halved:
    """Turn an fp32 graph into one whose trunk is half.

    Args:
        graph: images and modality in, unit rows out, as ``to_onnx`` makes it.
        precision: ``fp16``, or ``bf16``, for which an older graph is brought to opset 22.
        exact: keep sums fp32, of maps and of biases, which are the same error at every place of a map; nearer, and slower.

    Raises:
        BundleCorrupt: the graph is no ONNX file, or leans on what is not in it.
        ExportError: the graph is not fp32, its weights are not finite, or nothing of it can be half.
    """
    if precision not in TYPES:
        raise ExportError(f"precision {precision!r} was asked for; a graph becomes {' or '.join(TYPES)}")
    proto = _plain(graph, precision)
    if exact:
        folding.split_biases(proto.graph)
    kept = _too_large(proto, exact=exact) if precision == "fp16" else {}
    for name, value in kept.items():
        log.warning("%s stays fp32: it reaches %.3g; %s", name, value, magnitude.FP16_HOLDS)
    plan = _Plan(proto, kept, exact=exact)
    if not any(_is_anchor(node, plan.ranks) for node in plan.half):
        why = f"; {', '.join(kept)} are beyond it, take bf16" if kept else ""
        raise ExportError(f"no convolution or product of the graph can be {precision}{why}")
    _rewrite(proto.graph, plan, precision)
    folding.drop_unread(proto.graph)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the {precision} graph is not valid ONNX: {error}") from error
    heavy = [node.output[0] for node in proto.graph.node if node.op_type in ANCHORS]
    count = len(plan.tensors.intersection(heavy))
    return Halved(proto.SerializeToString(), count, len(heavy) - count, kept)


def _plain(graph: bytes, precision: Half) -> Any:
    """Read a graph, fold it, and bring it to the opset its precision needs."""
    proto = onnx_file.load(graph)
    found = {tensor.data_type for tensor in proto.graph.initializer}
    quantised = any(node.op_type in {"QuantizeLinear", "DequantizeLinear"} for node in proto.graph.node)
    if quantised or found & {TensorProto.FLOAT16, TensorProto.BFLOAT16} or TensorProto.FLOAT not in found:
        raise ExportError("the graph is not fp32: halve the bundle's source graph and not one made from it")
    folding.fold(proto.graph)
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise ExportError(
                f"the weights {tensor.name} hold NaN or infinity; train or export the model again"
            )
    opset = next(entry.version for entry in proto.opset_import if not entry.domain)
    if precision == "bf16" and opset < BF16_OPSET:
        proto = version_converter.convert_version(proto, BF16_OPSET)
    return proto


def _too_large(proto: Any, *, exact: bool) -> dict[str, float]:
    """Find the tensors fp16 cannot hold, of all that would be half."""
    plan = _Plan(proto, (), exact=exact)
    tensors = {name for node in plan.half for name in [*node.input, *node.output] if name in plan.floats}
    return magnitude.beyond(proto, tensors)


class _Plan:
    """Which nodes become half.

    Args:
        model: folded.
        kept: tensors that may not be half.
        exact: sums stay fp32.
    """

    def __init__(self, model: Any, kept: Collection[str], *, exact: bool) -> None:
        graph, typed = model.graph, onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        values = [*typed.value_info, *typed.input, *typed.output]
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
        self.floats = {
            value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        weights = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self.floats |= weights
        self._exact = exact
        leading = _leading(graph, self.ranks)
        self.half: list[Any] = []
        self.tensors: set[str] = set()
        for node in graph.node:
            touched = [name for name in [*node.input, *node.output] if name in self.floats]
            if kept and not set(kept).isdisjoint(touched):
                continue
            if _is_anchor(node, self.ranks) or self._between(node, leading):
                self.half.append(node)
                self.tensors.update(name for name in node.output if name in self.floats)

    def _between(self, node: Any, leading: set[str]) -> bool:
        if self._exact and node.op_type in {"Add", "Sub"}:
            return False
        follows = not self.tensors.isdisjoint(node.input)
        allowed = BETWEEN if leading.intersection(node.output) else ENDING
        maps = all(self.ranks.get(name, 0) > ROWS for name in node.output)
        return follows and node.op_type in allowed and maps


def _is_anchor(node: Any, ranks: Mapping[str, int]) -> bool:
    return node.op_type in ANCHORS and ranks.get(node.output[0], 0) > ROWS


def _leading(graph: Any, ranks: Mapping[str, int]) -> set[str]:
    """Name the tensors from which a convolution or a product of tokens is still to come."""
    found: set[str] = set()
    for node in reversed(graph.node):
        if _is_anchor(node, ranks) or not found.isdisjoint(node.output):
            found.update(node.input)
    return found


def _rewrite(graph: Any, plan: _Plan, precision: Half) -> None:
    """Give the planned nodes half weights, and put a cast wherever the precision changes."""
    kind, dtype = TYPES[precision]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    cast: set[str] = set()
    nodes: list[Any] = []

    def changed(name: str, to: int, suffix: str) -> Iterator[Any]:
        made = f"{name}.{suffix}"
        if made not in cast:
            cast.add(made)
            if name in weights:
                values = numpy_helper.to_array(weights[name]).astype(dtype)
                graph.initializer.append(numpy_helper.from_array(values, made))
            else:
                yield helper.make_node("Cast", [name], [made], name=f"cast.{made}", to=to)

    for node in graph.node:
        is_half = not plan.tensors.isdisjoint(node.output)
        for at, name in enumerate(node.input):
            if is_half and name in plan.floats and name not in plan.tensors:
                nodes += changed(name, kind, precision)
                node.input[at] = f"{name}.{precision}"
            elif not is_half and name in plan.tensors:
                nodes += changed(name, TensorProto.FLOAT, "fp32")
                node.input[at] = f"{name}.fp32"
        nodes.append(node)
    for value in graph.output:
        if value.name in plan.tensors:
            raise ExportError(f"the output {value.name} would be {precision}; unit rows (B, D) are expected")
    del graph.value_info[:]
    del graph.node[:]
    graph.node.extend(nodes)
