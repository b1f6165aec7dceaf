"""``vireid data synth`` as it is typed; and what is left when it is stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vireid.command import app
from vireid.errors import DatasetError, InvalidRequest


def test_it_draws_and_tells(tmp_path: Path) -> None:
    root = tmp_path / "set"
    words = ["data", "synth", "--preset", "regdb-like", "--people", "4", "--images-per-camera", "1"]
    told = CliRunner().invoke(app, [*words, "--workers", "1", "--seed", "3", str(root)])
    assert told.exit_code == 0, told.output
    assert f"{root}: 4 people, 8 crops, in the layout of regdb" in told.output.replace("\n", "")
    assert len(list(root.rglob("*.bmp"))) == 8
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--preset", "market"], InvalidRequest, "known are sysu-like, llcm-like, regdb-like"),
        (["--people", "1"], InvalidRequest, "1 people; expected 4 or more"),
        (["--seed", "-1"], InvalidRequest, "seed: found -1, expected 0 or more"),
        (["--workers", "0"], InvalidRequest, "workers: found 0, expected 1 or more"),
        (["--images-per-camera", "0"], InvalidRequest, "images a camera: found 0"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    words: list[str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    told = CliRunner().invoke(app, ["data", "synth", *words, str(tmp_path / "set")])
    assert isinstance(told.exception, error)
    assert message in str(told.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    told = CliRunner().invoke(app, ["data", "synth", str(tmp_path)])
    assert isinstance(told.exception, DatasetError)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("how", "workers"),
    [(signal.SIGINT, "1"), (signal.SIGTERM, "2"), (signal.SIGKILL, "2")],
)
def test_a_stopped_run_leaves_no_dataset_and_no_process(
    how: signal.Signals, workers: str, tmp_path: Path
) -> None:
    words = ["data", "synth", "--preset", "regdb-like", "--people", "900", "--workers", workers]
    run = subprocess.Popen(
        [sys.executable, "-c", "from vireid.command import main; main()", *words, str(tmp_path / "set")],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _until(lambda: len(list(tmp_path.rglob("*.bmp"))) > 3)
        children = _children(run.pid)
        os.kill(run.pid, how)
        told = run.communicate(timeout=60)[1]
        assert not (tmp_path / "set").exists()
        if how is signal.SIGKILL:
            assert run.returncode == -how
            # what could not be taken away is hidden and no dataset: lists and marker come last
            assert not list(tmp_path.rglob("synthetic.json"))
            assert not list(tmp_path.rglob("idx"))
        else:
            assert run.returncode == 128 + how, told
            assert "Traceback" not in told
            assert list(tmp_path.iterdir()) == []
        assert len(children) >= (2 if workers == "2" else 0)
        _until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _until(true: object, patience_s: float = 40.0) -> None:
    deadline = time.monotonic() + patience_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
