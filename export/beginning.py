"""Where a graph's beginning may end, if its beginning is to have another precision than the rest. Knows no runtime.

What is rounded early is made larger by all that divides by a deviation after it, so that it may be enough to keep a beginning
in fp32. A graph can be divided where a single map holds all that comes of the images.
"""

from dataclasses import dataclass
from typing import Any

import onnx

from export import layers

MOST = 0.5  # of the multiplications: with more of them in fp32 there is little to win


@dataclass(frozen=True, slots=True)
class Cut:
    """A place at which a graph can be divided.

    Attributes:
        name: of the map that is handed on.
        share: of the multiplications that are done by then.
    """

    name: str
    share: float


def cuts(graph: bytes, most: float = MOST) -> tuple[Cut, ...]:
    """List the places, in the order of the graph; of those with the same multiplications before them the last.

    Args:
        graph: fp32.
        most: of the multiplications that may be done by then.

    Raises:
        BundleCorrupt: it is no ONNX file, or leans on what is not in it.
        ExportError: it is not fp32.
    """
    folded = layers.plain(graph)
    # folding may leave out a map, and the graph itself is what is divided
    known = {name for node in onnx.load_from_string(graph).graph.node for name in node.output}
    macs = {layer.name: layer.macs for layer in layers.find(folded)}
    every = sum(macs.values())
    done = 0
    found: dict[int, Cut] = {}
    for node, alone in _walk(folded.graph):
        done += macs.get(node.output[0], 0)
        if alone and node.output[0] in known and 0 < done <= most * every:
            found[done] = Cut(node.output[0], done / every)
    return tuple(found[key] for key in sorted(found))


def _walk(graph: Any) -> list[tuple[Any, bool]]:
    """List the nodes that compute from the images, and whether each then alone holds what is still to be read."""
    last = {name: at for at, node in enumerate(graph.node) for name in node.input}
    alive = {value.name for value in graph.input if value.name != "modality"}
    found = []
    for at, node in enumerate(graph.node):
        # how many images there are is no map of them
        if alive.isdisjoint(node.input) or node.op_type == "Shape":
            continue
        alive = {name for name in (*alive, *node.output) if last.get(name, -1) > at}
        found.append((node, alive == {node.output[0]}))
    return found
