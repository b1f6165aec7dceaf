"""Snapshots over both wires: made, listed, removed, and good for a restoration."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from index import restoration, snapshots
from index.disk import FILE
from index.gallery import Gallery
from tests.clients.conftest import Live
from vireid.errors import GalleryNotFound, InvalidRequest, NotFound, SnapshotNotFound, StorageError


@pytest.fixture
def yard(client: Any, draw: Callable[..., bytes]) -> Iterator[str]:
    client("create_gallery", "copied")
    for number in range(3):
        client("put_item", "copied", f"i{number}", draw(number))
    yield "copied"
    client("delete_gallery", "copied")


def folder_of(live: Live, name: str) -> Path:
    """Where a gallery keeps its snapshots."""
    return live.service.gallery(name).records._path.parent / snapshots.FOLDER


def test_one_is_made_listed_and_removed(client: Any, live: Live, yard: str, tmp_path: Path) -> None:
    assert client("list_snapshots", yard) == ()
    made = client("snapshot", yard)
    assert (made.items, made.images, made.version, made.damage) == (3, 3, 3, "")
    assert (made.expires_at, made.bytes) == (None, (folder_of(live, yard) / made.name / FILE).stat().st_size)
    client("delete_items", yard, item_ids=["i1"])
    later = client("snapshot", yard, keep_days=2)
    assert later.expires_at == later.made_at + timedelta(days=2)
    assert (later.items, later.version) == (2, 4)
    assert client("list_snapshots", yard) == (made, later)
    place = restoration.restore(folder_of(live, yard) / made.name, tmp_path, "restored", False)
    restored = Gallery(place / FILE, "exact")
    assert {item.item_id for item in restored.items()[0]} == {"i0", "i1", "i2"}
    restored.close()
    assert client("delete_snapshot", yard, made.name) == made
    assert client("list_snapshots", yard) == (later,)
    assert [path.name for path in folder_of(live, yard).iterdir()] == [later.name]
    assert client("delete_items", yard, item_ids=["i0"]).still_in == 1


@pytest.mark.parametrize("name", ["20200101T000000.000000Z", "..", "../..", "", ".part-1"])
def test_what_is_not_there_is_not_found(client: Any, live: Live, yard: str, name: str) -> None:
    kept = client("snapshot", yard)
    with pytest.raises(SnapshotNotFound):
        client("delete_snapshot", yard, name)
    assert client("list_snapshots", yard) == (kept,)
    assert client("get_gallery", yard).items == 3


def test_no_such_gallery(client: Any) -> None:
    for method, *rest in (("snapshot",), ("list_snapshots",), ("delete_snapshot", "x")):
        with pytest.raises(GalleryNotFound):
            client(method, "nowhere", *rest)


@pytest.mark.parametrize("days", [-1, 10**6])
def test_days_that_cannot_be_counted_are_refused(client: Any, yard: str, days: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        client("snapshot", yard, keep_days=days)
    assert refused.value.field == "keep_days"
    assert client("list_snapshots", yard) == ()


def test_a_damaged_one_says_so_and_can_be_removed(client: Any, live: Live, yard: str) -> None:
    made = client("snapshot", yard)
    manifest = folder_of(live, yard) / made.name / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"items": 3', b'"items": 2'))
    (found,) = client("list_snapshots", yard)
    assert "does not match its checksum" in found.damage
    assert replace(found, damage="") == replace(made, version=0, items=0, images=0, bytes=0, made_at=None)
    assert client("delete_snapshot", yard, made.name).name == made.name
    assert client("list_snapshots", yard) == ()


def test_a_disk_that_refuses_is_told(
    client: Any, live: Live, yard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(live.service.gallery(yard).records, "copy_to", full)
    with pytest.raises(StorageError, match="full"):
        client("snapshot", yard)
    assert client("list_snapshots", yard) == ()
    assert list(folder_of(live, yard).iterdir()) == []


def test_a_folder_that_cannot_be_used_is_told_by_the_gallerys_name(
    client: Any, live: Live, yard: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder_of(live, yard)
    place.write_bytes(b"")  # a file where the folder is to be
    with pytest.raises(StorageError) as caught:
        client("snapshot", yard)
    place.unlink()
    assert caught.value.message.startswith(f"gallery {yard!r} cannot be used: ")
    assert str(place.parent) not in caught.value.message
    assert str(place) in caplog.text


@pytest.mark.parametrize("word", [".", ".."])
def test_no_name_leads_to_another_thing(
    client: Any, yard: str, draw: Callable[..., bytes], word: str
) -> None:
    for method, *rest in (
        ("get_item", yard, word), ("put_item", yard, word, draw(1)), ("get_gallery", word), ("delete_gallery", word),
        ("list_snapshots", word), ("retain", word, 0),
    ):  # fmt: skip
        with pytest.raises((NotFound, InvalidRequest)):
            client(method, *rest)
    assert client("get_gallery", yard).items == 3
