"""Engines in a bundle: faster forms of one model that share its embedding space."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vireid import bundle
from vireid.bundle import EnginePart
from vireid.errors import BundleCorrupt, BundleError

MODEL, SMALL = b"model", b"fewer bits"


@pytest.fixture
def plain(tmp_path: Path) -> bundle.Bundle:
    manifest = bundle.Manifest.model_validate(
        {
            "name": "tiny",
            "method": "none",
            "model": {"opset": 18, "dim": 4},
            "preprocess": {"height": 32, "width": 16, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
            "files": {},
        }
    )
    return bundle.read(bundle.write(tmp_path / "plain.zip", manifest, {"model.onnx": MODEL}))


def int8(**changes: Any) -> EnginePart:
    words: dict[str, Any] = {"runtime": "onnxruntime", "precision": "int8", "file": "int8.onnx"}
    return EnginePart.model_validate(words | changes)


def test_an_engine_shares_the_space_of_its_model(plain: bundle.Bundle, tmp_path: Path) -> None:
    path = bundle.with_engine(plain, int8(parity={"passed": True}), {"int8.onnx": SMALL}, tmp_path / "b.zip")
    read = bundle.read(path)
    assert read.space_id == plain.space_id
    assert [(part.name, part.proven) for part in read.manifest.engines] == [("onnxruntime-int8", True)]
    assert read.file("int8.onnx") == SMALL
    assert read.file("model.onnx") == MODEL


def test_a_bundle_without_engines_is_written_as_before(plain: bundle.Bundle) -> None:
    assert b"engines" not in plain.path.read_bytes()
    assert plain.manifest.engines == ()


@pytest.mark.parametrize("parity", [{}, {"passed": False}, {"passed": 1}, {"passed": "True"}])
def test_only_a_report_that_passed_proves(parity: dict[str, Any]) -> None:
    assert not int8(parity=parity).proven


def test_another_of_the_same_name_takes_the_place_and_its_files_go(
    plain: bundle.Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "b.zip"
    first = int8(file="first.onnx", report="first.html")
    bundle.with_engine(plain, first, {"first.onnx": b"1", "first.html": b"page"}, path)
    bundle.with_engine(bundle.read(path), int8(), {"int8.onnx": SMALL}, path)
    assert sorted(bundle.read(path).contents) == ["int8.onnx", "model.onnx"]


def test_a_graph_that_another_engine_uses_stays(plain: bundle.Bundle, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    bundle.with_engine(plain, int8(), {"int8.onnx": SMALL}, path)
    other = int8(runtime="openvino")
    bundle.with_engine(bundle.read(path), other, {}, path)
    bundle.with_engine(bundle.read(path), int8(file="model.onnx"), {}, path)
    assert sorted(bundle.read(path).contents) == ["int8.onnx", "model.onnx"]


def test_a_model_may_run_elsewhere_as_it_is(plain: bundle.Bundle, tmp_path: Path) -> None:
    part = int8(runtime="openvino", precision="bf16", file="model.onnx")
    path = bundle.with_engine(plain, part, {}, tmp_path / "b.zip")
    bundle.with_engine(bundle.read(path), part.model_copy(update={"parity": {"passed": True}}), {}, path)
    assert sorted(bundle.read(path).contents) == ["model.onnx"]
    assert bundle.read(path).manifest.engines[0].proven


@pytest.mark.parametrize(
    ("part", "files", "words"),
    [
        (int8(), {}, "needs 'int8.onnx'"),
        (int8(report="page.html"), {"int8.onnx": SMALL}, "needs 'page.html'"),
        (int8(precision="fp32"), {"int8.onnx": SMALL}, "onnxruntime-fp32 not listed"),
        (int8(), {"int8.onnx": SMALL, "model.onnx": b"another"}, "may not replace the model"),
    ],
)
def test_what_cannot_be_is_not_written(
    plain: bundle.Bundle, tmp_path: Path, part: EnginePart, files: dict[str, bytes], words: str
) -> None:
    path = tmp_path / "b.zip"
    with pytest.raises(BundleError, match=words):
        bundle.with_engine(plain, part, files, path)
    assert not path.exists()


def test_an_engine_without_a_checksum_is_damage(plain: bundle.Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    bundle.with_engine(plain, int8(), {"int8.onnx": SMALL}, folder)
    text = (folder / "bundle.json").read_text()
    at = text.index('"int8.onnx": "')
    end = text.index("\n", at)
    seal = text.index('"seal"')
    cut = text[:at].rstrip() + text[end:seal] + '"seal": ""\n}\n'
    (folder / "bundle.json").write_text(cut)
    with pytest.raises(BundleCorrupt, match=r"no checksum for 'int8\.onnx'"):
        bundle.read(folder)


def test_where_a_beginning_in_fp32_ends_is_written_only_of_an_engine_that_has_one(
    plain: bundle.Bundle, tmp_path: Path
) -> None:
    words = {"runtime": "openvino", "precision": "bf16", "file": "model.onnx", "fp32_until": "relu_3"}
    folder = tmp_path / "folder"
    first = bundle.with_engine(plain, int8(), {"int8.onnx": SMALL}, tmp_path / "first.zip")
    bundle.with_engine(bundle.read(first), EnginePart.model_validate(words), {}, folder)
    written = json.loads((folder / "bundle.json").read_text())["engines"]
    assert [engine.get("fp32_until") for engine in written] == [None, "relu_3"]
    assert [part.fp32_until for part in bundle.read(folder).manifest.engines] == ["", "relu_3"]


def test_only_openvino_is_told_where_its_beginning_in_fp32_ends() -> None:
    words = {"runtime": "openvino", "precision": "bf16", "file": "model.onnx", "fp32_until": "relu_3"}
    assert EnginePart.model_validate(words).fp32_until == "relu_3"
    for other in ({"runtime": "tensorrt"}, {"precision": "int8"}):
        with pytest.raises(ValidationError, match="begins in fp32 until 'relu_3'; only openvino-bf16 can"):
            EnginePart.model_validate(words | other)
