"""A bundle's graph as TensorRT takes it: the same rows from the same inputs.

TensorRT takes uint8 images, but nothing may be done with them before they are numbers: a network that moves bytes first and
converts them later is refused. Here they are converted first, which is exact. Knows the ONNX file only.
"""

import onnx
from onnx import TensorProto, helper

from vireid.errors import ExportError

IMAGES = "images"
NUMBERS = "images_as_numbers"


def adapt(graph: bytes) -> bytes:
    """Convert the images to numbers before anything else is done with them.

    Args:
        graph: an ONNX file with the input ``images``.

    Raises:
        ExportError: it is no ONNX file, holds weights in other files or operators of a library's own, or has no such input.
    """
    try:
        model = onnx.load_from_string(graph)
    except Exception as error:  # noqa: BLE001 - protobuf's errors have no public base
        raise ExportError(f"the graph is no ONNX file ({error}); export the bundle again") from None
    _refuse_strange(model)
    images = [entry for entry in model.graph.input if entry.name == IMAGES]
    if len(images) != 1:
        raise ExportError(
            f"the graph takes {[entry.name for entry in model.graph.input]}; expected one input named {IMAGES}"
        )
    if images[0].type.tensor_type.elem_type != TensorProto.UINT8:
        return graph
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == IMAGES:
                node.input[place] = NUMBERS
    model.graph.node.insert(0, helper.make_node("Cast", [IMAGES], [NUMBERS], to=TensorProto.FLOAT))
    adapted: bytes = model.SerializeToString()
    return adapted


def _refuse_strange(model: onnx.ModelProto) -> None:
    outside = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data
    ]
    if outside:
        raise ExportError(
            f"the graph keeps weights in other files ({outside[0]}); export it as one file (external_data=False)"
        )
    if strange := sorted({node.op_type for node in model.graph.node if node.domain not in {"", "ai.onnx"}}):
        raise ExportError(
            f"the graph uses operators that are not ONNX's own ({', '.join(strange)}); TensorRT knows none of them"
        )
