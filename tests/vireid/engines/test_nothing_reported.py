"""The runtimes of others keep no number for this machine and send nothing, however vireid loads them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SILENCING = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in an environment that asks nobody to be silent."""
    for name in SILENCING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def run(program: str) -> str:
    return subprocess.check_output([sys.executable, "-c", program], text=True, timeout=120)


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def test_onnx_runtime_leaves_no_trace(home: Path) -> None:
    run("import vireid.engines.onnx")
    assert files(home) == []


def test_who_wants_onnx_runtime_to_report_may_say_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "import os, vireid; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(told) == "1\n"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert run(told) == "0\n"


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
@pytest.mark.parametrize("way", ["openvino.core()", "runtimes.survey()"])
def test_openvino_leaves_no_trace_and_is_whole(home: Path, way: str) -> None:
    said = run(
        f"import sys; from vireid.engines import openvino, runtimes; {way}\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
        "import openvino; print(callable(openvino.convert_model))"
    )
    assert said == "[]\nTrue\n"
    assert files(home) == []
