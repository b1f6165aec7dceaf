"""OpenVINO's bf16 of a bundle: whole where that is near enough, else begun in fp32, and refused where neither is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import openvino_part
from export.beginning import Cut
from export.exam import Exam
from tests.export import small_bundle
from vireid import bundle as bundles
from vireid.bundle import Bundle
from vireid.engines import choice, openvino
from vireid.errors import ExportError

pytestmark = pytest.mark.skipif(
    "BF16" not in openvino.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this CPU has no bf16",
)
HEIGHT, WIDTH, DIM = 32, 16, 16
FIRST, SECOND = 9 * 3 * DIM, 9 * DIM * DIM


def graph(offset: float) -> bytes:
    """Two convolutions; between them a number is added to the map and taken away again, which bf16 rounds the map to."""
    random = np.random.default_rng(3)
    weights = {
        "scale": np.float32(1 / 64),
        "offset": np.float32(offset),
        "first": random.normal(0, 27**-0.5, (DIM, 3, 3, 3)).astype(np.float32),
        "far": np.full(DIM, offset, np.float32),
        "second": random.normal(0, (9 * DIM) ** -0.5, (DIM, DIM, 3, 3)).astype(np.float32),
        "plane": np.array([2, 3]),
        "shifts": 0.3 * random.standard_normal((2, DIM)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["moved"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["moved", "scale"], ["light"]),
        helper.make_node("Conv", ["light", "first", "far"], ["high"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["high"], ["highest"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sub", ["highest", "offset"], ["low"]),
        helper.make_node("Conv", ["low", "second"], ["map"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["map", "plane"], ["row"], keepdims=0),
        helper.make_node("Gather", ["shifts", "modality"], ["shift"], axis=0),
        helper.make_node("Add", ["row", "shift"], ["rows"]),
        helper.make_node("LpNormalization", ["rows"], ["embeddings"], axis=1, p=2),
    ]
    made = helper.make_graph(
        nodes,
        "offset",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3]),
            helper.make_tensor_value_info("modality", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def bundle_with(tmp_path: Path) -> Callable[[float], Bundle]:
    def make(offset: float) -> Bundle:
        path = tmp_path / "offset.zip"
        return bundles.read(small_bundle.write(path, graph(offset), parity={"passed": True}))

    return make


@pytest.fixture
def exam() -> Exam:
    """Sixteen people of a colour each, by day and by night."""
    random = np.random.default_rng(1)
    colours = random.integers(0, 256, (16, HEIGHT // 8, WIDTH // 8, 3)).repeat(2, axis=0)
    noisy = colours.repeat(8, axis=1).repeat(8, axis=2) + random.integers(-9, 10, (32, HEIGHT, WIDTH, 3))
    person = np.arange(32) // 2
    return Exam(np.clip(noisy, 0, 255).astype(np.uint8), person, person, np.arange(32) % 2)


def silent(words: str, count: int | None) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None)


def test_a_model_that_bf16_holds_is_whole(bundle_with: Callable[[float], Bundle], exam: Exam) -> None:
    bundle = bundle_with(0.0)
    added = openvino_part.add_bf16(bundle, exam, bundle.path, silent)
    assert added.cut is None
    assert added.report.passed
    (part,) = bundles.read(bundle.path).manifest.engines
    assert (part.name, part.fp32_until, part.proven) == ("openvino-bf16", "", True)


def test_a_model_that_loses_much_early_begins_in_fp32(
    bundle_with: Callable[[float], Bundle], exam: Exam
) -> None:
    bundle = bundle_with(300.0)
    added = openvino_part.add_bf16(bundle, exam, bundle.path, silent)
    # of the maps with the same work before them the last, where the number is away again
    assert added.cut == Cut("low", pytest.approx(4 * FIRST / (4 * FIRST + SECOND), abs=1e-6))
    read = bundles.read(bundle.path)
    (part,) = read.manifest.engines
    assert (part.fp32_until, part.file, part.proven) == ("low", "model.onnx", True)
    assert choice.choose(read, "openvino-bf16", "cpu").engine.info.precision == "bf16"


def test_where_no_beginning_is_as_near_as_is_aimed_at_the_nearest_that_passes_is_taken(
    bundle_with: Callable[[float], Bundle], exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_with(300.0)
    used = {"high": 0.9, "low": 0.8, "map": 0.85}
    monkeypatch.setattr(openvino_part.beginning, "cuts", lambda _: tuple(Cut(name, 0.1) for name in used))
    left = iter(used.values())
    monkeypatch.setattr(openvino_part, "_used", lambda *_: next(left))
    added = openvino_part.add_bf16(bundle, exam, bundle.path, silent)
    assert added.cut == Cut("low", 0.1)
    assert added.report.passed


def test_where_no_beginning_is_enough_nothing_is_written(
    bundle_with: Callable[[float], Bundle], exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_with(300.0)
    monkeypatch.setattr(openvino_part.beginning, "cuts", lambda graph: ())
    with pytest.raises(ExportError, match=r"cosine min .* nor would it be with the first half"):
        openvino_part.add_bf16(bundle, exam, bundle.path, silent)
    assert bundles.read(bundle.path).manifest.engines == ()
    kept = openvino_part.add_bf16(bundle, exam, bundle.path, silent, keep_failed=True)
    assert not kept.report.passed
    assert not bundles.read(bundle.path).manifest.engines[0].proven
