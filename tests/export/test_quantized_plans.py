"""TensorRT-RTX really parses and builds what eight bits for TensorRT become, with every layer in them or some left out."""

import pytest

from export import quantize, to_tensorrt
from export.calibration_images import CalibrationImages
from export.to_tensorrt import Order
from tests.export import small_graph
from vireid.engines import tensorrt_library
from vireid.engines.tensorrt_library import Library


@pytest.fixture(scope="module")
def library() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")
    return tensorrt_library.load("tensorrt_rtx")


@pytest.mark.parametrize("scheme", ["tensorrt-int8", "tensorrt-fp8"])
@pytest.mark.parametrize("left", [frozenset(), frozenset({"stem", "four"})])
def test_tensorrt_builds_it(library: Library, scheme: str, left: frozenset[str]) -> None:
    images, modality, _ = small_graph.pictures(people=4, each=1)
    quantiser = quantize.prepare(small_graph.build(), scheme, CalibrationImages(images, modality))
    graph = quantiser.graph([layer for layer in quantiser.layers if layer.name not in left])
    order = Order(small_graph.HEIGHT, small_graph.WIDTH)
    assert len(to_tensorrt.build(library, graph, order).plan) > 10_000
