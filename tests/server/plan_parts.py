"""What tests of plans built beside a server share: a small bundle, an engine without its plan, a build of a few lines."""

import sys
import textwrap
from pathlib import Path
from typing import Any

from server.rebuild import Missing
from tests.export.test_to_tensorrt import DIM, HEIGHT, WIDTH, network
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart

PATIENCE_S = 30.0
PART = EnginePart(runtime="tensorrt", precision="fp16", file="model.onnx")
LACKING = Missing(PART, "no plan of this graph")


def script(words: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(words)]


def small(folder: Path) -> Bundle:
    """A bundle of a small network, proven when it was exported."""
    words: dict[str, Any] = {
        "name": "small",
        "method": "none",
        "model": {"opset": 18, "dim": DIM},
        "preprocess": {"height": HEIGHT, "width": WIDTH, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "parity": {"passed": True},
        "files": {},
    }
    manifest = bundles.Manifest.model_validate(words)
    return bundles.read(bundles.write(folder / "small.zip", manifest, {"model.onnx": network()}))


def with_plans(folder: Path) -> Bundle:
    """A small bundle with two engines for TensorRT."""
    fp32 = PART.model_copy(update={"precision": "fp32"})
    path = bundles.with_engine(small(folder), fp32, {}, folder / "with.zip")
    return bundles.read(bundles.with_engine(bundles.read(path), PART, {}, path))
