"""Rows are made of parcels while a gallery is read and written: no item is gone for a moment, and no change for good."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from index import stored
from index.gallery import Gallery
from index.head import Head
from index.parcels import AT_MOST
from index.records import Records
from index.seal import Seal
from index.second_space import SecondSpace
from index.store import FILE
from tests.index.conftest import DIM, SPACE, unit
from tests.index.packed import bare
from vireid.errors import ImageNotStored

PARCELS = 30


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    Records.create(tmp_path / FILE, Head("g", SPACE, DIM, True))
    gallery = Gallery(tmp_path / FILE)
    gallery.enroll([bare(n) for n in range(PARCELS * AT_MOST)])
    yield gallery
    gallery.close()


@pytest.mark.parametrize("place", ["index.pictures.parcel_of", "index.stored.parcel_of"])
def test_an_item_that_becomes_a_row_between_two_looks_is_there(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    records, looked, find = gallery.records, list[int](), stored.parcel_of

    def late(db: Any, key: int, *columns: str) -> Any:
        if db is not records._writer:
            looked.append(key)
            records.unpack()
        return find(db, key, *columns)

    monkeypatch.setattr(place, late)
    if place.startswith("index.pictures"):
        with pytest.raises(ImageNotStored, match="'item-8-' was enrolled without a thumbnail"):
            records.pictures.thumbnail(9, gallery.item("item-8-"))
    else:
        found = records.vector(9, "item-8-")
        assert found is not None
        assert found.tobytes() == unit((8, 0)).tobytes()
    assert looked == [9]


def test_what_is_enrolled_while_rows_are_made_stays(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a change and its seal another thread has its turn."""
    write, records, going, done = Seal.write, gallery.records, threading.Event(), list[int]()

    def slow(self: Seal, version: int, total: int) -> None:
        time.sleep(0.002)
        write(self, version, total)

    def enroll() -> None:
        while not going.is_set():
            n = 10_000 + len(done)
            gallery.enroll([bare(n)])
            gallery.remove(ids=[f"item-{n - 1}-"] if n % 3 == 0 else ["nobody"])
            done.append(n)

    monkeypatch.setattr(Seal, "write", slow)
    monkeypatch.setattr("index.records.UNPACKED_AT_ONCE", 1)
    thread = threading.Thread(target=enroll)
    thread.start()
    SecondSpace(records).begin("6" * 64, 4)
    going.set()
    thread.join()
    expected = {f"item-{n}-" for n in range(PARCELS * AT_MOST)} | {f"item-{n}-" for n in done}
    expected -= {f"item-{n - 1}-" for n in done if n % 3 == 0}
    assert len(done) > 1
    assert {row.item.item_id for row, _ in records.each() if row is not None} == expected
    assert [why for row, why in records.each() if row is None] == []


def test_a_change_of_the_head_waits_for_rows(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are made just before a head that was read earlier is written."""
    amend, tried = Records.amend, list[threading.Thread]()

    def late(self: Records, head: Head) -> None:
        tried.append(threading.Thread(target=self.unpack))
        tried[0].start()
        tried[0].join(0.1)
        amend(self, head)

    monkeypatch.setattr(Records, "amend", late)
    gallery.retain(60)
    tried[0].join()
    assert gallery.records.head.retention_s == 60
    assert gallery.records.count() == (PARCELS * AT_MOST, 0)
    assert [why for row, why in gallery.records.each() if row is None] == []
