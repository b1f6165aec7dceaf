"""A tiny bundle to write, read and damage."""

from pathlib import Path
from typing import Any

from vireid import bundle

MODEL = bytes(range(256)) * 3


def manifest(**changes: Any) -> bundle.Manifest:
    words: dict[str, Any] = {
        "name": "tiny",
        "method": "none",
        "model": {"opset": 18, "dim": 4},
        "preprocess": {"height": 32, "width": 16, "mean": [0.5, 0.25, 0.1], "std": [0.2, 0.3, 1e-05]},
        "files": {},
        "provenance": {"recipe": {"seed": 1, "é": [True, None, 0.1]}},
    }
    return bundle.Manifest.model_validate(words | changes)


def written(place: Path, **changes: Any) -> Path:
    return bundle.write(place, manifest(**changes), {"model.onnx": MODEL, "notes.txt": b"hello"})


def meaning(read: bundle.Bundle) -> tuple[bundle.Manifest, dict[str, bytes]]:
    return read.manifest, dict(read.contents)
