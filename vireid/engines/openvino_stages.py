"""A graph compiled by OpenVINO for a few batch sizes, whole or in two stages of which the first is fp32.

A compiled graph that takes any number of images prepares all its layers anew whenever the number changes, which costs as much as
an image or two; one that takes a fixed number never does. So a batch is run in parts of a few sizes. And the CPU plugin has one
precision for a graph: where two are wanted, two graphs follow one another. Knows no bundle.
"""

import queue
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines import openvino_library

IMAGES, MODALITY, OUTPUT, HANDED = "images", "modality", "embeddings", "handed.on"
LEAST, MOST = 4, 16  # bounds of the largest size: beyond four images for a thread there is little to win
Wishes = Mapping[str, Any]


class Stages:
    """A graph, ready for batches of any size; several threads may call.

    Args:
        core: of OpenVINO.
        model: read; its first dimension is free.
        until: a map of it; the graph is divided there. Empty: it stays whole.
        wishes: for each stage what the runtime is told, as many as there are stages.
        threads: that one call uses.

    Raises:
        ValueError: the graph has no such map.
        RuntimeError: OpenVINO cannot compile it.
    """

    def __init__(self, core: Any, model: Any, until: str, wishes: Sequence[Wishes], threads: int) -> None:
        self._compiled = {}
        for size in sizes(threads):
            fixed = model.clone()
            shapes = {entry.get_any_name(): entry.get_partial_shape() for entry in fixed.inputs}
            fixed.reshape({name: [size, *list(shape)[1:]] for name, shape in shapes.items()})
            parts = divide(fixed, until) if until else [fixed]
            self._compiled[size] = [
                core.compile_model(part, "CPU", dict(wish)) for part, wish in zip(parts, wishes, strict=True)
            ]
        self._free: dict[int, queue.SimpleQueue[_Lane]] = {
            size: queue.SimpleQueue() for size in self._compiled
        }

    @property
    def compiled(self) -> list[Any]:
        """The compiled stages, for one of the sizes."""
        return self._compiled[1]

    def run(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed a batch.

        Args:
            images: (B, H, W, 3), B >= 1.
            modality: (B,).

        Returns:
            Rows, (B, D).

        Raises:
            RuntimeError: OpenVINO failed.
        """
        rows = [
            self._part(images[part], modality[part]) for part in parts(len(images), tuple(self._compiled))
        ]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _part(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        free = self._free[len(images)]
        try:
            lane = free.get_nowait()
        except queue.Empty:
            lane = _Lane(self._compiled[len(images)])
        rows = lane.run(images, modality)
        free.put(lane)
        return rows


class _Lane:
    """A request of each stage; one caller at a time."""

    def __init__(self, compiled: Sequence[Any]) -> None:
        # an input that nothing reads is dropped: a network of one stream treats both modalities alike
        self._stages = [
            (stage.create_infer_request(), [entry.get_any_name() for entry in stage.inputs])
            for stage in compiled
        ]

    def run(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        given: dict[str, Any] = {
            IMAGES: np.ascontiguousarray(images),
            MODALITY: np.ascontiguousarray(modality),
        }
        for request, takes in self._stages:
            found = request.infer(
                {name: given[name] for name in takes}, share_inputs=True, share_outputs=True
            )
            given[HANDED] = found[0]
        rows: Float32Array = np.array(given[HANDED], np.float32)  # the request's own memory is used again
        return rows


def sizes(threads: int) -> tuple[int, ...]:
    """Name the batch sizes that are prepared for so many threads, the largest first."""
    most = min(max(LEAST, threads), MOST)
    return tuple(1 << power for power in reversed(range(most.bit_length())))


def parts(count: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Divide a batch into parts of the sizes, which fall to 1."""
    at = 0
    for size in sizes:
        while count - at >= size:
            yield slice(at, at + size)
            at += size


def divide(model: Any, until: str) -> tuple[Any, Any]:
    """Divide a graph at a map that all of the images goes through.

    Args:
        model: of fixed shapes; it is changed.
        until: name of the map.

    Returns:
        What leads to the map, and what takes it on.

    Raises:
        ValueError: there is no such map, or something after it needs more of the images than it.
    """
    openvino = openvino_library.load()
    from openvino import opset13, passes

    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())
    folding.run_passes(model)  # how many images there are is no longer asked of them
    rest = model.clone()
    end, start = _output(model, until), _output(rest, until)
    first = openvino.Model([end], [entry for entry in model.get_parameters() if _reaches(entry, [end])])
    handed = opset13.parameter(start.get_shape(), np.float32, name=HANDED)
    handed.output(0).get_tensor().set_names({HANDED})
    for reader in list(start.get_target_inputs()):
        reader.replace_source_output(handed.output(0))
    ends = [result.output(0) for result in rest.get_results()]
    left = [entry for entry in rest.get_parameters() if _reaches(entry, ends)]
    if any(IMAGES in entry.output(0).get_names() for entry in left):
        raise ValueError(f"{until} does not hold all that comes of the images")
    return first, openvino.Model(rest.get_results(), [*left, handed])


def _output(model: Any, name: str) -> Any:
    for node in model.get_ordered_ops():
        for output in node.outputs():
            if name in output.get_names():
                return output
    raise ValueError(f"the graph has no map {name!r}")


def _reaches(parameter: Any, ends: Sequence[Any]) -> bool:
    """Whether some of the ends is made of a parameter."""
    wanted, seen = parameter.get_name(), set()
    waiting = [end.get_node() for end in ends]
    while waiting:
        node = waiting.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        waiting += [entry.get_source_output().get_node() for entry in node.inputs()]
    return wanted in seen
