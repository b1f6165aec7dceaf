"""Attention that hides nothing, said plainly: masks that are all true, and guards against rows that are hidden whole, go.

What torch writes of them keeps engines from seeing attention for what it is. Changes graphs in place; knows no precision.
"""

from typing import Any

import numpy as np
from onnx import numpy_helper


def drop_idle(graph: Any) -> None:
    """Take out masks that hide nothing, then guards of a softmax over products, which can have no hidden row."""
    makers = {name: node for node in graph.node for name in node.output}
    known = {tensor.name: tensor for tensor in graph.initializer}
    given = {value.name for value in graph.output}
    instead: dict[str, str] = {}
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = instead.get(name, name)
        if given.isdisjoint(node.output):
            kept = _unmasked(node, makers, known) or _unguarded(node, makers)
            if kept:
                instead[node.output[0]] = kept
    _drop_unread(graph, given)


def _unmasked(node: Any, makers: dict[str, Any], known: dict[str, Any]) -> str:
    """Name what a sum adds to where the rest is a mask that adds 0 everywhere."""
    if node.op_type != "Add":
        return ""
    for added, kept in (node.input, reversed(node.input)):
        mask = makers.get(added)
        # products of queries and keys have a row for each token, so that the sum is no larger than they are
        if (
            mask is not None
            and mask.op_type == "Where"
            and _is_all(mask.input[0], 1, makers, known)
            and _is_all(mask.input[1], 0, makers, known)
            and _kind(kept, makers) == "MatMul"
        ):
            return str(kept)
    return ""


def _unguarded(node: Any, makers: dict[str, Any]) -> str:
    """Name the softmax of products that a guard replaces by 0 where it is NaN."""
    if node.op_type != "Where" or _kind(node.input[0], makers) != "IsNaN":
        return ""
    softmax = node.input[2]
    same = makers[node.input[0]].input[0] == softmax and _kind(softmax, makers) == "Softmax"
    return str(softmax) if same and _kind(makers[softmax].input[0], makers) == "MatMul" else ""


def _is_all(name: str, value: int, makers: dict[str, Any], known: dict[str, Any]) -> bool:
    while _kind(name, makers) == "Expand":
        name = makers[name].input[0]
    return name in known and bool(np.all(numpy_helper.to_array(known[name]) == value))


def _kind(name: str, makers: dict[str, Any]) -> str:
    return str(makers[name].op_type) if name in makers else ""


def _drop_unread(graph: Any, given: set[str]) -> None:
    left: list[Any] = []
    read = set(given)
    for node in reversed(graph.node):
        if not read.isdisjoint(node.output):
            read.update(node.input)
            left.insert(0, node)
    del graph.node[:]
    graph.node.extend(left)
