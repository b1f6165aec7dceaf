"""Vectors of a second space that are damaged, or made wrong: named, made again, and never taken for those in use."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from index import limits
from index.command import app
from index.gallery import Gallery
from index.inspection import inspect
from index.records import Enrolment, Records
from index.reembedding import fill
from index.second_space import SecondSpace
from index.store import FILE, GalleryStore
from tests.index.conftest import DIM, SPACE, picture, unit
from vireid.arrays import Float32Array
from vireid.engines.fake import FakeEngine
from vireid.errors import DataLoss, EmbeddingNotFinite, GalleryMismatch
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

Make = Callable[..., Enrolment]
OTHER, OTHER_DIM, MANY = "6" * 64, 8, 20


def make(records: Records, space: str = OTHER, dim: int = OTHER_DIM) -> int:
    """Give all items that lack one a vector of a second space; return how many did."""
    second = SecondSpace(records)
    second.begin(space, dim)
    keys = [row.key for row in second.lacking(0, 1000)]
    rows = [unit((space, key), dim) for key in keys]
    second.put(keys, np.array(rows, np.float32).reshape(-1, dim))
    return len(keys)


@pytest.fixture
def folder(tmp_path: Path, enrolment: Make) -> Path:
    """A closed gallery with two spaces."""
    store = GalleryStore(tmp_path, SPACE, DIM)
    gallery = store.create("g")
    gallery.enroll([enrolment(f"item-{n:04}") for n in range(MANY)])
    assert make(gallery.records) == MANY
    store.close()
    return tmp_path / "galleries" / "g"


def change(folder: Path, find: bytes, at: int, bit: int) -> None:
    """Flip a bit beside some bytes that are in the file once."""
    data = bytearray((folder / FILE).read_bytes())
    assert data.count(find) == 1
    data[data.index(find) + at] ^= bit
    (folder / FILE).write_bytes(data)


def test_a_damaged_second_vector_is_named_and_made_again(folder: Path, tmp_path: Path) -> None:
    assert inspect(folder).damage == ()
    change(folder, unit((OTHER, 5), OTHER_DIM).tobytes(), 3, 1)
    found = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert found.exit_code == 1
    assert "second vector of item number 5" in found.output
    gallery = Gallery(folder / FILE)
    with pytest.raises(DataLoss, match="vireid index reembed DIR --gallery g"):
        gallery.exchange()
    assert (gallery.space_id, gallery.info().items) == (SPACE, MANY)
    assert make(gallery.records) == 1
    gallery.exchange()
    assert (gallery.space_id, gallery.vector("item-0004").tobytes()) == (
        OTHER,
        unit((OTHER, 5), OTHER_DIM).tobytes(),
    )
    gallery.close()
    assert inspect(folder).damage == ()


@pytest.mark.parametrize("at", [-4, -3, 0])
def test_a_row_of_the_second_space_that_is_flipped_is_named(folder: Path, at: int) -> None:
    """Its place, four bytes before, makes a number of the text; a flipped letter makes another space of it."""
    change(folder, OTHER.encode(), at, 0x80 if at else 1)
    damage = inspect(folder).damage
    assert damage
    gallery = Gallery(folder / FILE)  # what is in use is whole
    assert gallery.info().items == MANY
    with pytest.raises(DataLoss):
        gallery.exchange()
    gallery.close()


def test_an_item_that_expires_goes_over_with_its_time(folder: Path, enrolment: Make) -> None:
    until = datetime.now(UTC) + timedelta(days=3)
    gallery = Gallery(folder / FILE)
    gallery.enroll([replace(enrolment("goes"), expires_at=until)])
    make(gallery.records)
    gallery.exchange()
    gallery.close()
    assert inspect(folder).damage == ()
    gallery = Gallery(folder / FILE)
    assert gallery.item("goes").expires_at == until
    gallery.exchange()
    assert gallery.vector("goes").tobytes() == enrolment("goes").vector.tobytes()
    gallery.close()


@pytest.mark.parametrize("dim", [OTHER_DIM, DIM])
def test_vectors_that_waited_for_an_exchange_are_refused(
    tmp_path: Path, enrolment: Make, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of the space before, and nothing of them shows it where the dimension is the same."""
    store = GalleryStore(tmp_path, SPACE, DIM)
    gallery = store.create("g")
    gallery.enroll([enrolment("a")])
    make(gallery.records, dim=dim)
    settled, exchanged, refused = threading.Event(), threading.Event(), []
    settle = limits.settle

    def slow(*words: object) -> object:
        found = settle(*words)  # type: ignore[arg-type]
        settled.set()
        assert exchanged.wait(20)
        return found

    def enrol() -> None:
        with pytest.raises(GalleryMismatch, match="meanwhile") as caught:
            gallery.enroll([enrolment("late")])
        refused.append(caught.value)

    monkeypatch.setattr(limits, "settle", slow)
    thread = threading.Thread(target=enrol)
    thread.start()
    assert settled.wait(20)
    gallery.exchange()
    exchanged.set()
    thread.join(20)
    assert [one.metadata["expected"] for one in refused] == [OTHER]
    assert [item.item_id for item in gallery.items()[0]] == ["a"]
    store.close()
    found = inspect(tmp_path / "galleries" / "g")
    assert (found.items, found.damage) == (1, ())


def test_a_model_that_makes_no_numbers_fills_nothing(
    tmp_path: Path, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object, images: np.ndarray, modalities: np.ndarray) -> Float32Array:
        return np.full((len(images), 24), np.nan, np.float32)

    store = GalleryStore(tmp_path, SPACE, DIM)
    gallery = store.create("g")
    gallery.enroll([enrolment("a", modality=Modality.INFRARED, image=picture("a"))])
    engine = FakeEngine(dim=24)
    monkeypatch.setattr(FakeEngine, "embed", broken)
    monkeypatch.setattr("index.reembedding._image", lambda *_: np.zeros((*engine.input_size, 3), np.uint8))
    with pytest.raises(EmbeddingNotFinite):
        fill(gallery.records, engine, Preprocess(*engine.input_size), lambda _: None)
    assert SecondSpace(gallery.records).missing() == 1
    store.close()
