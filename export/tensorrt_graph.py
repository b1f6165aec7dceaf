"""A bundle's graph as TensorRT takes it: the same rows from the same inputs.

TensorRT takes uint8 images, but nothing may be done with them before they are numbers: a network that moves bytes first and
converts them later is refused. Here they are converted first, which is exact. Knows the ONNX file only.
"""

from onnx import TensorProto, helper

from export import onnx_file
from vireid.errors import ExportError

IMAGES = "images"
NUMBERS = "images_as_numbers"


def adapt(graph: bytes) -> bytes:
    """Convert the images to numbers before anything else is done with them.

    Args:
        graph: an ONNX file with the input ``images``.

    Raises:
        BundleCorrupt: it is no ONNX file, holds weights in other files or operators of a library's own.
        ExportError: it has no such input.
    """
    model = onnx_file.load(graph)
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
