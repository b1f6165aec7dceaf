"""A machine that only asks needs no arrays, no index, no model runtime and no web framework."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "faiss", "onnxruntime", "torch", "PIL", "fastapi", "pydantic", "uvicorn")


@pytest.mark.parametrize("module", ["query_command", "upload_command", "bench_command"])
def test_a_command_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, clients.{module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
