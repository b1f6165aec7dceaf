"""OpenVINO: what really runs is read back, what the CPU cannot do is refused, and graphs are checked before they run."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from vireid import bundle
from vireid.bundle import EnginePart
from vireid.engines import open_engine, open_part, openvino_kernels
from vireid.engines import openvino as engine
from vireid.errors import BundleCorrupt, EngineError, MissingExtra, ProviderUnavailable

Graph = Callable[..., onnx.ModelProto]
Bundles = Callable[..., bundle.Bundle]
HAS_BF16 = "BF16" in engine.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")

CPU_WORDS = Path("/proc/cpuinfo")
HAS_AVX512 = CPU_WORDS.is_file() and "avx512bw" in CPU_WORDS.read_text()


def part(precision: str = "fp32") -> EnginePart:
    return EnginePart.model_validate({"runtime": "openvino", "precision": precision, "file": "model.onnx"})


def test_it_gives_the_rows_of_the_model(tiny: bundle.Bundle) -> None:
    source, engine = open_engine(tiny, "cpu"), open_part(tiny, part())
    images = np.random.default_rng(0).integers(0, 256, (9, *source.input_size, 3), dtype=np.uint8)
    modality = np.arange(9) % 2
    np.testing.assert_allclose(engine.embed(images, modality), source.embed(images, modality), atol=1e-5)
    assert engine.space_id == source.space_id


def test_a_network_of_one_stream_reads_no_modality(graph_of: Graph, bundle_of: Bundles) -> None:
    one = bundle_of(graph_of(one_stream=True).SerializeToString())
    source, engine = open_engine(one, "cpu"), open_part(one, part())
    images = np.random.default_rng(0).integers(0, 256, (4, *source.input_size, 3), dtype=np.uint8)
    rows = engine.embed(images, np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(rows, source.embed(images, np.array([1, 1, 0, 0])), atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_runs_is_read_back(tiny: bundle.Bundle, threads: int) -> None:
    info = open_part(tiny, part(), threads=threads).info
    assert info.runtime.startswith("openvino 20")
    assert (info.provider, info.device, info.precision, info.threads) == ("CPU", "cpu", "fp32", threads)


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_bf16_runs_in_bf16_and_says_so() -> None:
    default = bundle.read(bundle.default_path())
    source, engine = open_engine(default, "cpu"), open_part(default, part("bf16"))
    assert engine.info.precision == "bf16"
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, 16, 8, 3))
    images = coarse.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)
    modality = np.array([0, 1])
    cosine = (source.embed(images, modality) * engine.embed(images, modality)).sum(axis=1)
    assert 0.99 < cosine.min() < 0.9999999  # near, and not the same arithmetic


class Pretended:
    """A core that answers as a machine or a runtime of another kind would."""

    def __init__(self, real: Any, told: dict[str, Any], hint: str | None) -> None:
        self._real, self._told, self._hint = real, told, hint

    def __call__(self) -> "Pretended":
        return self

    def get_property(self, device: str, name: str) -> Any:
        return self._told.get(name) or self._real.get_property(device, name)

    def compile_model(self, model: Any, device: str, wishes: dict[str, Any]) -> Any:
        changed = wishes if self._hint is None else wishes | {"INFERENCE_PRECISION_HINT": self._hint}
        return self._real.compile_model(model, device, changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_bf16_is_refused_where_the_cpu_has_none(tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"OPTIMIZATION_CAPABILITIES": ["FP32", "INT8"], "FULL_DEVICE_NAME": "Old CPU"}
    monkeypatch.setattr(engine, "core", Pretended(engine.core(), old, None))
    with pytest.raises(ProviderUnavailable, match=r"this CPU \(Old CPU\) has no bf16 instructions"):
        open_part(tiny, part("bf16"))


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
def test_another_precision_than_asked_for_is_found_out(
    tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "core", Pretended(engine.core(), {}, "f32"))
    with pytest.raises(ProviderUnavailable, match=r"1 of 1 heavy layers in f32 here; .* promises bf16"):
        open_part(tiny, part("bf16"))


def test_a_graph_that_is_not_quantised_is_no_int8(tiny: bundle.Bundle) -> None:
    with pytest.raises(ProviderUnavailable, match="promises int8"):
        open_part(tiny, part("int8"))


def test_missing_openvino_names_the_extra(tiny: bundle.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'vireid\[openvino\]'"):
        open_part(tiny, part())


@pytest.mark.parametrize(
    ("wishes", "error", "words"),
    [
        ({"device": "cuda"}, ProviderUnavailable, "OpenVINO runs on the CPU only"),
        ({"device": "npu"}, EngineError, "expected one of auto, cpu, cuda"),
        ({"threads": 0}, EngineError, "at least 1"),
    ],
)
def test_wishes_that_cannot_be(
    tiny: bundle.Bundle, wishes: dict[str, Any], error: type[EngineError], words: str
) -> None:
    with pytest.raises(error, match=words):
        open_part(tiny, part(), **wishes)


def test_fp16_is_for_other_runtimes(tiny: bundle.Bundle) -> None:
    with pytest.raises(EngineError, match="found fp16 for OpenVINO"):
        open_part(tiny, part("fp16"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"image_type": TensorProto.FLOAT}, "openvino reads .*'images': .'f32'"),
        ({"output": "vectors"}, "openvino reads .*vectors"),
        ({"batch": 1}, r"openvino reads .*'\[1,32,16,3\]'"),
        ({"height": 30}, r"openvino reads .*'\[\?,30,16,3\]'"),
        ({"normalise": False}, "does not run: the model gave rows of norm"),
    ],
)
def test_graphs_that_differ_from_the_manifest(
    graph_of: Graph, bundle_of: Bundles, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(BundleCorrupt, match=match):
        open_part(bundle_of(graph_of(**changes).SerializeToString()), part())


def test_weights_outside_the_bundle_are_not_read(
    graph_of: Graph, bundle_of: Bundles, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO itself would take them from the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.ones((2, 8), np.float32).tobytes())
    graph = graph_of()
    table = next(entry for entry in graph.graph.initializer if entry.name == "shifts")
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "secret.bin", "offset": "0", "length": "64"}.items():
        table.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    with pytest.raises(BundleCorrupt, match=r"model\.onnx keeps weights in other files"):
        open_part(bundle_of(graph.SerializeToString()), part())


def test_a_graph_that_gives_nan(graph_of: Graph, bundle_of: Bundles) -> None:
    graph = graph_of()
    scale = next(entry for entry in graph.graph.initializer if entry.name == "scale")
    scale.CopyFrom(numpy_helper.from_array(np.asarray(np.float32("nan")), "scale"))
    with pytest.raises(BundleCorrupt, match="rows of norm nan"):
        open_part(bundle_of(graph.SerializeToString()), part())


def test_an_engine_may_end_in_another_thread_than_it_began_in(tiny: bundle.Bundle) -> None:
    code = """
        import signal, sys, threading
        from pathlib import Path
        from vireid import bundle
        from vireid.bundle import EnginePart
        from vireid.engines import open_part
        part = EnginePart(runtime="openvino", precision="fp32", file="model.onnx")
        engines = [open_part(bundle.read(Path(sys.argv[1])), part)]
        last = threading.Thread(target=engines.clear)
        last.start()
        last.join()
        signal.signal(signal.SIGTERM, lambda *_: print("ended in peace"))
        signal.raise_signal(signal.SIGTERM)
    """
    words = [sys.executable, "-c", textwrap.dedent(code), str(tiny.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ended in peace\n"), done.stderr


def depthwise(one: Any) -> list[str]:
    told = [layer.get_rt_info() for layer in one._stages.compiled[0].get_runtime_model().get_ops()]
    return [
        info["primitiveType"].value
        for info in told
        if info["layerType"].value == "Convolution" and "_dw" in info["primitiveType"].value
    ]


@pytest.mark.skipif(not HAS_AVX512, reason="the kernel is made for this instruction set")
@pytest.mark.parametrize(
    "precision", ["fp32", pytest.param("bf16", marks=pytest.mark.skipif(not HAS_BF16, reason="no bf16"))]
)
def test_depthwise_convolutions_run_in_the_kernel_made_for_them(precision: str) -> None:
    default = bundle.read(bundle.default_path())
    found = depthwise(open_part(default, part(precision)))
    assert len(found) > 60
    assert {name.rpartition("_")[0] for name in found} == {"jit_avx512_dw"}


def test_a_plugin_that_does_not_know_the_wish_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    default = bundle.read(bundle.default_path())
    core = engine.core()
    model = core.read_model(default.file("model.onnx"), b"")
    monkeypatch.setattr(openvino_kernels, "KEY", "wish_of_another_year_0")
    assert openvino_kernels.wish(core, model) == 0
