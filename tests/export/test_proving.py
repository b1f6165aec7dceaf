"""An engine is opened as it will be served, and written only with a report that passed; and the commands around it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from export import exam as exams
from export import proving
from export.command import app
from export.exam import Exam
from tests.export import small_bundle
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.engines import tensorrt_library
from vireid.errors import ExportError

HEIGHT, WIDTH, DIM = 32, 16, 12


def graph(spoil: float = 0.0, twice: bool = False) -> bytes:
    """Columns' means through a projection; or one with other weights, or with pictures divided by 255 twice."""
    random = np.random.default_rng(4)
    projection = random.standard_normal((WIDTH * 3, DIM)).astype(np.float32)
    projection += spoil * np.random.default_rng(5).standard_normal(projection.shape).astype(np.float32)
    weights = {
        "scale": np.float32(1 / 255 / (255 if twice else 1)),
        "axes": np.array([1]),
        "flat": np.array([0, WIDTH * 3]),
        "projection": projection,
        "shifts": 0.3 * random.standard_normal((2, DIM)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["light"]),
        helper.make_node("ReduceMean", ["light", "axes"], ["columns"], keepdims=0),
        helper.make_node("Reshape", ["columns", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["projected"]),
        helper.make_node("Gather", ["shifts", "modality"], ["shift"], axis=0),
        helper.make_node("Add", ["projected", "shift"], ["rows"]),
        helper.make_node("LpNormalization", ["rows"], ["embeddings"], axis=1, p=2),
    ]
    made = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3]),
            helper.make_tensor_value_info("modality", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundles.read(small_bundle.write(tmp_path / "tiny.zip", graph(), parity={"passed": True}))


@pytest.fixture(scope="module")
def exam() -> Exam:
    random = np.random.default_rng(3)
    people = random.integers(0, 255, (20, 1, WIDTH, 3))
    images = [
        np.clip(people[one] + random.normal(0, 12, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        for one in range(20)
        for _ in range(3)
    ]
    return Exam(
        np.stack(images),
        np.repeat(np.arange(20), 3),
        np.tile([1, 2, 3], 20),
        np.tile([0, 0, 1], 20),
        "twenty patterns",
    )


def part(name: str, file: str = "model.onnx") -> EnginePart:
    runtime, precision = name.split("-")
    return EnginePart.model_validate({"runtime": runtime, "precision": precision, "file": file})


def test_an_engine_that_is_near_enough_is_written_with_its_report_and_page(
    bundle: Bundle, exam: Exam, tmp_path: Path
) -> None:
    out = tmp_path / "more.zip"
    told: list[int] = []
    report = proving.prove_and_add(bundle, part("openvino-fp32"), {}, exam, out, advance=told.append)
    assert report.passed
    assert sum(told) > 2 * len(exam)
    read = bundles.read(out)
    (found,) = read.manifest.engines
    assert (found.name, found.proven) == ("openvino-fp32", True)
    assert found.parity["origin"] == "twenty patterns"
    assert read.space_id == bundle.space_id
    page = read.file(found.report).decode()
    assert "✓ Passed" in page
    assert page.count("data:image/jpeg;base64,") > 20
    assert "http" not in page.replace("http://www.w3.org/", "").replace("http-equiv", "")


def test_the_same_examination_gives_the_same_bundle(bundle: Bundle, exam: Exam, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        proving.prove_and_add(bundle, part("openvino-fp32"), {}, exam, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (graph(spoil=0.8), r"onnxruntime-int8 is not near enough .*cosine mean 0\.\d+ at batch 1, 2, 7"),
        (graph(twice=True), "the candidate does not tell people apart"),
    ],
)
def test_an_engine_that_differs_is_not_written_unless_told_so(
    bundle: Bundle, exam: Exam, tmp_path: Path, data: bytes, words: str
) -> None:
    out, files = tmp_path / "more.zip", {"int8.onnx": data}
    engine = part("onnxruntime-int8", "int8.onnx")
    with pytest.raises(ExportError, match=words):
        proving.prove_and_add(bundle, engine, files, exam, out)
    assert not out.exists()
    report = proving.prove_and_add(bundle, engine, files, exam, out, keep_failed=True)
    assert not report.passed
    (found,) = bundles.read(out).manifest.engines
    assert not found.proven
    assert found.parity["failures"]
    assert "✗ Failed" in bundles.read(out).file(found.report).decode()


def test_an_engine_without_a_graph_is_refused(bundle: Bundle, exam: Exam, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"needs 'int8\.onnx'; the files are \['model\.onnx'\]"):
        proving.prove_and_add(bundle, part("onnxruntime-int8", "int8.onnx"), {}, exam, tmp_path / "b.zip")


# ---- commands ---------------------------------------------------------------------------
@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, exam: Exam) -> Callable[..., tuple[int, str]]:
    """Run a command on the patterns instead of on drawn people."""
    monkeypatch.setattr(exams, "drawn", lambda *_, **__: exam)

    def go(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return 1, str(result.exception)
        return result.exit_code, result.output

    return go


Run = Callable[..., tuple[int, str]]


def test_openvino_is_added_and_examined_again(bundle: Bundle, run: Run) -> None:
    code, said = run("openvino", str(bundle.path), "--precision", "fp32")
    assert code == 0
    assert "openvino-fp32" in said
    assert "passed" in said
    code, said = run("parity", str(bundle.path))
    assert code == 0, said
    assert f"next     vireid serve --bundle {bundle.path}" in said
    assert bundles.read(bundle.path).manifest.engines[0].proven


def test_an_engine_that_fails_later_loses_its_proof(bundle: Bundle, run: Run, tmp_path: Path) -> None:
    """As where it was proven on another machine, or on images that did not show it."""
    claimed = part("onnxruntime-int8", "int8.onnx").model_copy(update={"parity": {"passed": True}})
    bundles.with_engine(bundle, claimed, {"int8.onnx": graph(spoil=0.8)}, bundle.path)
    code, said = run("parity", str(bundle.path), "--engine", "onnxruntime-int8")
    assert code == 1
    assert "FAILED" in said
    assert "onnxruntime-int8: cosine mean" in said
    assert not bundles.read(bundle.path).manifest.engines[0].proven


@pytest.mark.parametrize(("asked", "status"), [((), 0), (("--engine", "openvino-fp16"), 1)])
def test_an_engine_that_cannot_run_here_is_told_and_left_as_it_is(
    bundle: Bundle, run: Run, asked: tuple[str, ...], status: int
) -> None:
    bundles.with_engine(bundle, part("openvino-fp16"), {}, bundle.path)
    before = bundle.path.read_bytes()
    code, said = run("parity", str(bundle.path), *asked)
    assert code == status
    assert "cannot run here" in said
    assert "FAILED" not in said
    assert "openvino-fp16: found fp16 for OpenVINO on a CPU" in said
    assert bundle.path.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("parity",),
        ("openvino", "--precision", "fp32"),
        ("int8", "--calibrate", "crops"),
        ("fp8", "--calibrate", "crops"),
        ("onnx", "--precision", "fp16"),
        ("tensorrt", "--precision", "fp32", "--flavour", "tensorrt_rtx"),
    ],
)
def test_another_bundle_is_not_replaced_unasked(
    bundle: Bundle, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(tensorrt_library, "load", lambda _: None)
    there = tmp_path / "there.zip"
    there.write_bytes(b"of last week")
    code, said = run(words[0], str(bundle.path), *words[1:], "--out", str(there))
    assert code == 1
    assert f"{there} exists already; name another --out, or replace it with --replace" in said
    assert there.read_bytes() == b"of last week"


def test_a_bundle_is_replaced_where_that_is_asked_and_by_its_own_name(bundle: Bundle, run: Run) -> None:
    there = bundle.path.with_name("there.zip")
    there.write_bytes(b"of last week")
    words = ("openvino", str(bundle.path), "--precision", "fp32", "--out")
    assert run(*words, str(there), "--replace")[0] == 0
    assert bundles.read(there).manifest.engines
    assert not bundles.read(bundle.path).manifest.engines
    assert run(*words, str(bundle.path))[0] == 0
    assert bundles.read(bundle.path).manifest.engines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("parity",), "holds its model only"),
        (("parity", "--engine", "onnxruntime-fp32"), "is the model itself"),
        (("parity", "--engine", "onnxruntime-int9"), "has no engine 'onnxruntime-int9'"),
        (("openvino", "--precision", "fp8"), "expected one of bf16, fp32, int8"),
        (("openvino", "--precision", "int8"), "holds no quantised graph; make one first"),
    ],
)
def test_what_cannot_be_examined_says_what_to_do(
    bundle: Bundle, run: Run, arguments: tuple[str, ...], words: str
) -> None:
    code, said = run(arguments[0], str(bundle.path), *arguments[1:])
    assert code == 1
    assert words in said


def test_a_folder_is_not_replaced(bundle: Bundle, run: Run, tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "folder", bundle.manifest, bundle.contents)
    code, said = run("openvino", str(folder), "--precision", "fp32")
    assert code == 1
    assert "which is not replaced" in said
    code, said = run("openvino", str(folder), "--precision", "fp32", "--out", str(tmp_path / "new.zip"))
    assert code == 0, said


def test_openvino_takes_the_graph_that_is_quantised_already(bundle: Bundle, run: Run) -> None:
    claimed = part("onnxruntime-int8", "int8.onnx")
    bundles.with_engine(bundle, claimed, {"int8.onnx": graph()}, bundle.path)
    code, said = run("openvino", str(bundle.path), "--precision", "int8")
    # this one is quantised in name only, and OpenVINO says so
    assert code == 1
    assert "promises int8" in said
