"""Another bundle's vectors for the same items: made while the gallery goes on, exchanged at once, and back."""

import hashlib
import io
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index.centring import learn
from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from index.reembedding import fill
from index.second_space import SecondSpace
from vireid.arrays import Float32Array
from vireid.engines.fake import FakeEngine
from vireid.errors import DataLoss, FailedPrecondition, InvalidRequest
from vireid.images import decode as decoding
from vireid.images.preprocess import Preprocess
from vireid.types import ItemMeta, Modality

OLD, NEW = FakeEngine(dim=24), FakeEngine(dim=40)
PREPARE = Preprocess(*OLD.input_size)


def png(n: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(n).integers(0, 255, (16, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((64, 128)).save(file, "PNG")
    return file.getvalue()


def embedded(engine: FakeEngine, data: bytes, modality: Modality) -> Float32Array:
    images = PREPARE.apply(decoding.decode(data).rgb)[None]
    return engine.embed(images, np.array([modality], np.int64))[0]


def made(n: int) -> Enrolment:
    data, modality = png(n), Modality(n % 2)
    digest = hashlib.sha256(data).hexdigest()
    return Enrolment(
        f"i{n}", modality, ItemMeta(person=str(n)), digest, embedded(OLD, data, modality), data, data
    )


def nothing(_: int) -> None:
    return


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "g.sqlite"
    Records.create(place, Head("g", OLD.space_id, OLD.dim, True))
    return place


@pytest.fixture
def gallery(path: Path) -> Gallery:
    opened = Gallery(path)
    opened.enroll([made(n) for n in range(70)])
    return opened


def check(gallery: Gallery, engine: FakeEngine, numbers: range) -> None:
    """Every item has the vector that this engine makes of its image, is found by it, and is otherwise as it was."""
    assert (gallery.space_id, gallery.info().dim, gallery.info().items) == (
        engine.space_id,
        engine.dim,
        len(numbers),
    )
    for n in numbers:
        expected = embedded(engine, png(n), Modality(n % 2))
        np.testing.assert_allclose(gallery.vector(f"i{n}"), expected, atol=1e-6)
        assert gallery.search(expected[None], 1)[0].hits[0].item.item_id == f"i{n}"
        assert gallery.item(f"i{n}").meta.person == str(n)
        assert gallery.image(f"i{n}") == png(n)


def test_there_and_back(gallery: Gallery, path: Path) -> None:
    before = {n: gallery.vector(f"i{n}").tobytes() for n in range(70)}
    steps: list[int] = []
    report = fill(gallery.records, NEW, PREPARE, steps.append)
    assert (report.embedded, report.failures, sum(steps)) == (70, [], 70)
    check(gallery, OLD, range(70))  # nothing changed so far
    gallery.exchange()
    check(gallery, NEW, range(70))
    gallery.close()
    gallery = Gallery(path)
    check(gallery, NEW, range(70))
    with pytest.raises(InvalidRequest, match="already"):
        fill(gallery.records, NEW, PREPARE, nothing)
    gallery.exchange()
    check(gallery, OLD, range(70))
    assert {n: gallery.vector(f"i{n}").tobytes() for n in range(70)} == before
    gallery.close()


def test_items_that_come_and_go_meanwhile(gallery: Gallery) -> None:
    def meddle(_: int) -> None:
        if gallery.info().items == 70:
            gallery.enroll([made(70), made(71)])
            gallery.remove(ids=["i1"])
            gallery.enroll([replace(made(5), meta=ItemMeta(person="else"))])

    fill(gallery.records, NEW, PREPARE, meddle)
    gallery.enroll([made(72)])
    with pytest.raises(FailedPrecondition, match="1 item without") as caught:
        gallery.exchange()
    assert caught.value.stable_reason == "SECOND_SPACE_INCOMPLETE"
    assert gallery.space_id == OLD.space_id
    assert fill(gallery.records, NEW, PREPARE, nothing).embedded == 1
    gallery.exchange()
    assert gallery.info().items == 72
    assert gallery.item("i5").meta.person == "else"
    for n in (0, 5, 70, 72):
        np.testing.assert_allclose(gallery.vector(f"i{n}"), embedded(NEW, png(n), Modality(n % 2)), atol=1e-6)
    gallery.close()


def test_it_goes_on_after_a_stop_and_starts_anew_with_another_bundle(gallery: Gallery, path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(_: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        fill(gallery.records, NEW, PREPARE, stop)
    gallery.close()
    records = Records(path)
    assert SecondSpace(records).space() == (NEW.space_id, 40)
    assert SecondSpace(records).missing() == 70 - 32
    assert fill(records, NEW, PREPARE, nothing).embedded == 70 - 32
    third = FakeEngine(dim=8)
    assert fill(records, third, PREPARE, nothing).embedded == 70
    records.close()
    gallery = Gallery(path)
    gallery.exchange()
    check(gallery, third, range(70))
    gallery.close()


def test_without_a_second_space(gallery: Gallery) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        gallery.exchange()
    assert caught.value.stable_reason == "NO_SECOND_SPACE"
    check(gallery, OLD, range(70))
    gallery.close()


def test_images_that_are_missing_or_damaged_are_named(gallery: Gallery, path: Path) -> None:
    gallery.enroll([replace(made(90), image=None)])
    gallery.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE pictures SET image = x'00' WHERE key = 4")
    db.commit()
    db.close()
    gallery = Gallery(path)
    report = fill(gallery.records, NEW, PREPARE, nothing)
    assert [item_id for item_id, _ in report.failures] == ["i3", "i90"]
    assert "IMAGE_NOT_STORED" in report.failures[1][1]
    with pytest.raises(FailedPrecondition, match="2 items"):
        gallery.exchange()
    assert gallery.info().items == 71
    gallery.close()


@pytest.mark.parametrize("table", ["second_vectors", "items"])
def test_a_damaged_vector_is_not_exchanged(gallery: Gallery, path: Path, table: str) -> None:
    fill(gallery.records, NEW, PREPARE, nothing)
    db = sqlite3.connect(path)
    db.execute(f"UPDATE {table} SET vector = (SELECT vector FROM {table} WHERE key = 9) WHERE key = 8")
    db.commit()
    db.close()
    with pytest.raises(DataLoss, match="number 8"):
        gallery.exchange()
    check_space = gallery.info()
    assert (check_space.space_id, check_space.items) == (OLD.space_id, 70)
    gallery.close()


def test_what_is_removed_goes_from_both_spaces(gallery: Gallery, path: Path) -> None:
    fill(gallery.records, NEW, PREPARE, nothing)
    vectors = [embedded(one, png(7), Modality.INFRARED) for one in (OLD, NEW)]
    gallery.exchange()
    both = [gallery.vector("i7").tobytes()]
    gallery.exchange()
    both.append(gallery.vector("i7").tobytes())
    data = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert all(vector in data for vector in both)
    np.testing.assert_allclose(np.frombuffer(both[0], "<f4"), vectors[1], atol=1e-6)
    gallery.remove(ids=["i7"])
    data = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert not any(vector in data for vector in both)
    gallery.close()
    assert Gallery(path).info().items == 69


def test_damaged_centres_of_the_other_space_are_left_when_it_is_filled_again(
    gallery: Gallery, path: Path
) -> None:
    fill(gallery.records, NEW, PREPARE, nothing)
    gallery.exchange()
    gallery.centre(learn(gallery.records).centres())
    gallery.exchange()
    db = sqlite3.connect(path)
    db.execute("UPDATE centres SET visible = visible + 1")
    db.commit()
    db.close()
    with pytest.raises(DataLoss, match=f"reembed .*{NEW.space_id[:12]}"):
        gallery.exchange()
    assert fill(gallery.records, NEW, PREPARE, nothing).embedded == 0
    gallery.exchange()
    assert gallery.centres is None
    check(gallery, NEW, range(70))
    gallery.centre(learn(gallery.records).centres())
    gallery.exchange()
    fill(gallery.records, NEW, PREPARE, nothing)  # what is whole stays
    gallery.exchange()
    assert gallery.centres is not None
    gallery.close()
