"""Plans built by the real TensorRT-RTX, which builds where there is no GPU; and its failures as our errors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import tensorrt_graph, to_tensorrt
from export.tensorrt_progress import Phases
from export.to_tensorrt import Order
from vireid.engines import tensorrt_library
from vireid.engines.tensorrt_buckets import BUCKETS, Bucket
from vireid.engines.tensorrt_library import Library
from vireid.errors import BundleCorrupt, ExportError

HEIGHT, WIDTH, DIM, CHANNELS = 32, 16, 8, 8
ORDER = Order(HEIGHT, WIDTH)
FLOATS = {
    "fp32": (TensorProto.FLOAT, 18),
    "fp16": (TensorProto.FLOAT16, 18),
    "bf16": (TensorProto.BFLOAT16, 22),
    "int8": (TensorProto.FLOAT, 19),
    "fp8": (TensorProto.FLOAT, 19),
}
QUANTISED = {"int8": (TensorProto.INT8, np.int8(0)), "fp8": (TensorProto.FLOAT8E4M3FN, None)}

Graph = Callable[..., bytes]


@pytest.fixture(scope="module")
def library() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")
    return tensorrt_library.load("tensorrt_rtx")


def network(precision: str = "fp32", *, images: int = TensorProto.UINT8) -> bytes:
    """A convolution, pooling, a head and a shift by modality; bytes are moved before they become numbers."""
    random = np.random.default_rng(3)
    kind, opset = FLOATS[precision]
    kernel = random.normal(0, 0.3, (CHANNELS, 3, 3, 3)).astype(np.float32)
    weights = {
        "std": numpy_helper.from_array(np.float32(64), "std"),
        "projection": numpy_helper.from_array(
            random.normal(0, 1, (CHANNELS, DIM)).astype(np.float32), "projection"
        ),
        "shifts": numpy_helper.from_array(random.normal(0, 0.1, (2, DIM)).astype(np.float32), "shifts"),
        "axes": numpy_helper.from_array(np.array([2, 3]), "axes"),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["moved"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["moved"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "std"], ["light"]),
    ]
    if precision in QUANTISED:
        code, _ = QUANTISED[precision]
        for name, scale in (("light", 4 / 127), ("kernel", 1 / 127)):
            weights[f"{name}_scale"] = numpy_helper.from_array(np.float32(scale), f"{name}_scale")
            weights[f"{name}_zero"] = helper.make_tensor(f"{name}_zero", code, [], [0])
            nodes += [
                helper.make_node("QuantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_q"]),
                helper.make_node(
                    "DequantizeLinear", [f"{name}_q", f"{name}_scale", f"{name}_zero"], [f"{name}_c"]
                ),
            ]
        weights["kernel"] = numpy_helper.from_array(kernel, "kernel")
    else:
        nodes.append(helper.make_node("Cast", ["light"], ["light_c"], to=kind))
        weights["kernel"] = helper.make_tensor("kernel_c", kind, kernel.shape, kernel.ravel().tolist())
    nodes += [
        helper.make_node("Conv", ["light_c", "kernel_c"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("Cast", ["active"], ["full"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["full", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "projection"], ["projected"]),
        helper.make_node("Gather", ["shifts", "modality"], ["shift"], axis=0),
        helper.make_node("Add", ["projected", "shift"], ["rows"]),
        helper.make_node("LpNormalization", ["rows"], ["embeddings"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("images", images, ["batch", HEIGHT, WIDTH, 3]),
            helper.make_tensor_value_info("modality", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])],
        list(weights.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def rows(graph: bytes, count: int = 6) -> np.ndarray:
    random = np.random.default_rng(8)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    images = random.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return session.run(None, {"images": images, "modality": random.integers(0, 2, count)})[0]


# ---- building ---------------------------------------------------------------------
@pytest.mark.parametrize("precision", FLOATS)
def test_every_precision_builds_with_every_bucket(library: Library, precision: str) -> None:
    built = to_tensorrt.build(library, network(precision), ORDER)
    assert len(built.plan) > 10_000
    assert built.plan[:4] == b"vtrt"
    assert len(ORDER.buckets) == 4


def test_progress_rises_to_the_end(library: Library) -> None:
    told: list[float] = []
    to_tensorrt.build(library, network(), ORDER, told.append)
    assert told == sorted(told)
    assert len(told) > 10
    assert told[-1] == pytest.approx(1.0)


def test_plans_for_named_gpus(library: Library) -> None:
    built = to_tensorrt.build(
        library, network(), replace(ORDER, buckets=BUCKETS[:1], sms=("8.9", "12.0"), level=1)
    )
    assert built.plan
    with pytest.raises(ExportError, match=r"cannot build for compute capability 6.0; it knows 7\.5, 8\.0"):
        to_tensorrt.build(library, network(), replace(ORDER, sms=("6.0",)))


# ---- failing ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"buckets": ()}, "no optimization profile has been defined"),
        ({"buckets": (Bucket(4, 2, 8),)}, r"refuses the batches 4 to 8, usually 2: .*MIN<=OPT<=MAX"),
        ({"height": HEIGHT + 1}, "profile has min=33, opt=33, max=33 but tensor has 32"),
    ],
)
def test_a_refused_order_is_an_error_in_the_librarys_words(
    library: Library, change: dict[str, object], match: str
) -> None:
    with pytest.raises(ExportError, match=match):
        to_tensorrt.build(library, network(), replace(ORDER, **change))  # type: ignore[arg-type]


def test_shapes_of_another_rank(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(profile: object, order: Order, bucket: Bucket) -> object:
        profile.set_shape("images", *[(size, HEIGHT, WIDTH) for size in (1, 1, 2)])  # type: ignore[attr-defined]
        profile.set_shape("modality", (1,), (1,), (2,))  # type: ignore[attr-defined]
        return profile

    monkeypatch.setattr(to_tensorrt, "_profile", flat)
    with pytest.raises(ExportError, match="has 4 dimensions but profile 0 has 3 dimensions"):
        to_tensorrt.build(library, network(), ORDER)


def test_an_operator_that_the_parser_does_not_know(library: Library) -> None:
    model = onnx.load_from_string(network())
    del model.graph.node[-1].attribute[:]
    model.graph.node[-1].op_type = "StringNormalizer"
    with pytest.raises(ExportError, match=r"cannot read the graph: .*StringNormalizer"):
        to_tensorrt.build(library, model.SerializeToString(), ORDER)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, BrokenPipeError])
def test_trouble_while_progress_is_told_ends_the_build(
    library: Library, trouble: type[BaseException]
) -> None:
    told: list[float] = []

    def stop(done: float) -> None:
        told.append(done)
        raise trouble

    with pytest.raises(trouble):
        to_tensorrt.build(library, network(), ORDER, stop)
    assert len(told) == 1
    assert to_tensorrt.build(library, network(), ORDER).plan


# ---- timings, which only the full TensorRT keeps -----------------------------------------
class Timings:
    """A timing cache."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b" and more"


class Configuration:
    """Takes the caches it is told to, as the library does: False, or no cache at all, for those of another device."""

    def __init__(self, takes: set[bytes], makes: bool = True) -> None:
        self.takes, self.makes = takes, makes
        self.cache: Timings | None = None

    def create_timing_cache(self, serialized: bytes) -> Timings | None:
        return Timings(serialized) if self.makes or serialized in self.takes else None

    def set_timing_cache(self, cache: Timings, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache if cache.data in self.takes else self.cache
        return cache.data in self.takes

    def get_timing_cache(self) -> Timings | None:
        return self.cache


@pytest.fixture
def full() -> Library:
    return Library("tensorrt", "11.4", None, None, tensorrt_library.Journal())


@pytest.mark.parametrize("makes", [True, False])
@pytest.mark.parametrize(("takes", "used"), [({b"", b"known"}, b"known"), ({b""}, b"")])
def test_timings_of_another_device_count_as_none(
    full: Library, makes: bool, takes: set[bytes], used: bytes
) -> None:
    config = Configuration(takes, makes)
    assert to_tensorrt._use_timings(full, config, b"known")  # type: ignore[arg-type]
    assert to_tensorrt._timings(config) == used + b" and more"  # type: ignore[arg-type]


def test_a_library_that_takes_no_timings_at_all(full: Library) -> None:
    full.journal.note(1, "the cache is refused")
    with pytest.raises(ExportError, match="takes no timing cache: the cache is refused"):
        to_tensorrt._use_timings(full, Configuration(set()), b"")  # type: ignore[arg-type]


def test_the_full_library_builds_for_its_own_gpu_only(full: Library) -> None:
    with pytest.raises(ExportError, match="builds for the GPU it runs on and no other"):
        to_tensorrt._aim(full, Configuration(set()), ("8.9",))  # type: ignore[arg-type]


# ---- the graph that TensorRT is given ---------------------------------------------------
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_adapted_graph_gives_the_same_rows(precision: str) -> None:
    graph = network(precision)
    adapted = tensorrt_graph.adapt(graph)
    assert adapted != graph
    onnx.checker.check_model(onnx.load_from_string(adapted), full_check=True)
    np.testing.assert_array_equal(rows(adapted), rows(graph))


def test_without_the_change_the_parser_refuses(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_graph, "adapt", lambda graph: graph)
    with pytest.raises(ExportError, match=r"cannot read the graph: .*UInt8"):
        to_tensorrt.build(library, network(), ORDER)


def test_a_graph_that_takes_numbers_is_left_alone() -> None:
    graph = network(images=TensorProto.FLOAT)
    assert tensorrt_graph.adapt(graph) == graph


def test_strange_graphs_are_refused() -> None:
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        tensorrt_graph.adapt(b"rubbish")
    model = onnx.load_from_string(network())
    model.graph.node[0].domain = "com.example"
    with pytest.raises(BundleCorrupt, match=r"operators from com\.example"):
        tensorrt_graph.adapt(model.SerializeToString())
    model = onnx.load_from_string(network())
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(BundleCorrupt, match="weights in other files"):
        tensorrt_graph.adapt(model.SerializeToString())
    model = onnx.load_from_string(network())
    del model.graph.input[0]
    with pytest.raises(ExportError, match="expected one input named images"):
        tensorrt_graph.adapt(model.SerializeToString())


@pytest.mark.parametrize("tf32", [False, True])
def test_fp32_is_fp32_unless_asked_otherwise(library: Library, tf32: bool) -> None:
    config: Any = library.builder().create_builder_config()
    flag = library.handle.BuilderFlag.TF32
    assert config.get_flag(flag)  # by the library's own will
    to_tensorrt._set(library, config, replace(ORDER, tf32=tf32))
    assert config.get_flag(flag) is tf32


# ---- progress ---------------------------------------------------------------------------
def test_phases_within_phases_make_one_rising_number() -> None:
    told: list[float] = []
    phases = Phases(told.append)
    phases.start("build", None, 2)
    phases.step("build", 0)
    phases.start("search", "build", 4)
    phases.step("search", 0)
    phases.step("search", 1)
    phases.finish("search")
    phases.start("search", "build", 2)  # again: nothing runs back
    phases.step("search", 0)
    phases.finish("search")
    phases.step("unheard of", 3)
    phases.finish("build")
    assert told == [0.5, 0.625, 0.75, 1.0]
