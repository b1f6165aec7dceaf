"""An ONNX file as a model that can be changed: whole and of ONNX's own operators, or refused. Knows no bundle."""

from typing import Any

import onnx

from vireid.engines import onnx_outside
from vireid.errors import BundleCorrupt


def load(graph: bytes, where: str = "the graph") -> Any:
    """Read an ONNX file; none that leans on others, which would be looked for in the working directory.

    Args:
        graph: the file.
        where: what to call it.

    Raises:
        BundleCorrupt: it is no ONNX file, keeps weights in other files, or takes operators that are not ONNX's own.
    """
    onnx_outside.refuse(graph, where)
    try:
        return onnx.load_from_string(graph)
    except Exception as error:  # protobuf's errors have no public base that onnx names
        raise BundleCorrupt(f"{where} is no ONNX file ({error}); export the bundle again") from error
