"""Plans are whole or not there, whatever happens while they are written: full disks, killed writers, others at the same time."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vireid.engines.plan_parts import NEW, OLD, names, purpose, sidecar
from vireid.engines import plan_files
from vireid.engines.plans import PlanStore, Purpose, Sidecar
from vireid.errors import EngineError, StorageError


class Fails:
    """Lets a function work so many times, then fails as a full disk does."""

    def __init__(self, works: int, function: Callable[..., Any]) -> None:
        self.left, self.function = works, function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.function(*arguments, **named)


# what is called twice a plan: for the plan, then for its sidecar
STEPS = [("write", 0), ("write", 1), ("fsync", 0), ("fsync", 2), ("replace", 0), ("replace", 1)]


@pytest.mark.parametrize(("step", "works"), STEPS)
@pytest.mark.parametrize("before", [None, OLD])
def test_a_disk_that_fills_leaves_what_was_there(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch, step: str, works: int, before: bytes | None
) -> None:
    store.folder.mkdir(mode=0o700)
    if before is not None:
        store.keep(sidecar(), before)
    owner = Path if step == "replace" else plan_files.os
    with monkeypatch.context() as patch:
        failing = Fails(works, getattr(owner, step))
        # a plain function, so that a method stays one
        patch.setattr(owner, step, lambda *arguments: failing(*arguments))
        with pytest.raises(StorageError, match="No space left on device"):
            store.keep(sidecar(), NEW)
    assert not [name for name in names(store) if name.endswith(".part")]
    if before is None:
        with pytest.raises(EngineError, match="holds no fp16 plan"):
            store.find(purpose())
    else:
        assert store.find(purpose()).plan == before
    store.keep(sidecar(), NEW)
    assert store.find(purpose()).plan == NEW
    assert len(names(store)) == 2


def test_short_writes_are_finished(store: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(plan_files.os, "write", lambda handle, data: write(handle, bytes(data[:7])))
    store.keep(sidecar(), NEW)
    assert store.find(purpose()).plan == NEW


WRITER = """
    import os, sys, time
    from pathlib import Path
    from tests.vireid.engines.plan_parts import NEW, sidecar
    from vireid.engines import plan_files
    from vireid.engines.plans import PlanStore

    calls = 0

    def halt(function):
        def called(*arguments, **named):
            global calls
            calls += 1
            if calls > int(sys.argv[2]):
                print("here", flush=True)
                time.sleep(60)
            return function(*arguments, **named)
        return called

    plan_files.os.write = halt(os.write)
    plan_files.os.fsync = halt(os.fsync)
    Path.replace = halt(Path.replace)
    PlanStore(Path(sys.argv[1])).keep(sidecar(), NEW)
    print("done", flush=True)
"""


@pytest.mark.parametrize("works", range(8))
def test_a_killed_writer_leaves_what_was_there(store: PlanStore, works: int) -> None:
    store.keep(sidecar(), OLD)
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(store.folder), str(works)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "here\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait(30)
    writer.stdout.close()
    # eight steps: write, fsync, rename, fsync of the folder; for the plan, then for the sidecar, whose rename is the seventh
    assert store.find(purpose()).plan == (OLD if works < 7 else NEW)
    for part in store.folder.glob(".*.part"):
        os.utime(part, (time.time() - 3600,) * 2)
    store.keep(sidecar(), NEW)
    assert store.find(purpose()).plan == NEW
    assert len(names(store)) == 2


def test_a_writer_at_work_is_left_alone(store: PlanStore) -> None:
    store.keep(sidecar(), OLD)
    young = store.folder / ".young.part"
    young.write_bytes(b"half")
    plan_files.sweep(store.folder)
    assert young.exists()
    os.utime(young, (time.time() - 3600,) * 2)
    with young.open("rb") as held:
        plan_files.fcntl.flock(held, plan_files.fcntl.LOCK_EX)
        plan_files.sweep(store.folder)
        assert young.exists()
    plan_files.sweep(store.folder)
    assert not young.exists()


def test_two_that_keep_a_plan_at_once_leave_one_that_is_whole(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ends first may not remove what the other has written already."""
    write, first_plan, second_done = plan_files.write, threading.Event(), threading.Event()

    def in_turns(path: Path, data: bytes) -> None:
        write(path, data)
        if data == OLD:
            first_plan.set()
            second_done.wait(1)  # in vain where the second has to wait for the first

    monkeypatch.setattr(plan_files, "write", in_turns)
    slow = threading.Thread(target=store.keep, args=(sidecar(), OLD))
    slow.start()
    assert first_plan.wait(10)
    store.keep(sidecar(), NEW)
    second_done.set()
    slow.join(10)
    assert store.find(purpose()).plan in (OLD, NEW)
    assert len(names(store)) == 2


def test_a_plan_that_is_replaced_while_it_is_looked_up_is_found(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(sidecar(), OLD)
    look, looked = store.sidecar, []

    def late(*purposes: Purpose) -> Sidecar:
        found = look(*purposes)
        if not looked:
            looked.append(found)
            store.keep(sidecar(), NEW)
        return found

    monkeypatch.setattr(store, "sidecar", late)
    assert store.find(purpose()).plan == NEW
