"""An ONNX graph made plainer in fp32: computed weights become weights, batch norm part of its convolution, bytes numbers at once.

Whoever rounds weights or measures maps then sees those that really run. Changes graphs in place; knows no precision but fp32.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export import masks
from vireid.arrays import Float32Array

# what may be done to a weight before it is used, and makes it no larger
REARRANGING = {"Constant", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Cast"}
RANK = 4  # of an image's maps


def fold(graph: Any) -> None:
    """Do all of it: bytes, idle masks, constants, batch norms."""
    cast_first(graph)
    masks.drop_idle(graph)
    _fold_constants(graph)
    fold_biases(graph)
    _fold_batch_norms(graph)
    drop_unread(graph)


def cast_first(graph: Any) -> None:
    """Turn bytes into numbers before they are transposed: TensorRT takes bytes, and can do nothing else with them."""
    pixels = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    read = [name for node in graph.node for name in node.input]
    readers = {name: node for node in graph.node for name in node.input}
    for node in graph.node:
        cast = readers.get(node.output[0])
        moved = node.op_type == "Transpose" and node.input[0] in pixels and read.count(node.output[0]) == 1
        if not moved or cast is None or cast.op_type != "Cast":
            continue
        # the two change places: each takes over what the other was
        kept = type(node)()
        kept.CopyFrom(node)
        for place, what in ((node, cast), (cast, kept)):
            place.op_type, place.name = what.op_type, what.name
            attributes = list(what.attribute)
            del place.attribute[:]
            place.attribute.extend(attributes)


def fold_biases(graph: Any) -> None:
    """Let a convolution add what is added to its channels afterwards, to a bias it may have."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    left = []
    for node in graph.node:
        added = _bias(node, makers, known, readers) if node.op_type == "Add" else None
        if added is None:
            left.append(node)
            continue
        maker, bias = added
        made = numpy_helper.from_array(bias, f"{node.output[0]}.bias")
        graph.initializer.append(made)
        known[made.name] = made
        maker.input[2:] = [made.name]
        maker.output[0] = node.output[0]
        makers[node.output[0]] = maker
    del graph.node[:]
    graph.node.extend(left)


def _bias(
    add: Any, makers: dict[str, Any], known: dict[str, Any], readers: list[str]
) -> tuple[Any, Float32Array] | None:
    """Return the convolution before a sum and the bias with which it does the work of both; None if it is no such sum."""
    for maps, constant in (add.input, reversed(add.input)):
        maker = makers.get(maps)
        if maker is None or maker.op_type != "Conv" or readers.count(maps) != 1:
            continue
        if not {constant, *filter(None, maker.input[1:])} <= set(known):
            continue
        kernel, *before, values = (
            numpy_helper.to_array(known[name]) for name in (*filter(None, maker.input[1:]), constant)
        )
        around = [1] * (kernel.ndim - 2)
        if values.dtype == np.float32 and values.shape in ((1, len(kernel), *around), (len(kernel), *around)):
            summed: Float32Array = sum(before, values.reshape(-1))
            return maker, summed
    return None


def split_biases(graph: Any) -> None:
    """Take biases out of convolutions again: a sum of its own may have another precision."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Conv" or len(node.input) < 3 or node.input[2] not in known:
            continue
        made, bias = node.output[0], numpy_helper.to_array(known[node.input[2]])
        rank = len(known[node.input[1]].dims) if node.input[1] in known else RANK
        column = bias.reshape(1, -1, *[1] * (rank - 2))
        graph.initializer.append(numpy_helper.from_array(column, f"{made}.column"))
        del node.input[2:]
        node.output[0] = f"{made}.bare"
        nodes.append(helper.make_node("Add", [f"{made}.bare", f"{made}.column"], [made], name=f"{made}.add"))
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unread(graph)


def drop_unread(graph: Any) -> None:
    """Take out weights that no node reads."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _fold_constants(graph: Any) -> None:
    known = {tensor.name: tensor for tensor in graph.initializer}
    given = {value.name for value in graph.output}
    left = []
    for node in graph.node:
        constant = node.op_type in REARRANGING and all(name in known for name in node.input if name)
        if not constant or given & set(node.output):
            left.append(node)
            continue
        values = {name: numpy_helper.to_array(known[name]) for name in node.input if name}
        (made,) = ReferenceEvaluator(node).run(None, values)
        known[node.output[0]] = numpy_helper.from_array(np.ascontiguousarray(made), node.output[0])
        graph.initializer.append(known[node.output[0]])
    del graph.node[:]
    graph.node.extend(left)


def _fold_batch_norms(graph: Any) -> None:
    known = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    left = []
    for node in graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if maker is None or maker.op_type != "Conv" or not _can_fold(node, maker, known, readers):
            left.append(node)
            continue
        weight, bias = _folded(node, maker, known)
        names = [f"{node.output[0]}.weight", f"{node.output[0]}.bias"]
        made = [numpy_helper.from_array(*pair) for pair in zip((weight, bias), names, strict=True)]
        graph.initializer.extend(made)
        known.update({tensor.name: tensor for tensor in made})
        maker.input[1:] = names
        maker.output[0] = node.output[0]
        makers[node.output[0]] = maker
    del graph.node[:]
    graph.node.extend(left)


def _can_fold(norm: Any, convolution: Any, known: dict[str, Any], readers: list[str]) -> bool:
    weights = [*norm.input[1:], *convolution.input[1:]]
    fixed = all(name in known and known[name].data_type == TensorProto.FLOAT for name in weights if name)
    training = any(attribute.name == "training_mode" and attribute.i for attribute in norm.attribute)
    return fixed and not training and readers.count(convolution.output[0]) == 1


def _folded(norm: Any, convolution: Any, known: dict[str, Any]) -> tuple[Float32Array, Float32Array]:
    """Return weight and bias of one convolution that does the work of both, computed in double precision."""
    scale, shift, mean, variance = (
        numpy_helper.to_array(known[name]).astype(np.float64) for name in norm.input[1:5]
    )
    epsilon = next((attribute.f for attribute in norm.attribute if attribute.name == "epsilon"), 1e-5)
    weight = numpy_helper.to_array(known[convolution.input[1]]).astype(np.float64)
    has_bias = len(convolution.input) > 2 and convolution.input[2]
    bias = numpy_helper.to_array(known[convolution.input[2]]).astype(np.float64) if has_bias else 0.0
    factor = scale / np.sqrt(variance + epsilon)
    return (
        (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32),
        ((bias - mean) * factor + shift).astype(np.float32),
    )
