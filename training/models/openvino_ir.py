"""A trainable torch module read from an OpenVINO IR (``.xml`` beside ``.bin``).

Holds the reader and the module that runs the graph. Floating-point constants become named parameters,
integer constants (shapes, axes, indices) are folded when the file is read, and reshapes written for a batch
of one are carried out for any batch; an operation that would mix a batch's rows is refused. Knows nothing
of re-identification; the operations are in ``openvino_operations``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.openvino_operations import OPERATIONS
from vireid.arrays import Int64Array
from vireid.errors import TrainingError

Edit = Callable[[Tensor], Tensor]

FLOATS = {"f32": np.float32, "f16": np.float16, "f64": np.float64}
INTEGERS = {"i64": np.int64, "i32": np.int32, "i8": np.int8, "u8": np.uint8, "boolean": np.uint8}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the IR.

    Attributes:
        number: its id in the file.
        kind: the operation, for example ``Convolution``.
        name: as the file names it.
        attributes: of the operation.
        inputs: ids of the layers it reads, in the order of its ports.
        shape: of its first output, empty for a result.
    """

    number: str
    kind: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation as it is run: which tensors it reads, which integers it is given, what it makes."""

    layer: Layer
    tensors: tuple[str, ...]
    integers: tuple[int, ...]


def read_layers(path: Path) -> list[Layer]:
    """Read the layers of an IR in the order of the file, which is an order they can be run in.

    Raises:
        TrainingError: the file is missing or is no IR.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 (a weights file the user chose, beside its .bin)
    except (OSError, ElementTree.ParseError) as error:
        raise TrainingError(f"{path} cannot be read as an OpenVINO IR: {error}") from error
    layers, edges = root.find("layers"), root.find("edges")
    if layers is None or edges is None:
        raise TrainingError(f"{path} is no OpenVINO IR: it has no <layers> and <edges>")
    sources: dict[str, list[tuple[int, str]]] = {}
    for edge in edges:
        port = (int(edge.attrib["to-port"]), edge.attrib["from-layer"])
        sources.setdefault(edge.attrib["to-layer"], []).append(port)
    found = []
    for element in layers:
        data = element.find("data")
        output = element.find("output/port")
        number = element.attrib["id"]
        found.append(
            Layer(
                number=number,
                kind=element.attrib["type"],
                name=element.attrib["name"],
                attributes={} if data is None else dict(data.attrib),
                inputs=tuple(source for _, source in sorted(sources.get(number, []))),
                shape=() if output is None else tuple(int(dim.text or 0) for dim in output.findall("dim")),
            )
        )
    return found


class OpenVinoNet(nn.Module):
    """A network of an OpenVINO IR, trainable; takes float images (B, C, H, W), gives what the network gives.

    Args:
        path: the ``.xml`` file; the ``.bin`` of the same name holds the weights.
        drop_channel_reversal: leave out a first operation that reverses the input's channels, so that a
            network that takes BGR takes RGB.

    Raises:
        TrainingError: a file is missing or damaged, or the network holds what this module does not know.
    """

    def __init__(self, path: Path, *, drop_channel_reversal: bool = False) -> None:
        super().__init__()
        self.input_shape: tuple[int, ...] = ()
        self.output_shape: tuple[int, ...] = ()
        self._input = self._output = ""
        self._steps: list[Step] = []
        self._parameter_of: dict[str, str] = {}  # layer id -> parameter name
        self._known: dict[str, Int64Array] = {}  # layer id -> integers known before running
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._shared: dict[tuple[str, str], str] = {}  # place and shape in the .bin -> parameter name
        layers = read_layers(path)
        blob = _read_weights(path.with_suffix(".bin"))
        for layer in layers:
            self._add(layer, blob)
            self._shapes[layer.number] = layer.shape
        if not self._output or not self._input:
            raise TrainingError(f"{path} has no input or no output: it needs one Parameter and one Result")
        if drop_channel_reversal:
            self._drop_channel_reversal(path)
        self._last_use = {source: at for at, step in enumerate(self._steps) for source in step.tensors}

    @property
    def residual_outputs(self) -> list[tuple[str, int]]:
        """Layer id and channels of each residual block's output: ReLU of a sum of two computed maps."""
        by_number = {step.layer.number: step for step in self._steps}
        found = []
        for step in self._steps:
            source = by_number.get(step.tensors[0]) if step.layer.kind == "ReLU" else None
            if source is None or source.layer.kind != "Add" or len(step.layer.shape) != 4:
                continue
            if all(tensor in by_number for tensor in source.tensors):
                found.append((step.layer.number, step.layer.shape[1]))
        return found

    def forward(self, x: Tensor, edits: Mapping[str, Edit] | None = None) -> Tensor:
        """Run the network.

        Args:
            x: (B, C, H, W), of the network's own input size.
            edits: layer id -> function applied to that layer's output before anything reads it.
        """
        values: dict[str, Tensor] = {self._input: x}
        for at, step in enumerate(self._steps):
            tensors = [
                self._parameter(source) if source in self._parameter_of else values[source]
                for source in step.tensors
            ]
            made = OPERATIONS[step.layer.kind](step.layer.attributes, tensors, list(step.integers))
            if edits and step.layer.number in edits:
                made = edits[step.layer.number](made)
            values[step.layer.number] = made
            for source in step.tensors:
                if self._last_use[source] == at and source != self._output:
                    values.pop(source, None)
        return values[self._output]

    def _parameter(self, number: str) -> Tensor:
        return self.get_parameter(self._parameter_of[number])

    def _add(self, layer: Layer, blob: bytes) -> None:
        if layer.kind == "Parameter":
            if self._input:
                raise TrainingError(f"the network has a second input, {layer.name!r}; one is expected")
            self._input, self.input_shape = layer.number, _shape_attribute(layer)[1:]
        elif layer.kind == "Const":
            self._add_constant(layer, blob)
        elif layer.kind == "Result":
            self._output = self._output or layer.inputs[0]
            self.output_shape = self.output_shape or self._shapes[layer.inputs[0]][1:]
        elif not self._fold(layer):
            self._add_step(layer)

    def _add_constant(self, layer: Layer, blob: bytes) -> None:
        kind, shape = layer.attributes["element_type"], _shape_attribute(layer)
        start, size = int(layer.attributes["offset"]), int(layer.attributes["size"])
        dtype = FLOATS.get(kind) or INTEGERS.get(kind)
        if dtype is None:
            raise TrainingError(f"constant {layer.name!r} is of type {kind!r}, which is not understood")
        if start + size > len(blob):
            raise TrainingError(
                f"constant {layer.name!r} ends at byte {start + size} of {len(blob)}: the .bin is cut short"
            )
        count = size // np.dtype(dtype).itemsize
        array: NDArray[np.generic] = np.frombuffer(blob, dtype, count, start).reshape(shape)
        if kind in INTEGERS:
            self._known[layer.number] = array.astype(np.int64)
            return
        # layers that read the same bytes share one parameter: the gates of a block do
        place = (str(start), str(shape))
        if place not in self._shared:
            name = self._free_name(layer.name)
            _register(self, name, nn.Parameter(torch.from_numpy(array.astype(np.float32))))
            self._shared[place] = name
        self._parameter_of[layer.number] = self._shared[place]

    def _free_name(self, name: str) -> str:
        parts = [re.sub(r"\W", "_", part) or "_" for part in name.split(".")]
        clean = ".".join(parts)
        taken = set(self._shared.values())
        while clean in taken or any(other.startswith(clean + ".") for other in taken):
            clean += "_"
        return clean

    def _fold(self, layer: Layer) -> bool:
        """Compute a layer whose inputs are known integers, or pass a parameter through a conversion."""
        if layer.kind == "ShapeOf":
            self._known[layer.number] = np.array(self._shapes[layer.inputs[0]], np.int64)
            return True
        if layer.kind == "Convert" and layer.inputs[0] in self._parameter_of:
            self._parameter_of[layer.number] = self._parameter_of[layer.inputs[0]]
            return True
        if not all(source in self._known for source in layer.inputs):
            return False
        known = [self._known[source] for source in layer.inputs]
        if layer.kind == "Convert":
            self._known[layer.number] = known[0]
        elif layer.kind == "Gather":
            self._known[layer.number] = np.take(known[0], known[1], axis=int(known[2].reshape(())))
        elif layer.kind == "Concat":
            parts = [np.atleast_1d(part) for part in known]
            self._known[layer.number] = np.concatenate(parts, int(layer.attributes.get("axis", "0")))
        else:
            return False
        return True

    def _add_step(self, layer: Layer) -> None:
        if layer.kind not in OPERATIONS:
            raise TrainingError(
                f"the network holds the operation {layer.kind!r} (layer {layer.name!r}), which is not "
                f"understood; understood are {', '.join(sorted(OPERATIONS))}"
            )
        integers = [
            int(n) for source in layer.inputs if source in self._known for n in self._known[source].flat
        ]
        tensors = tuple(source for source in layer.inputs if source not in self._known)
        if layer.kind == "Reshape":
            integers = self._reshape(layer)
        self._refuse_mixing(layer, integers)
        self._steps.append(Step(layer, tensors, tuple(integers)))

    def _reshape(self, layer: Layer) -> list[int]:
        before = self._shapes[layer.inputs[0]]
        if layer.inputs[0] in self._parameter_of or before[:1] != layer.shape[:1]:
            raise TrainingError(
                f"layer {layer.name!r} reshapes {before} to {layer.shape}, which moves the batch dimension; "
                "only reshapes that keep it are understood"
            )
        return list(layer.shape)

    def _refuse_mixing(self, layer: Layer, integers: list[int]) -> None:
        rank = len(self._shapes[layer.inputs[0]])
        axes = {"MVN": integers, "ReduceMean": integers, "Gather": integers[-1:]}.get(layer.kind, [])
        if layer.kind == "Concat":
            axes = [int(layer.attributes.get("axis", "0"))]
        if any(axis % rank == 0 for axis in axes):
            raise TrainingError(
                f"layer {layer.name!r} ({layer.kind}) works along the batch, so that one image would change "
                "another's embedding; such a network cannot be used"
            )

    def _drop_channel_reversal(self, path: Path) -> None:
        first = next((step for step in self._steps if self._input in step.tensors), None)
        channels = self.input_shape[0]
        reversal = (*range(channels - 1, -1, -1), 1)
        readers = sum(self._input in step.tensors for step in self._steps)
        if first is None or first.layer.kind != "Gather" or first.integers != reversal or readers != 1:
            raise TrainingError(
                f"{path} does not begin by reversing its input's channels: it takes RGB as it is"
            )
        self._steps.remove(first)
        self._input = first.layer.number


def _read_weights(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrainingError(f"the weights {path} cannot be read: {error.strerror}") from error


def _shape_attribute(layer: Layer) -> tuple[int, ...]:
    return tuple(int(part) for part in layer.attributes.get("shape", "").split(",") if part.strip())


def _register(root: nn.Module, name: str, parameter: nn.Parameter) -> None:
    *path, leaf = name.split(".")
    module = root
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    module.register_parameter(leaf, parameter)
