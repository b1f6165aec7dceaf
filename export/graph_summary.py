"""What an ONNX graph is: inputs, outputs, operators, and in which precision its weights are. Knows no bundle and no runtime."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from export import onnx_file

WORDS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
# numbers that say where and how much, and are no weights
BOOKKEEPING = {TensorProto.INT64, TensorProto.BOOL}


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """A graph in a few words.

    Attributes:
        opset: of ONNX's own operators.
        inputs: name and type with shape, in words.
        outputs: the same.
        operators: how often each stands there, the most frequent first.
        weights: numbers held, by precision, the most first.
    """

    opset: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    operators: Mapping[str, int]
    weights: Mapping[str, int]

    def lines(self) -> Iterator[tuple[str, str]]:
        """Tell it in lines, each with a title."""
        yield "opset", str(self.opset)
        yield "takes", ", ".join(f"{name} {kind}" for name, kind in self.inputs.items())
        yield "gives", ", ".join(f"{name} {kind}" for name, kind in self.outputs.items())
        total = sum(self.weights.values())
        shares = [f"{100 * count / total:.1f} % {kind}" for kind, count in self.weights.items()]
        yield "weights", f"{total / 1e6:.2f} million: {', '.join(shares)}" if total else "none"
        yield "operators", ", ".join(f"{count} {name}" for name, count in self.operators.items())


def summarise(graph: bytes, where: str) -> GraphSummary:
    """Look at a graph.

    Args:
        graph: an ONNX file.
        where: its name, for errors.

    Raises:
        BundleCorrupt: it is no ONNX file, keeps weights in other files, or has operators that are not ONNX's own.
    """
    model = onnx_file.load(graph, where)
    nodes = list(_nodes(model.graph))
    tensors = [*model.graph.initializer, *(tensor for node in nodes for tensor in _tensors(node))]
    weights: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.data_type not in BOOKKEEPING:
            weights[_word(tensor.data_type)] += int(np.prod(tensor.dims))
    return GraphSummary(
        opset=next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0),
        inputs={value.name: _kind(value) for value in model.graph.input},
        outputs={value.name: _kind(value) for value in model.graph.output},
        operators=dict(Counter(node.op_type for node in nodes).most_common()),
        weights=dict(weights.most_common()),
    )


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _nodes(inner)


def _tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from attribute.tensors
        if attribute.HasField("t"):
            yield attribute.t
        for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            yield from inner.initializer


def _kind(value: Any) -> str:
    kind = value.type.tensor_type
    shape = [dim.dim_param or str(dim.dim_value) for dim in kind.shape.dim]
    return f"{_word(kind.elem_type)} ({', '.join(shape)})"


def _word(kind: int) -> str:
    name = TensorProto.DataType.Name(kind).lower()
    return WORDS.get(name, name)
