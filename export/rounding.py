"""A half graph as an fp32 graph that rounds where the half one does: what it will give, told by a runtime that cannot compute so.

Sums are made in fp32 and rounded once, as tensor cores do it. An estimate and no proof: the engine itself is proven where it
runs. Knows no bundle and no runtime.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HALVES = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


def spelled_out(graph: bytes) -> bytes:
    """Return an fp32 graph that rounds every half weight, and what every half node makes, to the same half precision."""
    proto = onnx.load_from_string(graph)
    kinds = _kinds(proto)
    weights = []
    for tensor in proto.graph.initializer:
        if tensor.data_type in HALVES:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor = numpy_helper.from_array(values, tensor.name)
        weights.append(tensor)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(weights)
    nodes = [made for node in proto.graph.node for made in _rounded(node, kinds)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    del proto.graph.value_info[:]
    written: bytes = proto.SerializeToString()
    return written


def _kinds(proto: Any) -> dict[str, int]:
    typed = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in typed.value_info}


def _rounded(node: Any, kinds: dict[str, int]) -> Iterator[Any]:
    halves = [name for name in node.output if kinds.get(name) in HALVES]
    if not halves and node.op_type == "Cast" and kinds.get(node.input[0]) in HALVES:
        yield helper.make_node("Identity", node.input, node.output, name=node.name)
        return
    if node.op_type == "Cast" and halves:
        yield from _there_and_back(node.input[0], halves[0], kinds[halves[0]])
        return
    exact = type(node)()
    exact.CopyFrom(node)
    for at, name in enumerate(node.output):
        if name in halves:
            exact.output[at] = f"{name}.exact"
    yield exact
    for name in halves:
        yield from _there_and_back(f"{name}.exact", name, kinds[name])


def _there_and_back(source: str, target: str, kind: int) -> Iterator[Any]:
    yield helper.make_node("Cast", [source], [f"{target}.short"], to=kind)
    yield helper.make_node("Cast", [f"{target}.short"], [target], to=TensorProto.FLOAT)
