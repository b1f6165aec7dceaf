"""ONNX Runtime: against arithmetic by hand, with graphs that break their promise, with CUDA that is not there."""

import functools
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vireid import bundle
from vireid.engines import onnx as onnx_engine
from vireid.engines import open_engine
from vireid.engines.onnx import CPU, CUDA, CUDA_OPTIONS, OnnxEngine
from vireid.errors import BundleCorrupt, EngineError, ProviderUnavailable

Graph = Callable[..., onnx.ModelProto]
Bundles = Callable[..., bundle.Bundle]


def by_hand(graph: onnx.ModelProto, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
    weights = {entry.name: numpy_helper.to_array(entry) for entry in graph.graph.initializer}
    columns = (images / 255.0).mean(axis=1).reshape(len(images), -1)
    rows = columns @ weights["projection"] + weights["shifts"][modality]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_what_the_graph_says(tiny: bundle.Bundle, graph_of: Graph, threads: int) -> None:
    engine = open_engine(tiny, device="cpu", threads=threads)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (7, *engine.input_size, 3), dtype=np.uint8)
    modality = random.integers(0, 2, 7)
    np.testing.assert_allclose(
        engine.embed(images, modality), by_hand(graph_of(), images, modality), atol=1e-5
    )
    assert engine.info.threads == threads


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_the_provider_is_read_back(tiny: bundle.Bundle, device: str) -> None:
    engine = open_engine(tiny, device=device)
    if CUDA not in onnxruntime.get_available_providers():
        assert (engine.info.provider, engine.info.device) == (CPU, "cpu")
    assert engine.info.runtime == f"onnxruntime {onnxruntime.__version__}"
    assert engine.space_id == tiny.space_id
    assert engine.dim == tiny.manifest.model.dim


@pytest.mark.parametrize("threads", [1, 2])
def test_waiting_threads_sleep(tiny: bundle.Bundle, threads: int) -> None:
    session = OnnxEngine(tiny, "cpu", threads)._session
    options = session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)


# ---- CUDA -------------------------------------------------------------------------
def test_cuda_that_is_not_offered(tiny: bundle.Bundle) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime offers CUDA")
    with pytest.raises(ProviderUnavailable, match="install onnxruntime-gpu in its place, or ask for the cpu"):
        open_engine(tiny, device="cuda")


@pytest.fixture
def pretended_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with onnxruntime-gpu on a machine without a driver: offered, and not there."""
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime offers CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.usefixtures("pretended_cuda")
def test_cuda_that_does_not_run_is_an_error(tiny: bundle.Bundle) -> None:
    with pytest.raises(ProviderUnavailable, match=r"does not run here \(onnxruntime runs \['CPU"):
        open_engine(tiny, device="cuda")


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.usefixtures("pretended_cuda")
def test_auto_says_that_it_falls_back(tiny: bundle.Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        engine = open_engine(tiny, device="auto")
    assert engine.info.provider == CPU
    assert "embedding on the CPU" in caplog.text


@pytest.mark.usefixtures("pretended_cuda")
@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_a_session_that_fails_on_cuda(
    tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    real = onnxruntime.InferenceSession

    def fails(model: bytes, options: Any, providers: list[Any], **more: Any) -> Any:
        if (CUDA, CUDA_OPTIONS) in providers:
            raise RuntimeError("no CUDA-capable device is detected")
        return real(model, options, providers=providers, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    if device == "auto":
        assert open_engine(tiny, device=device).info.provider == CPU
        return
    with pytest.raises(ProviderUnavailable, match="no CUDA-capable device"):
        open_engine(tiny, device=device)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.usefixtures("pretended_cuda")
def test_a_broken_bundle_is_not_blamed_on_cuda(bundle_of: Bundles) -> None:
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        open_engine(bundle_of(b"no graph"), device="cuda")


class OnCuda:
    """A session that says it runs on CUDA but for some operators, and runs on the CPU in truth."""

    asked: ClassVar[dict[str, Any]] = {}
    lacks: ClassVar[set[str]] = set()

    def __init__(self, model: bytes, options: Any, providers: list[Any], **more: Any) -> None:
        OnCuda.asked = {"providers": providers, **more}
        self._session = REAL(model, options, providers=[CPU])

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        told = self._session.get_provider_graph_assignment_info()
        nodes = [node for part in told for node in part.get_nodes()]
        assert nodes
        return [
            SimpleNamespace(
                ep_name=CPU if node.op_type in self.lacks else CUDA,
                get_nodes=functools.partial(list, [node]),
            )
            for node in nodes
        ]

    def __getattr__(self, name: str) -> Any:
        if name == "get_provider_graph_assignment_info":
            raise AttributeError(name)
        return getattr(self._session, name)


REAL = onnxruntime.InferenceSession


@pytest.fixture
def on_cuda(pretended_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a GPU: sessions run on it, and what is reserved there lies on the CPU instead."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnCuda)
    monkeypatch.setattr(OnCuda, "lacks", set())
    room = onnxruntime.OrtValue.ortvalue_from_shape_and_type

    def on_cpu(shape: list[int], kind: type, device: str, number: int) -> Any:
        assert (device, number) == ("cuda", 0)
        return room(shape, kind, "cpu", 0)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", staticmethod(on_cpu))


@pytest.mark.usefixtures("on_cuda")
def test_cuda_is_bounded_and_never_falls_back(tiny: bundle.Bundle) -> None:
    engine = open_engine(tiny, device="cuda")
    assert (engine.info.provider, engine.info.device) == (CUDA, "cuda:0")
    (name, options), fallback = OnCuda.asked["providers"]
    assert (name, fallback) == (CUDA, CPU)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert 0 < options["gpu_mem_limit"] < 16 << 30
    assert OnCuda.asked["enable_fallback"] == 0


@pytest.mark.usefixtures("on_cuda")
@pytest.mark.parametrize("lacks", ["Gemm", "Gather"])  # what a product and a sum become
def test_work_that_cuda_leaves_to_the_cpu_is_told(
    tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lacks: str
) -> None:
    monkeypatch.setattr(OnCuda, "lacks", {lacks})
    if lacks == "Gather":  # which costs nothing
        assert open_engine(tiny, device="cuda").info.provider == CUDA
        return
    with pytest.raises(ProviderUnavailable, match=r"1 of 1 convolutions and products are left .*: Gemm"):
        open_engine(tiny, device="cuda")
    with caplog.at_level(logging.WARNING):
        assert OnnxEngine(tiny, "auto").info.threads == 1
    assert "left to the CPU: Gemm" in caplog.text


@pytest.mark.parametrize(
    ("there", "left", "told"), [(3, 0, ""), (2, 2, ""), (1, 2, "2 of 3 "), (0, 1, "1 of 1 "), (0, 0, "")]
)
def test_most_of_the_work_counts(there: int, left: int, told: str) -> None:
    def parts() -> list[Any]:
        return [
            SimpleNamespace(ep_name=CUDA, get_nodes=lambda: [SimpleNamespace(op_type="FusedConv")] * there),
            SimpleNamespace(ep_name=CPU, get_nodes=lambda: [SimpleNamespace(op_type="Conv")] * left),
            SimpleNamespace(ep_name=CPU, get_nodes=lambda: [SimpleNamespace(op_type="Shape")] * 9),
        ]

    found = onnx_engine._left_to_the_cpu(SimpleNamespace(get_provider_graph_assignment_info=parts))
    assert found.startswith(told)
    assert bool(found) == bool(told)


@pytest.mark.usefixtures("on_cuda")
def test_an_onnxruntime_that_does_not_tell_of_its_nodes_is_believed(
    tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OnCuda, "get_provider_graph_assignment_info")
    assert open_engine(tiny, device="cuda").info.provider == CUDA


@pytest.mark.usefixtures("on_cuda")
def test_bound_buffers_give_the_rows_of_a_plain_run(
    tiny: bundle.Bundle, graph_of: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[int]] = []
    room = onnxruntime.OrtValue.ortvalue_from_shape_and_type

    def counted(shape: list[int], *more: Any) -> Any:
        made.append(shape)
        return room(shape, *more)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", staticmethod(counted))
    engine = open_engine(tiny, device="cuda")
    random = np.random.default_rng(2)
    for rows in (1, 5, 1, 5):  # buffers are used again
        images = random.integers(0, 256, (rows, *engine.input_size, 3), dtype=np.uint8)
        modality = random.integers(0, 2, rows)
        expected = by_hand(graph_of(), images, modality)
        np.testing.assert_allclose(engine.embed(images, modality), expected, atol=1e-5)
    assert [shape for shape in made if len(shape) == 1] == [[1], [5]]


@pytest.mark.usefixtures("on_cuda")
def test_a_run_that_fails_on_cuda_is_an_error_and_its_buffers_are_not_used_again(
    tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(tiny, device="cuda")
    given = np.zeros((3, *engine.input_size, 3), np.uint8), np.array([0, 1, 0])
    engine.embed(*given)

    def lost(*_: Any) -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    with monkeypatch.context() as broken:
        broken.setattr(OnCuda, "run_with_iobinding", lost, raising=False)
        with pytest.raises(EngineError, match="CUDA failure 700"):
            engine.embed(*given)
    assert engine.embed(*given).shape == (3, 8)


@pytest.mark.gpu
def test_cuda_gives_the_rows_of_the_cpu() -> None:
    default = bundle.read(bundle.default_path())
    cpu, cuda = open_engine(default, device="cpu"), open_engine(default, device="cuda")
    assert (cuda.info.provider, cuda.info.device) == (CUDA, "cuda:0")
    images = np.random.default_rng(0).integers(0, 256, (8, *cpu.input_size, 3), dtype=np.uint8)
    modality = np.arange(8) % 2
    assert (cpu.embed(images, modality) * cuda.embed(images, modality)).sum(axis=1).min() > 0.9999


# ---- settings that cannot be --------------------------------------------------------
@pytest.mark.parametrize("device", ["gpu", "CPU", "", "cuda:1"])
def test_unknown_devices(tiny: bundle.Bundle, device: str) -> None:
    with pytest.raises(EngineError, match="expected one of auto, cpu, cuda"):
        open_engine(tiny, device=device)


@pytest.mark.parametrize("threads", [0, -1])
def test_impossible_threads(tiny: bundle.Bundle, threads: int) -> None:
    with pytest.raises(EngineError, match="at least 1"):
        open_engine(tiny, threads=threads)


# ---- graphs that break their promise --------------------------------------------------
@pytest.mark.parametrize("graph", [b"", b"no graph", b"\x08\x09"])
def test_no_graph(bundle_of: Bundles, graph: bytes) -> None:
    with pytest.raises(BundleCorrupt, match=r"cannot load the graph|the graph takes|no ONNX file"):
        open_engine(bundle_of(graph))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"images": "pictures"}, "the graph takes .*pictures"),
        ({"image_type": TensorProto.FLOAT}, r"tensor\(float\)"),
        ({"output": "vectors"}, "the graph gives .*vectors.*; expected embeddings"),
        ({"output_type": TensorProto.DOUBLE}, r"tensor\(double\).*; expected embeddings tensor\(float\)"),
        ({"batch": 1}, "images is declared"),
        ({"height": 30}, r"images is declared \['batch', 30, 16, 3\]; expected \['batch', 32, 16, 3\]"),
        ({"normalise": False}, "does not run: the model gave rows of norm"),
    ],
)
def test_graphs_that_differ_from_the_manifest(
    graph_of: Graph, bundle_of: Bundles, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(BundleCorrupt, match=match):
        open_engine(bundle_of(graph_of(**changes).SerializeToString()), device="cpu")


def test_another_dimension_than_the_manifest(graph_of: Graph, bundle_of: Bundles) -> None:
    with pytest.raises(BundleCorrupt, match=r"embeddings is declared \['batch', 8\]"):
        open_engine(bundle_of(graph_of().SerializeToString(), dim=9))


def test_a_graph_that_gives_nan(graph_of: Graph, bundle_of: Bundles) -> None:
    graph = graph_of()
    scale = next(entry for entry in graph.graph.initializer if entry.name == "scale")
    scale.CopyFrom(numpy_helper.from_array(np.asarray(np.float32("nan")), "scale"))
    with pytest.raises(BundleCorrupt, match="rows of norm nan"):
        open_engine(bundle_of(graph.SerializeToString()))


def test_a_graph_that_fails_when_it_runs(graph_of: Graph, bundle_of: Bundles) -> None:
    graph = graph_of()
    table = next(entry for entry in graph.graph.initializer if entry.name == "shifts")
    table.CopyFrom(numpy_helper.from_array(np.ones((1, 8), np.float32), "shifts"))  # knows visible only
    with pytest.raises(BundleCorrupt, match="does not run: onnxruntime failed"):
        open_engine(bundle_of(graph.SerializeToString()))


@pytest.mark.parametrize("location", ["secret.bin", "../../etc/hostname", "/etc/hostname"])
def test_weights_outside_the_bundle_are_not_read(
    graph_of: Graph,
    bundle_of: Bundles,
    location: str,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.ones((2, 8), np.float32).tobytes())
    graph = graph_of()
    table = next(entry for entry in graph.graph.initializer if entry.name == "shifts")
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "64"}.items():
        table.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    with pytest.raises(BundleCorrupt, match="keeps weights in other files"):
        open_engine(bundle_of(graph.SerializeToString()))


@pytest.mark.parametrize("domain", ["somewhere.else", "com.microsoft"])
def test_operators_that_are_not_onnx_s_own(graph_of: Graph, bundle_of: Bundles, domain: str) -> None:
    """Not those either that this runtime knows: another one would not."""
    graph = graph_of()
    graph.graph.node.append(helper.make_node("Gelu", ["unit"], ["more"], domain=domain))
    graph.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(BundleCorrupt, match=rf"tiny\.zip: model\.onnx takes operators from {domain}"):
        open_engine(bundle_of(graph.SerializeToString()))


def test_operators_from_nowhere(graph_of: Graph, bundle_of: Bundles) -> None:
    graph = graph_of()
    graph.graph.node.append(helper.make_node("Gelu", ["unit"], ["more"], domain="somewhere.else"))
    with pytest.raises(BundleCorrupt, match="takes operators from somewhere"):
        open_engine(bundle_of(graph.SerializeToString()))
