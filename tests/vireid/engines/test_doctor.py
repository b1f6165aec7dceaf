"""``vireid doctor`` tells what works, what does not, and fails only for what should work."""

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


def test_a_given_bundle(tiny: bundle.Bundle) -> None:
    result = CliRunner().invoke(app, ["--bundle", str(tiny.path), "--threads", "2", "--device", "cpu"])
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "32 x 16 to 8 numbers" in words
    assert "2 thread(s)" in words


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
