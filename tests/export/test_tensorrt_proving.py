"""A TensorRT plan is proven on the GPU that is to run it (a stand-in here), and kept only if it passes."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import export
from export import half, tensorrt_command, tensorrt_graph, tensorrt_part
from export.exam import Exam
from export.tensorrt_part import Workshop
from tests.export.test_tensorrt_command import only_sidecar
from tests.export.test_to_tensorrt import DIM
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine
from vireid.engines.plans import Found
from vireid.engines.tensorrt_driver import Gpu
from vireid.errors import EngineError, ExportError

pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")

GPU = Gpu("NVIDIA Test", "8.9", "13.3")


class FakeDriver:
    gpu = GPU


class Candidate:
    """A plan as it runs: the model itself, spoilt if wanted."""

    spoil: Callable[[np.ndarray], np.ndarray] = staticmethod(lambda rows: rows)

    def __init__(self, bundle: Bundle) -> None:
        self._engine = open_engine(bundle, "cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        rows = type(self).spoil(self._engine.embed(images, modality))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def candidate() -> type[Candidate]:
    class Fresh(Candidate):
        pass

    return Fresh


@pytest.fixture
def on_gpu(
    workshop: Workshop, bundle: Bundle, candidate: type[Candidate], monkeypatch: pytest.MonkeyPatch
) -> Workshop:
    def read(_library: Any, found: Found, _shape: Any) -> bytes:
        assert found.plan[:4] == b"vtrt"
        return found.plan

    monkeypatch.setattr(tensorrt_part.tensorrt, "read", read)
    monkeypatch.setattr(tensorrt_part, "TensorRtEngine", lambda *_: candidate(bundle))
    return replace(workshop, driver=FakeDriver())  # type: ignore[arg-type]


def test_a_plan_that_passes_is_kept_with_its_report(on_gpu: Workshop, bundle: Bundle, exam: Exam) -> None:
    part, _ = tensorrt_part.graph_of(bundle, "fp32")
    made = tensorrt_part.make(bundle, part, on_gpu, lambda: exam)
    assert made.built
    assert made.unproven == ""
    kept = only_sidecar(on_gpu.choices.folder)
    assert kept.proven
    assert kept.parity["batches"] == [1, 2, 7, 8, 16, 32]
    assert (kept.purpose.gpu, kept.purpose.sm, kept.cuda) == ("NVIDIA Test", "8.9", "13.3")
    again = tensorrt_part.make(bundle, part, on_gpu, lambda: pytest.fail("was proven already"))
    assert not again.built
    assert again.sidecar == kept
    page = on_gpu.store.page(kept).decode()
    assert "tensorrt-fp32" in page
    assert f"{kept.parity['cosine_min']:.6f}" in page
    assert page.count("<img") > 4


def test_the_page_goes_into_the_bundle_too(
    run: Callable[..., Result],
    on_gpu: Workshop,
    bundle: Bundle,
    exam: Exam,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensorrt_command, "open_driver", lambda: on_gpu.driver)
    monkeypatch.setattr(tensorrt_command.exam_source, "of", lambda *_: exam)
    result = run("--precision", "fp32")
    assert result.exit_code == 0, (result.output, result.exception)
    (part,) = bundles.read(bundle.path).manifest.engines
    kept = only_sidecar(on_gpu.choices.folder)
    assert (part.report, part.parity["passed"]) == ("tensorrt-fp32.parity.html", True)
    assert bundles.read(bundle.path).file(part.report) == on_gpu.store.page(kept)
    assert kept.page in "".join(result.output.split())


def test_sums_stay_fp32_where_half_ones_are_not_near_enough(
    run: Callable[..., Result],
    on_gpu: Workshop,
    bundle: Bundle,
    exam: Exam,
    candidate: type[Candidate],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[Any] = []
    tried: list[str] = []

    def halve(graph: bytes, precision: half.Half, *, exact: bool) -> half.Halved:
        halved = halve_really(graph, precision, exact=exact)
        proto = onnx.load_from_string(halved.graph)
        proto.doc_string = "exact" if exact else "fast"
        return replace(halved, graph=proto.SerializeToString())

    def of(*words: Any) -> Exam:
        asked.append(words)
        return exam

    def prove(whole: Bundle, part: EnginePart, *given: Any) -> Any:
        tried.append(onnx.load_from_string(whole.file(part.file)).doc_string)
        return prove_really(whole, part, *given)

    halve_really, prove_really = half.halve, tensorrt_part.prove
    monkeypatch.setattr(half, "halve", halve)
    monkeypatch.setattr(tensorrt_part, "prove", prove)
    monkeypatch.setattr(tensorrt_command, "open_driver", lambda: on_gpu.driver)
    monkeypatch.setattr(tensorrt_command.exam_source, "of", of)
    candidate.spoil = staticmethod(lambda rows: rows if tried[-1] == "exact" else -rows)  # type: ignore[method-assign]
    graph = tmp_path / "given.onnx"
    result = run("--precision", "fp16", "--keep-failed", "--graph-out", str(graph))
    assert result.exit_code == 0, (result.output, result.exception)
    assert tried == ["fast", "exact"]
    assert len(asked) == 1  # people are drawn once
    made = bundles.read(bundle.path)
    (part,) = made.manifest.engines
    assert (part.name, part.proven) == ("tensorrt-fp16", True)
    assert onnx.load_from_string(made.file(part.file)).doc_string == "exact"
    assert graph.read_bytes() == tensorrt_graph.adapt(made.file(part.file))
    # where neither will do, that of the exact one is told
    candidate.spoil = staticmethod(lambda rows: -rows)  # type: ignore[method-assign]
    refused = run("--precision", "bf16").exception
    assert isinstance(refused, ExportError)
    assert "the bf16 plan is not near enough" in refused.message
    assert tried[2:] == ["fast", "exact"]
    assert [part.precision for part in bundles.read(bundle.path).manifest.engines] == ["fp16"]


def test_a_machine_without_pictures_proves_without_a_page(
    on_gpu: Workshop,
    bundle: Bundle,
    exam: Exam,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    drawing = ("export.parity_page", "vireid.evaluation.page", "vireid.evaluation.pictures")
    for name in [name for name in sys.modules if name.startswith(drawing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(export, "parity_page", raising=False)
    for name in ("jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    part, _ = tensorrt_part.graph_of(bundle, "fp32")
    made = tensorrt_part.make(bundle, part, on_gpu, lambda: exam)
    assert (made.unproven, made.sidecar.proven, made.sidecar.page) == ("", True, "")
    assert "without a page" in caplog.text
    assert "vireid[evaluation]" in caplog.text


def test_a_server_builds_plans_without_torch_and_without_pictures(bundle: Bundle, tmp_path: Path) -> None:
    """What its image installs is enough."""
    words = [str(bundle.path), "--precision", "fp16", "--cache", str(tmp_path / "plans"), "--buckets", "1"]
    asked = f"""
import sys
for name in ("torch", "onnxscript", "safetensors", "jinja2", "matplotlib", "sklearn", "openvino"):
    sys.modules[name] = None
from typer.testing import CliRunner
from export.command import app
words = ["tensorrt", *{words!r}, "--plan-only", "--progress-lines", "--flavour", "tensorrt_rtx"]
print(CliRunner().invoke(app, words, catch_exceptions=False).output)
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert only_sidecar(tmp_path / "plans").purpose.precision == "fp16"


def test_a_plan_built_ahead_of_time_is_proven_where_it_runs(
    on_gpu: Workshop, workshop: Workshop, bundle: Bundle, exam: Exam
) -> None:
    part, _ = tensorrt_part.graph_of(bundle, "fp32")
    ahead = tensorrt_part.make(bundle, part, workshop, lambda: exam)
    assert ahead.unproven
    made = tensorrt_part.make(bundle, part, on_gpu, lambda: exam)
    assert not made.built
    kept = only_sidecar(on_gpu.choices.folder)
    assert kept.proven
    assert kept.plan == ahead.sidecar.plan


def test_a_plan_that_fails_is_not_kept(
    on_gpu: Workshop, bundle: Bundle, exam: Exam, candidate: type[Candidate]
) -> None:
    noise = np.random.default_rng(5).normal(0, 0.2, (1, DIM)).astype(np.float32)
    candidate.spoil = staticmethod(lambda rows: rows + noise)
    part, _ = tensorrt_part.graph_of(bundle, "fp32")
    with pytest.raises(ExportError, match=r"not near enough .* at least 0\.9999 is required"):
        tensorrt_part.make(bundle, part, on_gpu, lambda: exam)
    assert not list(on_gpu.choices.folder.glob("[!.]*"))
    made = tensorrt_part.make(bundle, part, on_gpu, lambda: exam, keep_failed=True)
    assert "0.9999 is required" in made.unproven
    assert not only_sidecar(on_gpu.choices.folder).proven


def test_a_plan_that_does_not_run_is_not_kept(
    on_gpu: Workshop, bundle: Bundle, exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise EngineError("the library refuses the plan", reason="PLAN_MISMATCH")

    monkeypatch.setattr(tensorrt_part.tensorrt, "read", refuse)
    part, _ = tensorrt_part.graph_of(bundle, "fp32")
    with pytest.raises(EngineError, match="refuses the plan"):
        tensorrt_part.make(bundle, part, on_gpu, lambda: exam)
    assert not list(on_gpu.choices.folder.glob("[!.]*"))


# ---- what only a GPU shows ---------------------------------------------------------------
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_plan_of_the_default_bundle_passes_on_this_gpu(tmp_path: Path, precision: str) -> None:
    words = [str(bundles.default_path()), "--cache", str(tmp_path), "--precision", precision, "--plan-only"]
    result = CliRunner().invoke(tensorrt_command.app, words)
    assert result.exit_code == 0, (result.output, result.exception)
    assert only_sidecar(tmp_path).proven
