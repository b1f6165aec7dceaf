"""``vireid doctor`` tells what works, what does not, and fails only for what should work."""

import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from typer.testing import CliRunner

from vireid import bundle
from vireid.engines.command import app, examine
from vireid.engines.onnx import CUDA


def test_a_sound_machine() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0, result.output
    assert "FAILS" not in result.output
    words = " ".join(result.output.split())
    for word in ("python", "onnxruntime", "CPUExecutionProvider", "faiss", "checksums match", "ms an image"):
        assert word in words


def test_every_runtime_has_a_line_and_what_is_missing_is_no_fault() -> None:
    result = CliRunner().invoke(app, [])
    words = " ".join(result.output.split())
    for name in ("onnxruntime CUDA", "openvino", "tensorrt", "tensorrt_rtx", "search on a GPU", "auto takes"):
        assert name in words
    assert "onnxruntime-fp32, the only engine" in words


def test_engines_are_tried_and_told_by_name(
    part_of: Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]], tmp_path: Path
) -> None:
    whole, part = part_of("openvino-fp32")
    failed = part.model_copy(
        update={"precision": "bf16", "parity": {"passed": False, "failures": ["cosine min 0.9"]}}
    )
    proven = part.model_copy(update={"parity": {"passed": True}})
    path = bundle.with_engine(whole, proven, {}, tmp_path / "more.zip")
    bundle.with_engine(bundle.read(path), failed, {}, path)
    found = {finding.what: finding for finding in examine(path, "cpu", 1)}
    assert "ms an image" in found["openvino-fp32"].found
    assert found["openvino-fp32"].found.endswith("; proven")
    assert found["openvino-fp32"].mark == "ok"
    assert "failed parity: cosine min 0.9" in found["openvino-bf16"].found
    assert found["not openvino-bf16"].found.startswith("it failed parity")


def test_an_engine_whose_runtime_is_not_installed_is_no_fault(
    part_of: Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = part_of("openvino-fp32")
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = {finding.what: finding for finding in examine(whole.path, "cpu", 1)}
    assert (found["openvino-fp32"].mark, found["openvino-fp32"].sound) == ("-", True)
    assert "MISSING_EXTRA" in found["openvino-fp32"].found
    assert found["onnxruntime-fp32"].mark == "ok"


def test_a_graph_that_cannot_be_loaded_is_a_fault(
    part_of: Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]],
) -> None:
    whole, part = part_of("onnxruntime-int8")
    bundle.write(whole.path, whole.manifest, {**whole.contents, part.file: b"no graph"})
    found = {finding.what: finding for finding in examine(whole.path, "cpu", 1)}
    assert found["onnxruntime-int8"].mark == "FAILS"
    assert "BUNDLE_CORRUPT" in found["onnxruntime-int8"].found
    assert found["auto takes"].sound


def test_a_given_bundle(tiny: bundle.Bundle) -> None:
    result = CliRunner().invoke(app, ["--bundle", str(tiny.path), "--threads", "2", "--device", "cpu"])
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "32 x 16 to 8 numbers" in words
    assert "2 threads" in words


def test_a_bundle_that_nobody_proved_cannot_serve_and_is_a_fault(tiny: bundle.Bundle) -> None:
    unproven = tiny.manifest.model_copy(update={"parity": {}})
    bundle.write(tiny.path, unproven, tiny.contents)
    found = {finding.what: finding for finding in examine(tiny.path, "cpu", 1)}
    assert found["onnxruntime-fp32"].sound
    assert "not proven" in found["onnxruntime-fp32"].found
    assert not found["auto takes"].sound
    assert "ENGINE_UNPROVEN" in found["auto takes"].found


def test_a_missing_bundle(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--bundle", str(tmp_path / "none.zip")])
    assert result.exit_code == 1
    assert "BUNDLE_MISSING" in result.output


def test_a_damaged_bundle(tiny: bundle.Bundle) -> None:
    data = bytearray(tiny.path.read_bytes())
    data[100] ^= 4
    tiny.path.write_bytes(data)
    findings = list(examine(tiny.path, "auto", 1))
    assert [finding.what for finding in findings if not finding.sound] == ["bundle"]


def test_a_device_that_is_not_there() -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime offers CUDA")
    result = CliRunner().invoke(app, ["--device", "cuda"])
    assert result.exit_code == 1
    assert "PROVIDER_UNAVAILABLE" in result.output
