"""Items without pictures that come many at a time, and a gallery's file of them."""

import sqlite3
from pathlib import Path

import pytest

from index.gallery import Gallery
from index.head import Head
from index.parcels import AT_MOST
from index.records import Enrolment, Records
from index.store import FILE
from tests.index.conftest import DIM, SPACE, unit
from vireid.types import Item, ItemMeta, Modality

MANY = 150
Content = dict[str, tuple[Item, bytes]]


def bare(n: int, version: int = 0) -> Enrolment:
    """Make an item without pictures."""
    meta = ItemMeta(person=f"person-{n}-{version}-", camera=f"c{n % 3}")
    return Enrolment(f"item-{n}-", Modality(n % 2), meta, f"{n:062x}{version:02x}", unit((n, version)))


@pytest.fixture(name="path")
def gallery_file(tmp_path: Path) -> Path:
    """An empty gallery's file."""
    place = tmp_path / "g" / FILE
    place.parent.mkdir()
    Records.create(place, Head("g", SPACE, DIM, True))
    return place


@pytest.fixture(name="sound")
def packed_file(path: Path) -> bytes:
    """A closed gallery's file: two parcels and more, some rows, and one more parcel."""
    gallery = Gallery(path)
    gallery.enroll([bare(n) for n in range(MANY)])
    gallery.enroll([bare(n) for n in range(MANY, MANY + 3)])
    gallery.enroll([bare(n) for n in range(MANY + 3, MANY + 3 + AT_MOST)])
    gallery.close()
    assert counted(path) == (MANY + AT_MOST, 3)
    return path.read_bytes()


def counted(path: Path) -> tuple[int, int]:
    """Count the items in parcels, and in rows."""
    db = sqlite3.connect(path)
    found = [db.execute(f"SELECT {what}").fetchone()[0] for what in
             ("total(count) FROM parcels", "count(*) FROM items")]  # fmt: skip
    db.close()
    return int(found[0]), found[1]


def content(gallery: Gallery) -> Content:
    """Return every item and its vector."""
    return {
        item.item_id: (item, gallery.vector(item.item_id).tobytes()) for item in gallery.items(limit=1000)[0]
    }


def told(gallery: Gallery) -> dict[str, tuple[str, bytes]]:
    """Return of every item the person and the vector."""
    return {name: (item.meta.person, vector) for name, (item, vector) in content(gallery).items()}
