"""A salvage of a gallery whose items came many at a time: it loses what is damaged alone, and tells of it."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index import inspection, salvage, schema
from index.gallery import Gallery
from index.parcels import AT_MOST
from index.rows import encoded, tabled
from index.store import FILE
from tests.index.conftest import DIM, unit
from tests.index.packed import MANY, bare, gallery_file, packed_file, told
from tests.index.test_salvage import TEXTS
from vireid.errors import DataLoss, ItemNotFound

__all__ = ["gallery_file", "packed_file"]  # fixtures


def spoil(path: Path, change: Callable[[sqlite3.Connection], Any]) -> Any:
    db = sqlite3.connect(path)
    change(db)
    db.commit()
    db.close()
    found = salvage.salvage(path.parent)
    assert found is not None
    return found


def checked(path: Path, lost: set[int]) -> None:
    gallery = Gallery(path)
    left = [n for n in range(MANY + 3 + AT_MOST) if n not in lost]
    assert told(gallery) == {f"item-{n}-": (f"person-{n}-0-", unit((n, 0)).tobytes()) for n in left}
    gallery.close()
    assert inspection.damage(path.parent) == []


def test_salvage_loses_a_damaged_vector_alone(path: Path, sound: bytes) -> None:
    def change(db: sqlite3.Connection) -> None:
        (data,) = db.execute("SELECT vectors FROM parcels WHERE first = 65").fetchone()
        broken = bytearray(data)
        broken[4 * DIM * 6 + 9] ^= 4
        db.execute("UPDATE parcels SET vectors = ? WHERE first = 65", (bytes(broken),))

    found = spoil(path, change)
    assert [one.item_id for one in found.items] == ["item-70-"]
    assert (found.saved, found.unnamed, found.doubts) == (MANY + 3 + AT_MOST - 1, 0, ())
    checked(path, {70})


def test_salvage_names_whom_damaged_words_lose(path: Path, sound: bytes) -> None:
    found = spoil(
        path,
        lambda db: db.execute(
            "UPDATE parcels SET words = CAST(replace(CAST(words AS TEXT), 'person-70-', 'person-71-') AS BLOB) "
            "WHERE first = 65"
        ),
    )
    assert {one.item_id for one in found.items} == {f"item-{n}-" for n in range(64, 128)}
    assert (found.saved, found.unnamed) == (MANY + 3, 0)
    checked(path, set(range(64, 128)))


def test_salvage_counts_whom_a_lost_parcel_held(path: Path, sound: bytes) -> None:
    found = spoil(path, lambda db: db.execute("DELETE FROM parcels WHERE first = 65"))
    assert (found.saved, found.unnamed, found.items) == (MANY + 3, 64, ())
    checked(path, set(range(64, 128)))


@pytest.mark.parametrize("key", [151, 30])
def test_salvage_keeps_one_of_two(path: Path, sound: bytes, key: int) -> None:
    """An item that is in a row and in a parcel, as no file of ours ever was."""

    def change(db: sqlite3.Connection) -> None:
        (twin,) = encoded(tabled([bare(5)], key, 1), bare(5).vector[None])
        cells = [
            cell.decode() if at in TEXTS and isinstance(cell, bytes) else cell for at, cell in enumerate(twin)
        ]
        db.execute("DELETE FROM items WHERE key = 151")
        db.execute(f"INSERT INTO items ({schema.ITEM}) VALUES ({', '.join('?' * len(cells))})", cells)

    found = spoil(path, change)
    assert found.doubts[0] == "item 'item-5-' is there twice, and only the first of them is kept"
    checked(path, {150} if key == 151 else {29, 150})


def test_salvage_calls_nobody_lost_who_is_there(path: Path, sound: bytes) -> None:
    """The row of another, damaged so that it is of his name."""
    found = spoil(path, lambda db: db.execute("UPDATE items SET item_id = 'item-5-' WHERE key = 151"))
    assert (found.saved, found.items, found.unnamed) == (MANY + 3 + AT_MOST - 1, (), 1)
    checked(path, {150})


def test_salvage_takes_number_0_for_nobody(path: Path, sound: bytes) -> None:
    """A page of zeros reads as rows of it, beside the names of whom it held."""
    found = spoil(path, lambda db: db.execute("UPDATE items SET key = 0, item_id = '' WHERE key = 151"))
    assert (found.saved, found.items, found.unnamed) == (MANY + 3 + AT_MOST - 1, (), 1)
    checked(path, {150})


def test_salvage_of_a_picture_leaves_no_doubt_of_parcels(path: Path, sound: bytes) -> None:
    found = spoil(path, lambda db: db.execute("DELETE FROM pictures WHERE key = 151"))
    assert (found.saved, found.count, found.doubts) == (MANY + 3 + AT_MOST, 0, ())
    assert [one.item_id for one in found.pictures] == ["item-150-"]
    checked(path, set())


def test_salvage_of_any_flipped_bit(path: Path, sound: bytes) -> None:
    draw, told_of = random.Random(11), 0
    for turn in range(120):
        folder = path.parent.parent / str(turn)
        folder.mkdir()
        broken = bytearray(sound)
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        (folder / FILE).write_bytes(broken)
        try:
            found = salvage.salvage(folder)
        except DataLoss:
            continue
        gallery = Gallery(folder / FILE)
        for n in range(MANY + 3 + AT_MOST):
            try:
                item, vector = gallery.item(f"item-{n}-"), gallery.vector(f"item-{n}-")
            except ItemNotFound:
                assert found is not None
                assert found.count > 0
                told_of += 1
                continue
            assert item.meta.person == f"person-{n}-0-"
            assert vector.tobytes() == unit((n, 0)).tobytes()
        gallery.close()
    assert told_of > 0
