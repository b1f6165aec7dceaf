"""Plans on disk: found by what they are for, and only what is ours and unchanged."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vireid.engines.plan_parts import NEW, OLD, names, purpose, sidecar
from vireid.engines.plans import PlanStore, sealed
from vireid.errors import EngineError, StorageError


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


# ---- timings --------------------------------------------------------------------------
def test_timings_are_kept_for_one_library_and_gpu(store: PlanStore) -> None:
    assert store.timings(purpose()) == b""
    store.keep_timings(purpose(), b"times")
    assert store.timings(purpose(precision="int8", graph="d" * 64)) == b"times"
    assert store.timings(purpose(version="11.5")) == b""
    assert store.timings(purpose(gpu="NVIDIA Other")) == b""
