import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from index import store as stores
from index.gallery import Gallery
from index.records import Enrolment, Records
from index.store import GalleryStore, survey
from vireid.errors import (
    DataLoss,
    GalleryExists,
    GalleryMismatch,
    GalleryNotFound,
    InvalidRequest,
    StorageError,
)

Make = Callable[..., Enrolment]
Reopen = Callable[[], GalleryStore]
SPACE, OTHER, DIM = "5" * 64, "6" * 64, 16


def file_of(root: Path, name: str) -> Path:
    return root / "data" / "galleries" / name / stores.FILE


def test_create_get_list_delete(store: GalleryStore, enrolment: Make, reopen: Reopen) -> None:
    made = store.create("people")
    store.create("0.cars_-", store_images=False)
    assert store.get("people") is made
    made.enroll([enrolment("a"), enrolment("b", image=None)])
    store = reopen()
    assert [(one.name, one.items, one.stores_images, one.state) for one in store.list()] == [
        ("0.cars_-", 0, False, "ready"),
        ("people", 2, True, "ready"),
    ]
    assert store.describe("people") == store.get("people").info()
    receipt = store.delete("people")
    assert (receipt.items, receipt.images, receipt.vectors, receipt.version) == (2, 1, 2, 1)
    with pytest.raises(GalleryNotFound):
        store.get("people")
    store.create("people")  # the name is free again, and nothing of the old one comes back
    assert reopen().get("people").info().items == 0


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "-x", "a/b", "a\\b", "a b", "ä", "a\n", "x" * 64, "a\0"]
)
def test_malformed_names(store: GalleryStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        store.create(name)
    assert (caught.value.field, caught.value.stable_reason) == ("name", "GALLERY_NAME_INVALID")
    assert list((tmp_path / "data" / "galleries").iterdir()) == []
    for ask in (store.get, store.describe, store.delete):
        with pytest.raises(GalleryNotFound):
            ask(name)


def test_a_taken_name(store: GalleryStore) -> None:
    made = store.create("people")
    with pytest.raises(GalleryExists):
        store.create("people")
    assert store.get("people") is made


def test_a_second_process_is_told_who_holds_the_folder(store: GalleryStore, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from index.store import GalleryStore\n"
        "from vireid.errors import StorageError\n"
        f"try: GalleryStore(Path(sys.argv[1]), '{SPACE}', {DIM})\n"
        "except StorageError as error: print(error.stable_reason, error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "data"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("DATA_FOLDER_IN_USE"), done.stderr
    assert f"({os.getpid()})" in done.stdout
    with pytest.raises(StorageError):  # nor twice in one process
        GalleryStore(tmp_path / "data", SPACE, DIM)
    with pytest.raises(StorageError):
        survey(tmp_path / "data")


def test_a_data_folder_below_galleries_is_no_gallery(tmp_path: Path) -> None:
    root = tmp_path / "galleries" / "demo"
    root.parent.mkdir()
    root.write_text("a file")
    with pytest.raises(StorageError) as caught:
        GalleryStore(root, SPACE, DIM)
    assert caught.value.message.startswith(f"{root} cannot be used: ")


def test_the_folder_is_free_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from index.store import GalleryStore\n"
        f"store = GalleryStore(Path(sys.argv[1]), '{SPACE}', {DIM}); store.create('kept')\n"
        "print('open', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "data"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    holder.stdout.close()
    again = GalleryStore(tmp_path / "data", SPACE, DIM)
    assert [info.name for info in again.list()] == ["kept"]
    again.close()


def test_another_space_is_refused_with_both_ids(store: GalleryStore, enrolment: Make, tmp_path: Path) -> None:
    store.create("people").enroll([enrolment("a"), enrolment("b")])
    store.close()
    other = GalleryStore(tmp_path / "data", OTHER, DIM)
    with pytest.raises(GalleryMismatch, match="build a new gallery") as caught:
        other.get("people")
    assert caught.value.metadata == {"gallery": "people", "found": SPACE, "expected": OTHER}
    assert SPACE[:12] in caught.value.message
    assert OTHER[:12] in caught.value.message
    info = other.describe("people")
    assert (info.state, info.space_id, info.items) == ("failed", SPACE, 2)
    assert info.detail == caught.value.message
    assert other.create("new").info().space_id == OTHER
    with pytest.raises(GalleryExists):
        other.create("people")
    receipt = other.delete("people")
    assert (receipt.items, receipt.images) == (2, 2)
    other.close()


def test_a_space_of_another_size_is_refused(store: GalleryStore, tmp_path: Path) -> None:
    store.create("people")
    store.close()
    other = GalleryStore(tmp_path / "data", SPACE, DIM + 1)
    with pytest.raises(GalleryMismatch):
        other.get("people")
    other.close()


def test_a_broken_gallery_stops_no_other(
    store: GalleryStore, enrolment: Make, reopen: Reopen, tmp_path: Path
) -> None:
    for name in ("bad", "good", "gone"):
        store.create(name).enroll([enrolment(name)])
    store.close()
    with file_of(tmp_path, "bad").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    file_of(tmp_path, "gone").unlink()
    store = reopen()
    states = {info.name: info.state for info in store.list()}
    assert states == {"bad": "failed", "good": "ready", "gone": "failed"}
    assert store.get("good").item("good").item_id == "good"
    for name in ("bad", "gone"):
        assert str(file_of(tmp_path, name)) in store.describe(name).detail
        with pytest.raises(DataLoss):
            store.get(name)
        with pytest.raises(GalleryExists):
            store.create(name)
        store.delete(name)
    assert [info.name for info in reopen().list()] == ["good"]


def test_what_cannot_be_read_is_deleted_and_counts_nothing(
    store: GalleryStore, enrolment: Make, reopen: Reopen, tmp_path: Path
) -> None:
    store.create("people").enroll([enrolment("a")])
    store.close()
    file_of(tmp_path, "people").write_bytes(b"no gallery at all" * 1000)
    store = reopen()
    (listed,) = store.list()
    assert (listed.state, listed.dim, listed.items) == ("failed", 0, 0)
    receipt = store.delete("people")
    assert (receipt.items, receipt.images, receipt.vectors, receipt.version) == (0, 0, 0, 0)
    assert store.list() == []


def test_a_renamed_folder_is_not_another_gallery(store: GalleryStore, reopen: Reopen, tmp_path: Path) -> None:
    store.create("ann")
    store.close()
    file_of(tmp_path, "ann").parent.rename(file_of(tmp_path, "bob").parent)
    with pytest.raises(DataLoss, match="'ann'"):
        reopen().get("bob")


def test_what_a_kill_left_half_made_is_swept(store: GalleryStore, reopen: Reopen, tmp_path: Path) -> None:
    store.create("people")
    folder = tmp_path / "data" / "galleries"
    for name in (".making-1", ".discarded-2", ".somebody-else"):
        (folder / name).mkdir()
        (folder / name / stores.FILE).write_bytes(b"half")
    (folder / "a-file").write_text("not ours")
    store = reopen()
    assert [info.name for info in store.list()] == ["people"]
    assert sorted(path.name for path in folder.iterdir()) == [".somebody-else", "a-file", "people"]


def test_creating_that_fails_leaves_nothing(
    store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Records, "create", full)
    with pytest.raises(StorageError) as caught:
        store.create("people")
    assert caught.value.stable_reason == "DISK_FULL"
    assert list((tmp_path / "data" / "galleries").iterdir()) == []
    monkeypatch.undo()
    assert isinstance(store.create("people"), Gallery)


def test_a_gallery_that_is_made_and_cannot_be_opened_is_listed(
    store: GalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no handle is free")

    with monkeypatch.context() as held:
        held.setattr(stores, "Gallery", full)
        with pytest.raises(StorageError, match="no handle"):
            store.create("people")
    assert [(one.name, one.state, one.detail) for one in store.list()] == [
        ("people", "failed", "no handle is free")
    ]
    assert store.delete("people").items == 0
    assert isinstance(store.create("people"), Gallery)


def test_a_gallery_is_on_disk_before_and_after_it_gets_its_name(
    store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "galleries"
    synced: list[tuple[str, list[str]]] = []

    def sync(handle: int) -> None:
        place = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((place.name, sorted(one.name for one in folder.iterdir())))

    monkeypatch.setattr(os, "fsync", sync)
    store.create("people")
    (part, before), (whole, after) = synced
    assert part.startswith(stores.MAKING)
    assert before == [part]
    assert (whole, after) == ("galleries", ["people"])
    synced.clear()
    store.delete("people")
    ((whole, left),) = synced
    assert whole == "galleries"
    assert [name[: len(stores.DISCARDED)] for name in left] == [stores.DISCARDED]


def test_a_gallery_that_cannot_be_deleted_still_answers(
    store: GalleryStore, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("people").enroll([enrolment("a")])

    def refuses(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as held:
        held.setattr(Path, "rename", refuses)
        with pytest.raises(StorageError):
            store.delete("people")
    assert [(info.name, info.state, info.items) for info in store.list()] == [("people", "ready", 1)]
    assert store.get("people").image("a") == enrolment("a").image
    assert store.get("people").enroll([enrolment("b")]) == ["created"]
    assert store.delete("people").items == 2


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        GalleryStore(tmp_path / "file", SPACE, DIM)
    assert caught.value.stable_reason == "DATA_FOLDER_UNUSABLE"


def test_survey_reads_every_space_and_names_damage(
    store: GalleryStore, enrolment: Make, tmp_path: Path
) -> None:
    store.create("here").enroll([enrolment("a")])
    store.create("hurt").enroll([enrolment("b")])
    store.close()
    other = GalleryStore(tmp_path / "data", OTHER, 8)
    other.create("there")
    other.close()
    data = bytearray(file_of(tmp_path, "hurt").read_bytes())
    at = data.index(enrolment("b").vector.tobytes())
    data[at] ^= 1
    file_of(tmp_path, "hurt").write_bytes(data)
    found = {info.name: info for info in survey(tmp_path / "data")}
    assert {name: info.state for name, info in found.items()} == {
        "here": "ready",
        "hurt": "failed",
        "there": "ready",
    }
    assert (found["there"].dim, found["there"].space_id) == (8, OTHER)
    assert "item 'b'" in found["hurt"].detail
    with pytest.raises(GalleryNotFound):
        survey(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
