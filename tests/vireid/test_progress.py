"""Progress: a bar where somebody looks, few plain lines where a log is written."""

import io
import re
import subprocess
import sys
import threading

import pytest

from vireid import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_come_every_five_seconds(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.bar("drawing", total=40, stream=out) as advance:
        for _ in range(40):
            clock[0] += 0.5
            advance(1)
    assert out.getvalue().splitlines() == [
        "drawing: 10/40 in 5.0 s (2.0/s, 15 s left)",
        "drawing: 20/40 in 10.0 s (2.0/s, 10 s left)",
        "drawing: 30/40 in 15.0 s (2.0/s, 5 s left)",
        "drawing: 40/40 in 20.0 s (2.0/s)",
    ]


def test_no_estimate_is_made_of_what_is_opened_first(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.bar("drawing", total=1000, stream=out) as advance:
        for seconds, steps in ((6, 1), (5, 29), (60, 970)):
            clock[0] += seconds
            advance(steps)
    with progress.bar("drawing", total=1000, stream=out) as advance:
        clock[0] += 40
        advance(2)
    assert out.getvalue().splitlines() == [
        "drawing: 1/1000 in 6.0 s (0.2/s)",
        "drawing: 30/1000 in 11.0 s (2.7/s, 356 s left)",
        "drawing: 1000/1000 in 71.0 s (14.1/s)",
        "drawing: 2/1000 in 40.0 s (0.1/s, 19960 s left)",
    ]


def test_short_work_is_one_line(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.bar("reading", stream=out) as advance:
        clock[0] += 2.0
        advance(500)
    assert out.getvalue() == "reading: 500 in 2.0 s (250.0/s)\n"


def test_nothing_to_do(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.bar("reading", total=0, stream=out):
        pass
    assert out.getvalue() == "reading: 0/0 in 0.0 s (0.0/s)\n"


def test_failed_work_is_not_called_done(clock: list[float]) -> None:
    out = io.StringIO()

    def work() -> None:
        with progress.bar("reading", total=3, stream=out) as advance:
            advance(1)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert out.getvalue() == ""


def test_threads_lose_no_step() -> None:
    out = io.StringIO()

    def work() -> None:
        for _ in range(5000):
            advance(1)

    with progress.bar("uploading", total=20_000, stream=out) as advance:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert out.getvalue().splitlines()[-1].startswith("uploading: 20000/20000 ")


@pytest.mark.parametrize("total", [3, None])
def test_a_terminal_sees_a_bar(total: int | None) -> None:
    out = Terminal()
    with progress.bar("drawing", total=total, stream=out) as advance:
        advance(3)
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).split("\r")[-1]
    assert last.startswith("drawing ━")
    assert f"3/{total or '?'}" in last


def test_it_speaks_on_standard_error_only() -> None:
    code = "from vireid import progress\nwith progress.bar('w', total=1) as a: a(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.startswith("w: 1/1 in ")
