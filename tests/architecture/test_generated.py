"""The committed stubs are what the compiler makes of the committed contract."""

import subprocess
import sys
from pathlib import Path

import pytest

PROTO = "vireid/proto/retrieval.proto"
STUBS = ("retrieval_pb2.py", "retrieval_pb2.pyi", "retrieval_pb2_grpc.py")


@pytest.fixture(scope="module")
def fresh(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("grpc_tools")
    out = tmp_path_factory.mktemp("stubs")
    command = [
        sys.executable, "-m", "grpc_tools.protoc", "-I", ".",
        f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}", PROTO,
    ]  # fmt: skip
    subprocess.run(command, cwd=repository, check=True)
    return out / "vireid" / "proto"


@pytest.mark.parametrize("stub", STUBS)
def test_stub_is_current(stub: str, fresh: Path, repository: Path) -> None:
    committed = (repository / "vireid" / "proto" / stub).read_text()
    assert committed == (fresh / stub).read_text(), f"{stub} is stale: run make protos"
