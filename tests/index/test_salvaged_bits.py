"""Single flipped bits that a salvage must neither stumble over nor search for without end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from index import salvage
from index.gallery import Gallery
from index.records import Enrolment
from index.store import FILE, GalleryStore
from tests.index.conftest import DIM, SPACE, picture

Make = Callable[..., Enrolment]
MANY = 300


@pytest.fixture
def folder(tmp_path: Path, enrolment: Make) -> Path:
    """A closed gallery whose ids take nine letters."""
    store = GalleryStore(tmp_path, SPACE, DIM)
    store.create("g").enroll([enrolment(f"item-{n:04}") for n in range(MANY)])
    store.close()
    return tmp_path / "galleries" / "g"


def flip(folder: Path, find: bytes, at: int, bit: int) -> None:
    """Flip a bit beside some bytes that are in the file once."""
    data = bytearray((folder / FILE).read_bytes())
    assert data.count(find) == 1
    data[data.index(find) + at] ^= bit
    (folder / FILE).write_bytes(data)


def test_an_index_that_tells_of_an_astronomic_number_ends(folder: Path) -> None:
    """The index of ids says by a byte how long a row's number is: of two bytes it makes eight, letters of the id."""
    flip(folder, bytes([3, 31, 2]) + b"item-0150", 2, 4)
    found = salvage.salvage(folder)
    assert found is not None
    assert (found.saved, found.count, found.pictures, found.doubts) == (MANY, 0, (), ())
    gallery = Gallery(folder / FILE)
    assert gallery.info().items == MANY
    gallery.close()


def test_a_number_in_the_place_of_a_pictures_checksum_costs_no_picture(folder: Path) -> None:
    """The byte before a row's cells says that the last of them is absent; flipped, that it is the number 0."""
    small = picture(("item-0007", "small"), 200)
    flip(folder, small, -1, 8)
    found = salvage.salvage(folder)
    assert found is not None
    assert (found.saved, found.count, found.pictures, found.doubts) == (MANY, 0, (), ())
    gallery = Gallery(folder / FILE)
    assert gallery.image("item-0007") == picture("item-0007")
    assert gallery.thumbnail("item-0007") == small
    gallery.close()


def test_an_image_that_was_lost_comes_back_when_it_is_sent_again(folder: Path, enrolment: Make) -> None:
    flip(folder, picture("item-0007"), 5, 1)
    found = salvage.salvage(folder)
    assert found is not None
    assert [one.item_id for one in found.pictures] == ["item-0007"]
    gallery, again = Gallery(folder / FILE), enrolment("item-0007")
    assert not gallery.item("item-0007").has_image
    known = (again.item_id, again.sha256, again.modality, again.meta)
    assert gallery.holds(*known) is None
    assert gallery.enroll([again]) == ["replaced"]
    assert gallery.image("item-0007") == again.image
    assert gallery.holds(*known) == gallery.item("item-0007")
    assert gallery.enroll([again]) == ["unchanged"]
    gallery.close()


def test_an_item_without_an_image_is_the_same_without_one(folder: Path, enrolment: Make) -> None:
    gallery, bare = Gallery(folder / FILE), enrolment("bare", image=None)
    assert gallery.enroll([bare]) == ["created"]
    assert gallery.enroll([bare]) == ["unchanged"]
    gallery.close()
