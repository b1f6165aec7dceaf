"""A bundle around a graph written by hand: sizes are read from the graph, all else is as plain as may be."""

from pathlib import Path
from typing import Any

import onnx

from vireid import bundle
from vireid.bundle import Manifest


def write(path: Path, graph: bytes, **words: Any) -> Path:
    """Write it, named as its file.

    Args:
        path: a .zip or a new folder.
        graph: takes ``images`` (batch, H, W, 3), gives ``embeddings`` (batch, D).
        words: of the manifest, beside or in place of the usual ones.
    """
    model = onnx.load_from_string(graph)
    (images,) = (entry for entry in model.graph.input if entry.name == "images")
    _, height, width, _ = (each.dim_value for each in images.type.tensor_type.shape.dim)
    usual = {
        "name": path.stem,
        "method": "none",
        "model": {
            "opset": model.opset_import[0].version,
            "dim": model.graph.output[0].type.tensor_type.shape.dim[1].dim_value,
        },
        "preprocess": {"height": height, "width": width, "mean": [0.5] * 3, "std": [0.2] * 3},
        "files": {},
    }
    return bundle.write(path, Manifest.model_validate(usual | words), {"model.onnx": graph})
