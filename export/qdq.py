"""An fp32 graph in which chosen layers compute in eight bits, said by QuantizeLinear and DequantizeLinear around them.

Two runtimes want that said in two ways. ONNX Runtime fuses a layer only if what it gives is rounded too, its bias an int32;
TensorRT wants inputs and weights rounded, evenly around nought, and a float bias. Works on folded graphs and given reaches.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from export import grids, powers
from export.grids import Grid, Kind
from export.layers import Layer, carriers, ends
from vireid.arrays import Float32Array, Float64Array
from vireid.errors import ExportError

FP8_OPSET = 19  # the first that knows E4M3


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a runtime wants its eight bits.

    Attributes:
        maps: numbers of the maps.
        weights: numbers of the weights.
        fused: what a convolution gives is rounded as well and its bias is an int32.
    """

    maps: Kind
    weights: Kind
    fused: bool


SCHEMES: dict[str, Scheme] = {
    "onnxruntime-int8": Scheme("uint8", "int8", fused=True),
    "tensorrt-int8": Scheme("int8", "int8", fused=False),
    "tensorrt-fp8": Scheme("fp8", "fp8", fused=False),
}


def maps(graph: Any, layers: Collection[Layer], scheme: Scheme) -> set[str]:
    """Name the maps that are rounded if these layers compute in eight bits."""
    return _Plan(graph, layers, scheme).rounded


def insert(
    model: Any,
    layers: Collection[Layer],
    reaches: Mapping[str, tuple[float, float]],
    scheme: Scheme,
    means: Mapping[str, Float64Array] | None = None,
) -> bytes:
    """Let layers compute in eight bits.

    Args:
        model: folded, fp32; it is not changed.
        layers: which; the others stay fp32.
        reaches: of every map that ``maps`` names.
        scheme: of the runtime.
        means: of the channels of the layers' inputs: biases then make up for what rounding weights shifts on average.

    Raises:
        ExportError: the graph that was made is not valid ONNX.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    opset = next(entry.version for entry in made.opset_import if not entry.domain)
    if scheme.weights == "fp8" and opset < FP8_OPSET:
        made = version_converter.convert_version(made, FP8_OPSET)
    plan = _Plan(made.graph, layers, scheme)
    found = {name: grids.of_map(*reaches[name], scheme.maps) for name in sorted(plan.rounded)}
    _round_maps(made.graph, plan, found)
    nodes = {node.output[0]: node for node in made.graph.node}
    restoring: list[Any] = []
    for layer in layers:
        restoring += _round_weights(made.graph, nodes[layer.name], layer, scheme, found, means or {})
    restoring += made.graph.node
    del made.graph.node[:]
    made.graph.node.extend(restoring)
    if scheme.fused:
        powers.by_logarithms(made.graph)
    read = {name for node in made.graph.node for name in node.input}
    kept = [tensor for tensor in made.graph.initializer if tensor.name in read]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    try:
        onnx.checker.check_model(made, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the quantised graph is not valid ONNX: {error}") from error
    graph: bytes = made.SerializeToString()
    return graph


class _Plan:
    """Which maps are rounded and who reads them so.

    Args:
        graph: folded.
        layers: in eight bits.
        scheme: of the runtime.
    """

    def __init__(self, graph: Any, layers: Collection[Layer], scheme: Scheme) -> None:
        self.nodes = {node.output[0]: node for node in graph.node}
        end, names = ends(graph), {layer.name for layer in layers}
        between = carriers(graph, names) if scheme.fused else set()
        # what is rounded by whoever makes it is read rounded by all
        self.made = {
            end[name] for name in names | between if scheme.fused and self.nodes[name].op_type != "MatMul"
        }
        self.eager = names | between
        self.rounded = set(self.made)
        self.source = {layer.name: self.nodes[layer.name].input[0] for layer in layers}
        self.rounded |= set(self.source.values())
        for name in between:
            self.rounded |= set(self.nodes[name].input)
        # a sum takes what is there in eight bits already, so that TensorRT can fuse it
        self.sums = set() if scheme.fused else {"Add"}

    def reads_rounded(self, node: Any, name: str) -> bool:
        """Whether a node takes a rounded map as it was rounded."""
        return name in self.made or node.output[0] in self.eager or node.op_type in self.sums


def _round_maps(graph: Any, plan: _Plan, found: Mapping[str, Grid]) -> None:
    nodes: list[Any] = []
    given = {value.name for value in graph.input}
    for name in sorted(given & set(found)):
        nodes += _pair(graph, name, found[name])
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name in found and plan.reads_rounded(node, name):
                node.input[at] = f"{name}.restored"
        nodes.append(node)
        for name in node.output:
            if name in found:
                nodes += _pair(graph, name, found[name])
    del graph.node[:]
    graph.node.extend(nodes)


def _pair(graph: Any, name: str, grid: Grid) -> Iterator[Any]:
    """Round a map and restore it."""
    scale, zero = f"{name}.scale", f"{name}.zero"
    graph.initializer.append(numpy_helper.from_array(np.array(grid.scale, np.float32), scale))
    graph.initializer.append(
        numpy_helper.from_array(np.array(grid.zero).astype(grids.DTYPES[grid.kind]), zero)
    )
    yield helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}.rounded"], name=f"round.{name}")
    yield helper.make_node(
        "DequantizeLinear", [f"{name}.rounded", scale, zero], [f"{name}.restored"], name=f"restore.{name}"
    )


def _round_weights(
    graph: Any,
    node: Any,
    layer: Layer,
    scheme: Scheme,
    found: Mapping[str, Grid],
    means: Mapping[str, Float64Array],
) -> Iterator[Any]:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    source = node.input[0].removesuffix(".restored")
    weight = numpy_helper.to_array(weights[layer.weight]).astype(np.float32)
    own = len(node.input) > 2 and bool(node.input[2])
    bias = numpy_helper.to_array(weights[node.input[2]]).astype(np.float64) if own else None
    whole = scheme.fused and layer.kind == "Conv"
    least = None
    if whole and bias is not None:
        least = (np.abs(bias) / (found[source].scale * grids.BIAS_MAX)).astype(np.float32)
    scale = grids.scales(weight, layer.axis, scheme.weights, least)
    steps = grids.rounded(weight, scale, layer.axis, scheme.weights)
    if layer.kind == "Conv" and source in means:
        lost = weight - grids.restored(steps, scale, layer.axis)
        shift = _shift(lost, means[source])
        bias = shift if bias is None else bias + shift
    node.input[1] = f"{layer.name}.weight.restored"
    yield _constant(graph, node.input[1], steps, scale, layer.axis)
    if bias is None:
        return
    del node.input[2:]
    node.input.append(f"{layer.name}.bias.restored")
    if whole:
        grid = (scale.astype(np.float64) * found[source].scale).astype(np.float32)
        yield _constant(graph, node.input[2], np.rint(bias / grid).astype(np.int32), grid, 0)
    else:
        graph.initializer.append(numpy_helper.from_array(bias.astype(np.float32), node.input[2]))


def _shift(lost: Float32Array, mean: Float64Array) -> Float64Array:
    """Return what each channel of a convolution lacks on average, (channels,)."""
    summed = lost.astype(np.float64).sum(axis=(2, 3))
    groups = len(mean) // summed.shape[1]
    parts = np.split(summed, groups)
    inputs = np.split(mean, groups)
    found: Float64Array = np.concatenate([part @ one for part, one in zip(parts, inputs, strict=True)])
    return found


def _constant(graph: Any, name: str, values: Any, scale: Float32Array, axis: int) -> Any:
    """Store rounded numbers, and return the node that restores them with a scale for each channel."""
    zero = np.zeros(len(scale), values.dtype)
    for part, tensor in (("rounded", values), ("scale", scale), ("zero", zero)):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(tensor), f"{name}.{part}"))
    inputs = [f"{name}.rounded", f"{name}.scale", f"{name}.zero"]
    return helper.make_node("DequantizeLinear", inputs, [name], name=f"restore.{name}", axis=axis)
