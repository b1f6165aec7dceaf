"""Two processes that want one TensorRT plan build it once; what holds the others back dies with its holder."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.vireid.engines.plan_parts import NEW, purpose, sidecar
from vireid.bundle import Bundle
from vireid.engines.plans import PlanStore

pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")

BUILDER = """
import logging, sys, time
from pathlib import Path
from export import tensorrt_part, to_tensorrt
from export.tensorrt_part import Workshop
from vireid import bundle as bundles
from vireid.engines import tensorrt_library
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_buckets import Bucket

path, folder = map(Path, sys.argv[1:])
whole = bundles.read(path)
part, _ = tensorrt_part.graph_of(whole, "fp32")
build = to_tensorrt.build

def slowly(*words):
    print("builds", flush=True)
    sys.stdin.readline()
    return build(*words)

to_tensorrt.build = slowly
class Told(logging.Handler):
    def emit(self, record):
        print("waits" if "waiting for it" in record.getMessage() else "?", flush=True)
logging.getLogger("vireid").addHandler(Told())
choices = Choices(folder=folder, buckets=(Bucket(1, 1, 1),))
made = tensorrt_part.make(whole, part, Workshop(tensorrt_library.load("tensorrt_rtx"), None, choices), None)
print("built" if made.built else "found", made.sidecar.file, flush=True)
"""


def start(bundle: Path, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(bundle), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def go_on(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return line(process)


@pytest.mark.parametrize("killed", [False, True])
def test_one_builds_and_the_other_waits(bundle: Bundle, tmp_path: Path, killed: bool) -> None:
    folder = tmp_path / "plans"
    with start(bundle.path, folder) as first:
        assert line(first) == ["builds"]
        with start(bundle.path, folder) as second:
            assert line(second) == ["waits"]
            if killed:
                first.kill()
                assert line(second) == ["builds"]
                assert go_on(second)[0] == "built"
            else:
                built = go_on(first)
                assert built[0] == "built"
                assert line(second) == ["found", built[1]]
    assert len(list(folder.glob("*.plan"))) == 1


def test_another_plan_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = PlanStore(tmp_path / "plans")
    with store.building(purpose()), store.building(purpose(precision="bf16")):
        store.keep(sidecar(), NEW)
    assert store.find(purpose()).plan == NEW
    assert not caplog.records
