"""A graph divided, and batches divided: the same rows, each stage in its precision, and what cannot be divided is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vireid import bundle
from vireid.bundle import EnginePart
from vireid.engines import open_engine, open_part, openvino_stages
from vireid.engines import openvino as engine
from vireid.errors import BundleCorrupt

HAS_BF16 = "BF16" in engine.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")


def begun(until: str) -> EnginePart:
    return EnginePart(runtime="openvino", precision="bf16", file="model.onnx", fp32_until=until)


@pytest.mark.parametrize(
    ("threads", "expected"), [(1, (4, 2, 1)), (4, (4, 2, 1)), (8, (8, 4, 2, 1)), (99, (16, 8, 4, 2, 1))]
)
def test_sizes_give_each_thread_an_image(threads: int, expected: tuple[int, ...]) -> None:
    assert openvino_stages.sizes(threads) == expected


@pytest.mark.parametrize("count", [*range(1, 10), 31])
def test_parts_cover_a_batch_once_and_in_order(count: int) -> None:
    sizes = (4, 2, 1)
    found = list(openvino_stages.parts(count, sizes))
    assert [at for part in found for at in range(part.start, part.stop)] == list(range(count))
    assert {part.stop - part.start for part in found} <= set(sizes)


@pytest.mark.parametrize("until", ["light", "features", "projected", "rows"])
def test_two_stages_give_the_rows_of_one(tiny: bundle.Bundle, until: str) -> None:
    """Divided anywhere, by the same arithmetic: the modality may be read by either stage."""
    core = engine.core()
    wish = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = core.read_model(tiny.file("model.onnx"), b"")
    stages = openvino_stages.Stages(core, model, until, [wish, wish], 1)
    source = open_engine(tiny, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (7, *source.input_size, 3), dtype=np.uint8)
    modality = np.arange(7) % 2
    np.testing.assert_allclose(stages.run(images, modality), source.embed(images, modality), atol=1e-5)


@needs_bf16
def test_each_stage_is_in_its_own_precision() -> None:
    default = bundle.read(bundle.default_path())
    opened = open_part(default, begun("relu_16"))

    def kinds(stage: Any) -> set[str]:
        told = [layer.get_rt_info() for layer in stage.get_runtime_model().get_ops()]
        return {info["runtimePrecision"].value for info in told if info["layerType"].value == "Convolution"}

    first, second = opened._stages.compiled
    assert kinds(first) == {"f32"}
    assert kinds(second) == {"bf16"}
    assert opened.info.precision == "bf16"


@needs_bf16
@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("nowhere", "the graph has no map 'nowhere'"),
        ("shift", "shift does not hold all that comes of the images"),
    ],
)
def test_a_graph_that_cannot_be_divided_there(tiny: bundle.Bundle, until: str, words: str) -> None:
    with pytest.raises(BundleCorrupt, match=words):
        open_part(tiny, begun(until))


@pytest.mark.slow
def test_eight_bits_around_a_first_layer_in_fp32() -> None:
    """Compiled for any number of images at once, OpenVINO 2026.4 gives rows of cosine 0.6 here."""
    from export import quantize
    from export.calibration_images import CalibrationImages

    default = bundle.read(bundle.default_path())
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (8, 16, 8, 3))
    images = coarse.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)
    modality = np.arange(8) % 2
    quantiser = quantize.prepare(
        default.file("model.onnx"), "onnxruntime-int8", CalibrationImages(images, modality, "drawn")
    )
    graph = quantiser.graph(quantiser.layers[1:])
    part = EnginePart(runtime="openvino", precision="int8", file="int8.onnx")
    held = replace(default, contents={**default.contents, "int8.onnx": graph})
    other = part.model_copy(update={"runtime": "onnxruntime"})
    found, expected = (open_part(held, one, "cpu").embed(images, modality) for one in (part, other))
    assert (found * expected).sum(axis=1).min() > 0.97
