"""``vireid export tensorrt``: built ahead of time without a GPU, proven with one (a stand-in here), kept only if it passes."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from typer.testing import Result

from export import tensorrt_part, to_tensorrt
from export.exam import Exam
from export.tensorrt_part import Workshop
from tests.export.test_to_tensorrt import network
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.engines.plans import PlanStore, Sidecar
from vireid.errors import AlreadyExists, ExportError, ProviderUnavailable, StorageError

pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")


def only_sidecar(folder: Path) -> Sidecar:
    (path,) = folder.glob("*.json")
    return Sidecar.model_validate_json(path.read_text())


def said(result: Result) -> str:
    """What was printed, however long its lines were."""
    return " ".join(result.output.split())


# ---- without a GPU ------------------------------------------------------------------
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_built_ahead_of_time_it_stays_unproven(
    run: Callable[..., Result], bundle: Bundle, tmp_path: Path, precision: str
) -> None:
    result = run("--precision", precision, "--out", str(tmp_path / "more.zip"))
    assert result.exit_code == 0, result.output
    assert "not proven: there is no GPU here" in said(result)
    sidecar = only_sidecar(tmp_path / "plans")
    assert sidecar.purpose.precision == precision
    assert (sidecar.purpose.gpu, sidecar.purpose.sm) == ("", "any")
    assert sidecar.purpose.module == "tensorrt_rtx"
    assert not sidecar.proven
    assert PlanStore(tmp_path / "plans").find(sidecar.purpose).plan[:4] == b"vtrt"
    more = bundles.read(tmp_path / "more.zip")
    (part,) = more.manifest.engines
    assert part.name == f"tensorrt-{precision}"
    assert not part.proven
    assert more.space_id == bundle.space_id
    assert (part.file == "model.onnx") == (precision == "fp32")


@pytest.mark.parametrize(
    "words", [["--cache", "file/plans"], ["--graph-out", "file/graph.onnx"], ["--out", "file/b.zip"]]
)
def test_where_nothing_can_be_written_nothing_is_built(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(to_tensorrt, "build", lambda *_: pytest.fail("it was built"))
    found = run("--precision", "fp32", *words).exception
    assert isinstance(found, StorageError), found
    assert "name another" in found.message


def test_another_process_may_replace_a_plan_at_once(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = PlanStore.keep

    def kept(store: PlanStore, sidecar: Sidecar, plan: bytes, page: bytes = b"") -> Path:
        keep(store, sidecar, plan, page)
        return keep(store, sidecar, b"of another process", page)

    monkeypatch.setattr(PlanStore, "keep", kept)
    result = run("--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert "built in" in said(result)


def test_a_plan_that_is_there_is_not_built_again(run: Callable[..., Result], tmp_path: Path) -> None:
    assert "built in" in said(run("--precision", "fp32"))
    before = only_sidecar(tmp_path / "plans")
    again = run("--precision", "fp32")
    assert again.exit_code == 0
    assert "there already" in said(again)
    assert only_sidecar(tmp_path / "plans") == before
    assert "built in" in said(run("--precision", "fp32", "--again"))
    assert "built in" in said(run("--precision", "fp32", "--sm", "8.9"))
    assert "built in" in said(run("--precision", "fp32", "--buckets", "1"))
    assert "built in" in said(run("--precision", "fp32", "--tf32"))
    assert len(list((tmp_path / "plans").glob("*.json"))) == 4


def test_the_graph_of_another_engine_of_that_precision_is_taken(
    run: Callable[..., Result], bundle: Bundle, tmp_path: Path
) -> None:
    part = EnginePart(runtime="onnxruntime", precision="fp16", file="half.onnx")
    path = bundles.with_engine(bundle, part, {"half.onnx": network("fp16")}, tmp_path / "with.zip")
    result = run("--precision", "fp16", "--out", str(tmp_path / "out.zip"), path=path)
    assert result.exit_code == 0, result.output
    parts = {one.name: one.file for one in bundles.read(tmp_path / "out.zip").manifest.engines}
    assert parts == {"onnxruntime-fp16": "half.onnx", "tensorrt-fp16": "half.onnx"}


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_eight_bits_need_a_calibrated_graph(
    run: Callable[..., Result], bundle: Bundle, tmp_path: Path, precision: str
) -> None:
    result = run("--precision", precision)
    assert isinstance(result.exception, ExportError)
    named = " --runtime tensorrt" if precision == "int8" else ""
    assert f"vireid export {precision} {bundle.path}{named} --calibrate DIR" in str(result.exception)
    part = EnginePart(runtime="tensorrt", precision=precision, file="q.onnx")  # type: ignore[arg-type]
    path = bundles.with_engine(bundle, part, {"q.onnx": network(precision)}, tmp_path / "with.zip")
    result = run("--precision", precision, path=path)
    assert result.exit_code == 0, result.output
    assert only_sidecar(tmp_path / "plans").purpose.precision == precision


def test_only_the_plan_is_made_if_asked_for(run: Callable[..., Result], bundle: Bundle) -> None:
    before = bundle.path.read_bytes()
    assert run("--precision", "fp16", "--plan-only").exit_code == 0
    assert bundle.path.read_bytes() == before
    assert run("--precision", "fp16").exit_code == 0
    assert run("--precision", "fp32").exit_code == 0
    names = [part.name for part in bundles.read(bundle.path).manifest.engines]
    assert names == ["tensorrt-fp16", "tensorrt-fp32"]
    after = bundle.path.read_bytes()
    assert run("--precision", "fp32").exit_code == 0
    assert bundle.path.read_bytes() == after


def test_a_bundle_folder_is_not_replaced(run: Callable[..., Result], bundle: Bundle, tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "folder", bundle.manifest, bundle.contents)
    result = run("--precision", "fp16", path=folder)
    assert isinstance(result.exception, AlreadyExists)
    assert "--out" in str(result.exception)
    assert not list((tmp_path / "plans").glob("*"))


def test_progress_is_told_in_lines_that_a_program_reads(run: Callable[..., Result]) -> None:
    result = run("--precision", "fp32", "--progress-lines")
    told = [json.loads(line)["done"] for line in result.stdout.splitlines() if line.startswith("{")]
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 5


def test_the_line_for_nvidias_own_program(run: Callable[..., Result], tmp_path: Path) -> None:
    graph = tmp_path / "given.onnx"
    result = run("--precision", "fp32", "--graph-out", str(graph), "--level", "2")
    (line,) = (one for one in result.stdout.splitlines() if one.startswith("the same by hand: "))
    words = shlex.split(line.removeprefix("the same by hand: "))
    assert words[:2] == ["tensorrt_rtx", f"--onnx={graph}"]
    assert words[3:11] == [
        "--profile=0",
        "--minShapes=images:1x32x16x3,modality:1",
        "--optShapes=images:1x32x16x3,modality:1",
        "--maxShapes=images:1x32x16x3,modality:1",
        "--profile=1",
        "--minShapes=images:2x32x16x3,modality:2",
        "--optShapes=images:4x32x16x3,modality:4",
        "--maxShapes=images:4x32x16x3,modality:4",
    ]
    assert words[11:] == ["--noTF32", "--builderOptimizationLevel=2"]
    onnx.checker.check_model(onnx.load(graph))


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--precision", "fp64"), "found the precision 'fp64'"),
        (("--buckets", "2-4"), "found the bucket '2-4'"),
        (("--sm", "9.0"), "cannot build for compute capability 9.0"),
        (("--flavour", "openvino"), "found the TensorRT flavour"),
    ],
)
def test_bad_words_are_refused(
    run: Callable[..., Result], tmp_path: Path, words: tuple[str, ...], match: str
) -> None:
    result = run(*words)
    assert result.exception is not None
    assert match in str(result.exception)
    assert not list((tmp_path / "plans").glob("[!.]*"))


def test_a_library_that_builds_on_a_gpu_only(bundle: Bundle, workshop: Workshop, exam: Exam) -> None:
    full = replace(workshop, library=replace(workshop.library, name="tensorrt"))
    part, _ = tensorrt_part.graph_of(bundle, "fp32")
    with pytest.raises(ProviderUnavailable, match=r"tensorrt_rtx .* builds ahead of time"):
        tensorrt_part.make(bundle, part, full, lambda: exam)
