"""Snapshots: what they hold, what of them is damaged, and a gallery from one."""

import hashlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from index import manifests, restoration, snapshots
from index.disk import MAKING
from index.gallery import Gallery
from index.head import Head
from index.inspection import inspect
from index.records import Enrolment, Records
from index.store import FILE, GalleryStore
from vireid.errors import (
    DataLoss,
    GalleryExists,
    InvalidRequest,
    SnapshotNotFound,
    StorageError,
    VireidError,
)

Make = Callable[..., Enrolment]
DIM = 16


@pytest.fixture
def galleries(tmp_path: Path) -> Path:
    folder = tmp_path / "galleries"
    (folder / "g").mkdir(parents=True)
    Records.create(folder / "g" / FILE, Head("g", "5" * 64, DIM, True))
    return folder


@pytest.fixture
def open_gallery(galleries: Path, enrolment: Make) -> Gallery:
    gallery = Gallery(galleries / "g" / FILE)
    gallery.enroll([enrolment(f"i{n}", person=f"p{n}") for n in range(12)])
    return gallery


def content(gallery: Gallery) -> list[tuple[object, ...]]:
    return [
        (
            item,
            gallery.vector(item.item_id).tobytes(),
            gallery.image(item.item_id),
            gallery.thumbnail(item.item_id),
        )
        for item in gallery.items(limit=1000)[0]
    ]


def same(one: bytes, other: bytes) -> bool:
    """Whether two texts mean the same document."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_a_snapshot_is_the_gallery_as_it_was(galleries: Path, open_gallery: Gallery, enrolment: Make) -> None:
    truth = content(open_gallery)
    place = open_gallery.snapshot()
    manifest = snapshots.check(place)
    assert (manifest.gallery, manifest.items, manifest.images, manifest.dim) == ("g", 12, 12, DIM)
    assert manifest.next_key == 13
    assert sorted(one.name for one in place.iterdir()) == [FILE, "manifest.json"]
    open_gallery.remove(ids=["i3"])
    open_gallery.enroll([enrolment("later"), enrolment("i4", seed="another")])
    last = open_gallery.info().version
    open_gallery.close()
    with pytest.raises(GalleryExists, match="replace it"):
        restoration.restore(place, galleries)
    assert restoration.restore(place, galleries, replace=True) == galleries / "g"
    again = Gallery(galleries / "g" / FILE)
    assert content(again) == truth
    assert again.info().version > last
    key_before = 15  # 12 items, and two enrolled after the snapshot
    again.enroll([enrolment("new")])
    assert again._holdings.key("new") == key_before
    again.close()
    assert [one.name for one in galleries.iterdir()] == ["g"]


def test_under_another_name_beside_the_first(galleries: Path, open_gallery: Gallery) -> None:
    truth, place = content(open_gallery), open_gallery.snapshot()
    open_gallery.close()
    restoration.restore(place, galleries, "copy")
    copy = Gallery(galleries / "copy" / FILE)
    assert content(copy) == truth
    assert copy.info().name == "copy"
    copy.close()
    with pytest.raises(InvalidRequest):
        restoration.restore(place, galleries, "../escape")


def test_a_gallery_that_is_damaged_is_replaced(galleries: Path, open_gallery: Gallery) -> None:
    truth, place = content(open_gallery), open_gallery.snapshot()
    open_gallery.close()
    path = galleries / "g" / FILE
    path.write_bytes(b"nothing" * 5000)
    (galleries / "g" / f"{FILE}-wal").write_bytes(b"a log of something else" * 500)
    with pytest.raises(DataLoss):
        Gallery(path)
    restoration.restore(place, galleries, replace=True)
    again = Gallery(path)
    assert content(again) == truth
    again.close()


@pytest.mark.parametrize("what", [FILE, "manifest.json"])
def test_every_flipped_bit_is_refused_by_name(
    galleries: Path, open_gallery: Gallery, what: str, tmp_path: Path
) -> None:
    place = open_gallery.snapshot()
    open_gallery.close()
    sound, draw, refused = (place / what).read_bytes(), random.Random(3), 0
    for _ in range(100):
        broken = bytearray(sound)
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        (place / what).write_bytes(broken)
        if what != FILE and same(broken, sound):
            continue  # a space became another kind of space
        with pytest.raises(DataLoss) as caught:
            restoration.restore(place, tmp_path / "elsewhere", "x")
        assert str(place / what) in caught.value.message
        refused += 1
    assert refused >= 95
    for length in range(0, len(sound), 4096):
        (place / what).write_bytes(sound[:length])
        with pytest.raises(DataLoss, match=what):
            snapshots.check(place)
    (place / what).unlink()
    with pytest.raises(VireidError, match=what):
        snapshots.check(place)


def test_a_copy_that_breaks_off_leaves_no_snapshot(
    galleries: Path, open_gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = galleries / "g" / "snapshots"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("index.manifests.digest", full)
        with pytest.raises(StorageError) as caught:
            open_gallery.snapshot()
    assert caught.value.stable_reason == "DISK_FULL"
    assert list(folder.iterdir()) == []
    (folder / ".making-left").mkdir()  # by a kill
    assert list(snapshots.listed(folder)) == []
    assert list(folder.iterdir()) == []
    open_gallery.close()


def test_what_is_damaged_in_the_file_is_not_copied_in_silence(open_gallery: Gallery, galleries: Path) -> None:
    """It was read before it was damaged and answers as ever; whoever relied on the copy would learn of it too late."""
    db = sqlite3.connect(galleries / "g" / FILE)
    db.execute("UPDATE items SET person = 'else' WHERE item_id = 'i3'")
    db.commit()
    db.close()
    with pytest.raises(DataLoss, match="'i3'") as caught:
        open_gallery.snapshot()
    assert str(galleries / "g" / FILE) in caught.value.message
    assert MAKING not in caught.value.message
    assert open_gallery.snapshots() == []
    assert list((galleries / "g" / snapshots.FOLDER).iterdir()) == []
    assert open_gallery.item("i3").meta.person == "p3"
    open_gallery.close()


def test_a_kill_while_restoring_leaves_the_gallery(
    galleries: Path, open_gallery: Gallery, monkeypatch: pytest.MonkeyPatch, enrolment: Make
) -> None:
    """Whatever step it stops at, the gallery is the one before or the one after."""
    before = content(open_gallery)
    place = open_gallery.snapshot()
    open_gallery.enroll([enrolment("more")])
    after = content(open_gallery)
    open_gallery.close()
    safe = galleries.parent / "safe"
    shutil.copytree(galleries, safe)

    class Killed(BaseException):
        pass

    for stop in range(1, 20):
        shutil.rmtree(galleries)
        shutil.copytree(safe, galleries)
        steps = iter(range(1, 100))

        def counted(*args: object, real: Callable[..., None], stop: int = stop, steps=steps, **more) -> None:  # type: ignore[no-untyped-def]
            if next(steps) == stop:
                raise Killed
            real(*args, **more)

        finished = True
        with monkeypatch.context() as broken:
            for name in ("os.replace", "os.unlink", "os.rename", "os.fsync"):
                real = getattr(os, name.split(".")[1])
                broken.setattr(name, lambda *a, real=real, c=counted, **more: c(*a, real=real, **more))
            try:
                restoration.restore(place, galleries, replace=True)
            except Killed:
                finished = False
        gallery = Gallery(galleries / "g" / FILE)
        found = content(gallery)
        gallery.close()
        assert found in (before, after)
        if finished:
            assert found == before
            return
    pytest.fail("it never came to its end")


def test_a_receipt_counts_the_snapshots_that_still_hold_items(open_gallery: Gallery, enrolment: Make) -> None:
    first = open_gallery.snapshot()
    open_gallery.enroll([enrolment("late")])
    second = open_gallery.snapshot()
    assert open_gallery.remove(ids=["late"], dry_run=True).still_in == 1
    receipt = open_gallery.remove(ids=["late", "i0"])
    assert (receipt.items, receipt.snapshots, receipt.still_in) == (2, 0, 2)
    assert open_gallery.remove(ids=["nobody"]).still_in == 0
    open_gallery.enroll([enrolment("newest")])
    assert open_gallery.remove(ids=["newest"]).still_in == 0
    receipt = open_gallery.remove(ids=["i1"], with_snapshots=True)
    assert (receipt.snapshots, receipt.still_in) == (2, 0)
    assert not first.exists()
    assert not second.exists()
    open_gallery.close()


@pytest.mark.parametrize("name", ["", ".", "..", "nothing", "../snapshots", f"{MAKING}left"])
def test_only_the_snapshot_that_is_named_is_removed(
    open_gallery: Gallery, galleries: Path, name: str
) -> None:
    place = open_gallery.snapshot()
    (galleries / "g" / snapshots.FOLDER / f"{MAKING}left").mkdir()
    (galleries / "g" / snapshots.FOLDER / "a-file").write_text("no snapshot")
    for wrong in (name, "a-file", f"{place.name}x", place.name[:-1]):
        with pytest.raises(SnapshotNotFound):
            open_gallery.drop_snapshot(wrong)
    assert [one.name for one in open_gallery.snapshots()] == [place.name]
    assert open_gallery.drop_snapshot(place.name).name == place.name
    assert open_gallery.snapshots() == []
    open_gallery.close()


def test_a_manifest_that_says_more_than_we_know_stops_no_removal(open_gallery: Gallery) -> None:
    """A later vireid may tell more in it; what it tells is under a checksum all the same."""
    place = open_gallery.snapshot() / manifests.NAME
    document = json.loads(place.read_bytes())
    document["snapshot"]["mood"] = "good"
    whole = json.dumps(document["snapshot"], sort_keys=True).encode()
    document["sha256"] = hashlib.sha256(whole).hexdigest()
    place.write_text(json.dumps(document))
    (told,) = open_gallery.snapshots()
    assert "more or less" in told.damage
    assert open_gallery.remove(ids=["i3"]).still_in == 1
    assert open_gallery.expire().snapshots == 0
    assert open_gallery.remove(ids=["i4"], with_snapshots=True).snapshots == 1
    assert open_gallery.snapshots() == []
    open_gallery.close()


def test_a_deleted_gallery_takes_its_snapshots_along(
    store: GalleryStore, tmp_path: Path, enrolment: Make
) -> None:
    gallery = store.create("people")
    gallery.enroll([enrolment("a")])
    gallery.snapshot()
    assert store.delete("people").snapshots == 1
    assert [one for one in tmp_path.rglob("*") if one.is_file() and one.name != "lock"] == []


def test_snapshots_expire(open_gallery: Gallery, galleries: Path) -> None:
    folder = galleries / "g" / "snapshots"
    short, long, ever = (
        open_gallery.snapshot(keep) for keep in (timedelta(days=1), timedelta(days=30), None)
    )
    now = datetime.now(UTC)
    assert snapshots.remove_expired(folder, now) == 0
    assert snapshots.remove_expired(folder, now + timedelta(days=2)) == 1
    assert list(snapshots.listed(folder)) == [long, ever]
    (long / "manifest.json").write_text("{}")
    assert snapshots.remove_expired(folder, now + timedelta(days=400)) == 0
    assert not short.exists()
    open_gallery.close()


def test_compaction_gives_room_back_and_keeps_everything(
    open_gallery: Gallery, galleries: Path, enrolment: Make
) -> None:
    path = galleries / "g" / FILE
    open_gallery.enroll([enrolment(f"goes-{n}", image=bytes([n]) * 20_000) for n in range(40)])
    open_gallery.remove(ids=[f"goes-{n}" for n in range(40)])
    truth, before = content(open_gallery), path.stat().st_size
    open_gallery.compact()
    assert path.stat().st_size < before / 4
    assert content(open_gallery) == truth
    assert open_gallery.enroll([enrolment("after")]) == ["created"]
    open_gallery.remove(ids=["i2"])
    truth = content(open_gallery)
    open_gallery.close()
    assert sorted(one.name for one in path.parent.iterdir()) == [FILE, f"{FILE}-seal"]
    again = Gallery(path)
    assert content(again) == truth
    settings = again._records._writer.execute("PRAGMA page_size").fetchall()[0][0]
    assert settings == 8192
    again.close()


def test_compaction_that_is_cut_short_changes_nothing(
    open_gallery: Gallery, galleries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, truth = galleries / "g" / FILE, content(open_gallery)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("index.records.sync", full)
        with pytest.raises(StorageError):
            open_gallery.compact()
    assert content(open_gallery) == truth
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM items").fetchall()
    with pytest.raises(StorageError, match="another program"):
        open_gallery.compact()
    other.close()
    open_gallery.close()
    for leftover in ("", "-wal", "-seal"):  # by a kill
        path.with_name(f"{FILE}.part{leftover}").write_bytes(b"content that was removed since")
    again = Gallery(path)
    assert content(again) == truth
    again.close()
    assert sorted(one.name for one in path.parent.iterdir()) == [FILE, f"{FILE}-seal"]


def test_inspection_names_all_that_is_damaged(open_gallery: Gallery, galleries: Path) -> None:
    folder = galleries / "g"
    place = open_gallery.snapshot()
    open_gallery.close()
    sound = inspect(folder)
    assert (sound.items, sound.pictures, sound.snapshots, sound.damage) == (12, 24, 1, ())
    db = sqlite3.connect(folder / FILE)
    db.execute("UPDATE items SET person = 'someone else' WHERE item_id = 'i3'")
    db.execute("UPDATE pictures SET image = x'00' WHERE key = 6")
    db.execute("DELETE FROM pictures WHERE key = 8")
    db.commit()
    db.close()
    (place / FILE).write_bytes(b"")
    found = inspect(folder)
    assert (found.items, found.pictures, found.snapshots) == (11, 19, 0)
    assert [any(word in sentence for sentence in found.damage) for word in ("'i3'", "'i5'", "'i7'", "snapshots")] == [
        True
    ] * 4  # fmt: skip
    (folder / FILE).write_bytes(b"x" * 9000)
    assert FILE in inspect(folder).damage[0]
