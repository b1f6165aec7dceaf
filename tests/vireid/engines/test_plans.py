"""Plans on disk: whole or not there, whatever happens while they are written; and only what is ours."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vireid.engines import plan_files, tensorrt_buckets
from vireid.engines.plans import PlanStore, Purpose, Sidecar, sealed
from vireid.engines.tensorrt_buckets import Bucket
from vireid.errors import EngineError, SettingsError, StorageError

OLD, NEW = b"the old plan" * 100, b"the new plan" * 100


def purpose(**changes: Any) -> Purpose:
    words: dict[str, Any] = {
        "graph": "a" * 64,
        "module": "tensorrt",
        "version": "11.4.0.106",
        "gpu": "NVIDIA Test",
        "sm": "9.0",
        "precision": "fp16",
        "buckets": ((1, 1, 1), (2, 8, 8)),
    }
    return Purpose.model_validate(words | changes)


def sidecar(of: Purpose | None = None, **changes: Any) -> Sidecar:
    words: dict[str, Any] = {
        "purpose": of or purpose(),
        "file": "",
        "plan": "",
        "parsed": "b" * 64,
        "built_s": 12.5,
        "vireid": "0.1",
        "parity": {"passed": True},
    }
    return Sidecar.model_validate(words | changes)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def names(store: PlanStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


# ---- keeping and finding -----------------------------------------------------------
def test_what_was_kept_is_found(store: PlanStore) -> None:
    store.keep(sidecar(), NEW)
    found = store.find(purpose())
    assert found.plan == NEW
    assert found.sidecar == sealed(sidecar(), NEW)
    assert found.sidecar.proven


def test_the_folder_is_its_owners(store: PlanStore) -> None:
    store.keep(sidecar(), NEW)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in store.folder.iterdir())


def test_a_new_plan_replaces_the_old(store: PlanStore) -> None:
    store.keep(sidecar(), OLD)
    store.keep(sidecar(built_s=3), NEW)
    assert store.find(purpose()).plan == NEW
    assert len(names(store)) == 2


def test_the_page_of_its_report_is_kept_and_goes_with_it(store: PlanStore) -> None:
    store.keep(sidecar(), OLD, b"<p>passed</p>")
    first = store.find(purpose()).sidecar
    assert store.page(first) == b"<p>passed</p>"
    assert first.page.endswith(".parity.html")
    store.keep(sidecar(), OLD, b"<p>passed again</p>")
    assert store.page(store.find(purpose()).sidecar) == b"<p>passed again</p>"
    assert len(names(store)) == 3
    assert store.page(first) == b""  # somebody still holds the old sidecar
    store.keep(sidecar(), OLD)
    assert store.find(purpose()).sidecar.page == ""
    assert len(names(store)) == 2


def test_a_sidecar_of_before_pages_is_read(store: PlanStore) -> None:
    path = store.keep(sidecar(), OLD)
    words = json.loads(path.read_text())
    del words["page"]
    path.write_text(json.dumps(words))
    assert store.page(store.find(purpose()).sidecar) == b""


def test_plans_for_different_things_live_side_by_side(store: PlanStore) -> None:
    others = [purpose(precision="bf16"), purpose(gpu="NVIDIA Other"), purpose(version="11.5")]
    for number, other in enumerate([purpose(), *others]):
        store.keep(sidecar(other), b"%d" % number)
    assert [store.find(one).plan for one in [purpose(), *others]] == [b"0", b"1", b"2", b"3"]


def test_the_first_purpose_that_is_there_is_taken(store: PlanStore) -> None:
    ahead = purpose(gpu="", sm="any")
    store.keep(sidecar(ahead), OLD)
    assert store.find(purpose(), ahead).plan == OLD
    store.keep(sidecar(), NEW)
    assert store.find(purpose(), ahead).plan == NEW


def test_nothing_there(store: PlanStore) -> None:
    with pytest.raises(EngineError, match="holds no fp16 plan") as caught:
        store.find(purpose())
    assert caught.value.stable_reason == "PLAN_MISSING"
    store.keep(sidecar(purpose(graph="c" * 64)), OLD)
    with pytest.raises(EngineError, match="holds no fp16 plan"):
        store.find(purpose())


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"module": "tensorrt_rtx", "version": "1.7.1"}, {"module", "version"}),
        ({"version": "11.3"}, {"version"}),
        ({"module": "tensorrt_rtx"}, {"module"}),
        ({"gpu": "NVIDIA Other"}, {"gpu"}),
        ({"sm": "8.9"}, {"sm"}),
        ({"gpu": "NVIDIA Other", "sm": "8.9"}, {"gpu", "sm"}),
        ({"recipe": 0}, {"recipe"}),
    ],
)
def test_a_plan_for_something_else_names_what_differs(
    store: PlanStore, changes: dict[str, Any], differs: set[str]
) -> None:
    store.keep(sidecar(purpose(**changes)), OLD)
    with pytest.raises(EngineError, match="build it here with 'vireid export tensorrt'") as caught:
        store.find(purpose())
    assert caught.value.stable_reason == "PLAN_MISMATCH"
    assert set(caught.value.metadata["differs"].split(",")) == differs
    for name in differs:
        assert f"{name} {getattr(purpose(**changes), name)!r}, expected {getattr(purpose(), name)!r}" in str(
            caught.value
        )


def test_the_nearest_plan_is_told(store: PlanStore) -> None:
    store.keep(sidecar(purpose(gpu="NVIDIA Other", sm="8.9", version="10")), OLD)
    store.keep(sidecar(purpose(version="11.3")), OLD)
    with pytest.raises(EngineError) as caught:
        store.find(purpose())
    assert caught.value.metadata["differs"] == "version"


# ---- what was changed or is not ours ------------------------------------------------
def test_a_sidecar_under_another_name_is_not_believed(store: PlanStore) -> None:
    path = store.keep(sidecar(purpose(version="11.3")), OLD)
    path.rename(path.with_name(f"{purpose().key}.json"))
    with pytest.raises(EngineError, match=r"version '11\.3', expected '11\.4\.0\.106'"):
        store.find(purpose())


@pytest.mark.parametrize("change", [lambda plan: plan[:-1], lambda plan: b"X" + plan[1:], lambda _: b""])
def test_a_changed_plan_is_not_opened(store: PlanStore, change: Callable[[bytes], bytes]) -> None:
    store.keep(sidecar(), NEW)
    (plan,) = store.folder.glob("*.plan")
    plan.write_bytes(change(NEW))
    with pytest.raises(EngineError, match="was changed since it was built") as caught:
        store.find(purpose())
    assert caught.value.stable_reason == "PLAN_MISMATCH"
    plan.unlink()
    with pytest.raises(EngineError, match=r"cannot be read \(No such file"):
        store.find(purpose())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\udcff"])
def test_a_sidecar_that_is_none(store: PlanStore, text: str) -> None:
    path = store.keep(sidecar(), NEW)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(EngineError, match="no sidecar of ours") as caught:
        store.find(purpose())
    assert caught.value.stable_reason == "PLAN_MISMATCH"


@pytest.mark.parametrize("place", ["folder", "plan", "sidecar"])
def test_what_anybody_may_write_is_not_opened(store: PlanStore, place: str) -> None:
    path = store.keep(sidecar(), NEW)
    (plan,) = store.folder.glob("*.plan")
    {"folder": store.folder, "plan": plan, "sidecar": path}[place].chmod(0o777)
    with pytest.raises(EngineError, match="may be written by others") as caught:
        store.find(purpose())
    assert caught.value.stable_reason == "PLAN_UNTRUSTED"


def test_what_belongs_to_another_user_is_not_opened(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(sidecar(), NEW)
    if os.geteuid() == 0:
        for path in store.folder.iterdir():
            os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(EngineError, match="may be written by others"):
        store.find(purpose())


def test_a_folder_where_no_plan_can_be_kept_or_opened_is_told_before_one_is_built(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory.* name another folder"):
        PlanStore(tmp_path / "file" / "plans").make_ready()
    store = PlanStore(tmp_path / "new" / "plans")
    store.make_ready()
    assert names(store) == set()
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    store.folder.chmod(0o777)
    with pytest.raises(EngineError, match="may be written by others") as caught:
        store.make_ready()
    assert caught.value.stable_reason == "PLAN_UNTRUSTED"


def test_a_folder_that_lets_nobody_look_is_told(store: PlanStore) -> None:
    store.keep(sidecar(), NEW)
    store.folder.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may look everywhere
        os.seteuid(65534)
    try:
        for look in (store.find, store.timings):
            with pytest.raises(EngineError, match=r"cannot be looked into \(Permission denied\)") as caught:
                look(purpose())
            assert caught.value.stable_reason == "PLAN_UNTRUSTED"
    finally:
        os.seteuid(user)
        store.folder.chmod(0o700)


# ---- full disks and killed writers ---------------------------------------------------
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
    from tests.vireid.engines.test_plans import NEW, sidecar
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


# ---- timings --------------------------------------------------------------------------
def test_timings_are_kept_for_one_library_and_gpu(store: PlanStore) -> None:
    assert store.timings(purpose()) == b""
    store.keep_timings(purpose(), b"times")
    assert store.timings(purpose(precision="int8", graph="d" * 64)) == b"times"
    assert store.timings(purpose(version="11.5")) == b""
    assert store.timings(purpose(gpu="NVIDIA Other")) == b""


# ---- buckets ---------------------------------------------------------------------------
def test_buckets_are_read_as_they_are_written() -> None:
    assert tensorrt_buckets.parse("1,2-8, 9-32,33-128") == tensorrt_buckets.BUCKETS
    assert tensorrt_buckets.spelled(tensorrt_buckets.BUCKETS) == "1,2-8,9-32,33-128"
    assert tensorrt_buckets.parse("1-16") == (Bucket(1, 16, 16),)


@pytest.mark.parametrize(
    "words", ["", "2-8", "1,3-8", "1-8,8-9", "1-0", "1,a", "1-9999", "1,,2", "-1", "1-8-9"]
)
def test_buckets_with_gaps_are_refused(words: str) -> None:
    with pytest.raises(SettingsError, match="found the bucket"):
        tensorrt_buckets.parse(words)


def test_every_batch_has_its_bucket_and_large_ones_are_cut() -> None:
    buckets = tensorrt_buckets.BUCKETS
    for batch in range(1, 129):
        bucket = buckets[tensorrt_buckets.place(buckets, batch)]
        assert bucket.least <= batch <= bucket.most
    for batch in (1, 127, 128, 129, 300):
        parts = list(tensorrt_buckets.parts(batch, 128))
        assert [number for part in parts for number in range(part.start, part.stop)] == list(range(batch))
        assert all(part.stop - part.start <= 128 for part in parts)
