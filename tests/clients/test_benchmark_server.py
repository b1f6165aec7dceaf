"""``vireid bench`` with a server of its own: started, dead, killed, interrupted; nothing is left behind."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clients import local_server
from clients.bench_command import app

QUICK = ("--seconds", 0.1, "--warm-up", 0.05, "--clients", 2)
ROOT = Path(__file__).parents[2]


def _bench(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _fails(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output


def _galleries(live: Any) -> list[str]:
    caller = live.connect("grpc")
    names = [info.name for info in caller("list_galleries")]
    caller.close()
    return names


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_a_server_of_its_own(
    people: Path,
    tmp_path: Path,
    wire: str,
    left_behind: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIREID_API_KEYS", "a-key-of-another-server")
    out = tmp_path / "figures.json"
    result = _bench(
        people, "--local", "--bundle", "fake", "--set", "workers=1", "--wire", wire, *QUICK, "--json", out
    )
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert figures["server"]["local"]
    assert figures["server"]["info"]["model"]["name"] == "fake"
    assert {each["wire"] for each in figures["speed"]} == {wire}
    assert 0.1 < figures["cold_start"]["ready_s"] < figures["cold_start"]["first_answer_s"]
    assert "to the first answer" in result.output


def test_a_server_that_does_not_start_shows_why(people: Path, left_behind: Callable[[], list[str]]) -> None:
    result = _bench(people, "--local", "--bundle", "/nowhere/bundle", *QUICK)
    _fails(
        result,
        "ended by itself with status 2",
        "there is no bundle at /nowhere/bundle",
        "[SERVER_UNREACHABLE]",
    )


def test_a_server_that_is_never_ready(
    monkeypatch: pytest.MonkeyPatch, left_behind: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(
        local_server, "RUN", "import time; print('still loading', flush=True); time.sleep(60)"
    )
    monkeypatch.setattr(local_server, "START_WITHIN_S", 1.0)
    with (
        pytest.raises(local_server.ServerUnreachable, match=r"not ready within 1 s(.|\n)*still loading"),
        local_server.local_server("fake"),
    ):
        pytest.fail("it is not ready")


def test_a_server_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, left_behind: Callable[[], list[str]]
) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('gRPC a:1', flush=True); print('http://a:2', flush=True); time.sleep(60)"
    )
    monkeypatch.setattr(local_server, "RUN", stubborn)
    monkeypatch.setattr(local_server, "END_WITHIN_S", 0.3)
    with local_server.local_server("fake") as started:
        assert (started.grpc, started.http) == ("a:1", "http://a:2")


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_a_server_that_dies_half_way(
    people: Path, wire: str, left_behind: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    addresses = local_server._addresses

    def watched(process: Any, log: Path) -> tuple[str, str]:
        found = addresses(process, log)
        started.append(process)
        threading.Timer(1.5, process.kill).start()  # by then it measures
        return found

    monkeypatch.setattr(local_server, "_addresses", watched)
    began = time.monotonic()
    result = _bench(people, "--local", "--bundle", "fake", "--wire", wire, "--seconds", 60)
    _fails(result, "asking: 4/4", "ended by itself with status -9", "gRPC", "[SERVER_UNREACHABLE]")
    assert time.monotonic() - began < 20
    assert started[0].returncode == -9


def _interrupted(*arguments: Any, number: int) -> tuple[int, str]:
    """Run a benchmark and send it a signal while it measures; its status and what it wrote."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from vireid.command import main; main()"
    )
    command = [sys.executable, "-c", code, "bench", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    assert process.stdout is not None
    told = ""
    while not re.search("^asking", told, re.MULTILINE):
        line = process.stdout.readline()
        assert line, told
        told += line
    time.sleep(0.3)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    return process.returncode, told + rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_no_server_behind(
    people: Path, number: int, left_behind: Callable[[], list[str]]
) -> None:
    status, told = _interrupted(people, "--local", "--bundle", "fake", "--seconds", 60, number=number)
    assert status not in {0, -number}
    assert "Traceback" not in told


def test_an_interruption_leaves_no_gallery_behind(live: Any, people: Path) -> None:
    status, told = _interrupted(people, "--server", live.grpc, "--seconds", 60, number=signal.SIGINT)
    assert status != 0
    assert "Traceback" not in told
    assert _galleries(live) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_even_when_it_is_killed_its_server_ends(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    status, _ = _interrupted(people, "--local", "--bundle", "fake", "--seconds", 60, number=signal.SIGKILL)
    assert status == -signal.SIGKILL
    ends = time.monotonic() + 15
    while (still := _served_from(tmp_path)) and time.monotonic() < ends:
        time.sleep(0.1)
    assert still == []


def _served_from(folder: Path) -> list[str]:
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:  # it ended meanwhile
            continue
        if "serve" in words and any(word.startswith(str(folder)) for word in words):
            found.append(" ".join(words))
    return found
