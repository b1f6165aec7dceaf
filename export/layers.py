"""Which nodes of an fp32 graph can compute in eight bits: the trunk's convolutions and products with weights, and what carries.

A carrier (a sum, the greatest of a window) has no weights; it computes in eight bits only between layers that do. What makes
one row of an image (pooling, gates, neck, unit length) is the head and is none of these. Knows no scales.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export import folding, onnx_file
from vireid.errors import ExportError

CARRIERS = {"Add", "MaxPool", "Concat"}
ROWS = 2  # dimensions of one row an image
KERNEL = 4  # dimensions of a convolution's weights
ROUNDED = {"QuantizeLinear", "DequantizeLinear"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with weights.

    Attributes:
        name: of what it gives; unique in the graph.
        kind: its operator.
        weight: name of its weights.
        axis: of the weights' output channels.
        macs: multiplications for one image.
    """

    name: str
    kind: str
    weight: str
    axis: int
    macs: int


def plain(graph: bytes) -> Any:
    """Read an fp32 graph and fold it: batch norms and sums of constants become biases.

    Raises:
        BundleCorrupt: it is no ONNX file, or leans on what is not in it.
        ExportError: it is not fp32.
    """
    model = onnx_file.load(graph)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    rounded = any(node.op_type in ROUNDED for node in model.graph.node)
    if rounded or kinds & {TensorProto.FLOAT16, TensorProto.BFLOAT16} or TensorProto.FLOAT not in kinds:
        raise ExportError(
            "the graph is not fp32: quantise the bundle's source graph and not one made from it"
        )
    folding.fold(model.graph)
    # what is added after a batch norm that is gone by now
    folding.fold_biases(model.graph)
    folding.drop_unread(model.graph)
    return model


def find(model: Any) -> tuple[Layer, ...]:
    """Find the layers of a folded graph, in its order."""
    typed = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*typed.value_info, *typed.input, *typed.output]
    }
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return tuple(_layers(model.graph, shapes, weights))


def carriers(graph: Any, chosen: Collection[str]) -> set[str]:
    """Name what the carriers give that stand between chosen layers.

    Args:
        graph: folded.
        chosen: names of layers.
    """
    end = ends(graph)
    weights = {tensor.name for tensor in graph.initializer}
    made = {end[name] for name in chosen}
    found = []
    for node in graph.node:
        if node.op_type in CARRIERS and all(name in made and name not in weights for name in node.input):
            found.append(node)
            made.add(end[node.output[0]])
    # the last sum of a trunk is read by the head: rounding it once more would win nothing
    wanted = {name for node in graph.node if node.output[0] in chosen for name in node.input}
    kept = set()
    for node in reversed(found):
        if end[node.output[0]] in wanted:
            kept.add(node.output[0])
            wanted.update(node.input)
    return kept


def ends(graph: Any) -> dict[str, str]:
    """Say for each tensor where it ends: after the rectifier that alone reads it, or where it is."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    given = {value.name for value in graph.output}
    found = {}
    for node in graph.node:
        name = node.output[0]
        after = readers.get(name, [])
        alone = len(after) == 1 and after[0].op_type == "Relu" and name not in given
        found[name] = after[0].output[0] if alone else name
    return found


def _layers(graph: Any, shapes: dict[str, list[int]], weights: dict[str, Any]) -> Iterator[Layer]:
    for node in graph.node:
        shape = shapes.get(node.output[0], [])
        if len(node.input) < 2 or len(shape) <= ROWS:
            continue
        weight = weights.get(node.input[1])
        if weight is None or weight.data_type != TensorProto.FLOAT or node.input[0] in weights:
            continue
        size = int(np.prod(weight.dims))
        pixels = int(np.prod(shape[2:]))
        if node.op_type == "Conv" and len(weight.dims) == KERNEL and pixels > 1:
            yield Layer(node.output[0], "Conv", weight.name, 0, size * pixels)
        elif node.op_type == "MatMul" and len(weight.dims) == ROWS:
            yield Layer(node.output[0], "MatMul", weight.name, 1, size * int(np.prod(shape[1:-1])))
