"""A start from the cache is a start from the truth, and a cache that lies is thrown away."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index import opening
from index.cache import ROWS_AT_ONCE, SUFFIX, Cache, StaleCacheError
from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from index.scan import ScanBackend
from vireid.errors import DataLoss, StorageError
from vireid.types import ItemMeta, Modality

Make = Callable[..., Enrolment]
DIM = 16
NAME = f"g.sqlite{SUFFIX}"


@pytest.fixture(autouse=True)
def every_gallery_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CACHED_FROM", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "g.sqlite"
    Records.create(place, Head("g", "5" * 64, DIM, True))
    return place


@pytest.fixture
def read_from_file(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each start read from the file."""
    counts: list[int] = []
    real = Records.chunks

    def counted(self: Records, *args: object):  # type: ignore[no-untyped-def]
        counts.append(0)
        for table, vectors in real(self, *args):
            counts[-1] += len(table)
            yield table, vectors

    monkeypatch.setattr(Records, "chunks", counted)
    return counts


def some(enrolment: Make, names: range, **fields: object) -> list[Enrolment]:
    return [
        enrolment(
            f"i{n}",
            person=f"p{n % 3}",
            camera="äß" * (n % 2),
            modality=Modality(n % 2),
            attributes={"n": str(n % 4)} if n % 5 else {},
            **fields,
        )
        for n in names
    ]


def content(gallery: Gallery) -> list[tuple[object, ...]]:
    return [
        (item, gallery.vector(item.item_id).tobytes(), gallery.image(item.item_id))
        for item in gallery.items(limit=1000)[0]
    ]


def test_a_start_from_the_cache_reads_no_record_and_answers_the_same(
    path: Path, enrolment: Make, read_from_file: list[int]
) -> None:
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(30)))
    gallery.enroll([enrolment("bare", image=None, thumbnail=None)])
    truth = [(item, gallery.vector(item.item_id).tobytes()) for item in gallery.items(limit=99)[0]]
    told = gallery.facets(), gallery.labelled().item_ids, gallery.info()
    gallery.close()
    again = Gallery(path)
    assert read_from_file == [0, 0]
    assert [(item, again.vector(item.item_id).tobytes()) for item in again.items(limit=99)[0]] == truth
    assert (again.facets(), again.labelled().item_ids, again.info()) == told
    again.close()


def test_what_came_after_is_replayed(path: Path, enrolment: Make, read_from_file: list[int]) -> None:
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(20)))
    gallery.close()
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(20, 27)))
    truth = content(gallery)
    gallery._records.close()  # as a kill leaves it: the cache is of the state before
    again = Gallery(path)
    assert read_from_file[-1] == 7
    assert content(again) == truth
    again.close()
    Gallery(path).close()
    assert read_from_file[-1] == 0


@pytest.mark.parametrize("change", ["remove", "replace", "expire"])
def test_nothing_that_went_is_left_in_it(path: Path, enrolment: Make, change: str) -> None:
    gallery = Gallery(path)
    batch = some(enrolment, range(10))
    gallery.enroll(batch)
    gallery.close()
    gallery = Gallery(path)
    assert batch[3].vector.tobytes() in path.with_name(NAME).read_bytes()
    if change == "remove":
        gallery.remove(ids=["i3"], dry_run=True)
        assert path.with_name(NAME).exists()
        gallery.remove(ids=["i3"])
    elif change == "replace":
        gallery.enroll([enrolment("i3", seed="another")])
    else:
        gallery.retain(1)
        gallery._holdings._columns._enrolled[3] -= 10**7
        gallery.retain(2)
        assert gallery.expire().items == 1
    assert not path.with_name(NAME).exists()
    gallery.close()
    assert batch[3].vector.tobytes() not in path.with_name(NAME).read_bytes()
    again = Gallery(path)
    assert again.info().items == (10 if change == "replace" else 9)
    again.close()


def test_every_flip_and_cut_is_noticed_or_without_effect(
    path: Path, enrolment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(40)))
    truth = content(gallery)
    gallery.close()
    cache, draw = path.with_name(NAME), random.Random(5)
    sound = cache.read_bytes()
    broken = []
    for _ in range(300):
        flipped = bytearray(sound)
        flipped[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
        broken.append(bytes(flipped))
    broken += [sound[:length] for length in range(0, len(sound), 256)]
    for data in broken:
        cache.write_bytes(data)
        caplog.clear()
        gallery = Gallery(path)
        assert NAME in caplog.text
        assert content(gallery) == truth
        gallery._records.close()
    cache.write_bytes(sound)
    caplog.clear()
    gallery = Gallery(path)
    assert caplog.text == ""
    gallery.close()


def test_a_flipped_file_under_a_sound_cache(path: Path, enrolment: Make) -> None:
    """The cache answers as it was written; what the file alone knows is checked as it is read; ``verify`` sees all."""
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(40)))
    truth = content(gallery)
    gallery.close()
    sound, cached, seal = (
        one.read_bytes() for one in (path, path.with_name(NAME), path.with_name("g.sqlite-seal"))
    )
    draw, refused = random.Random(8), 0
    for _ in range(300):
        for one in path.parent.iterdir():
            one.unlink()
        flipped = bytearray(sound)
        flipped[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        path.with_name(NAME).write_bytes(cached)
        path.with_name("g.sqlite-seal").write_bytes(seal)
        try:
            gallery = Gallery(path)
        except DataLoss:
            refused += 1
            continue
        for item, vector, image in truth:
            item_id = item.item_id  # type: ignore[attr-defined]
            assert gallery.item(item_id) == item
            assert gallery.vector(item_id).tobytes() == vector
            try:
                assert gallery.image(item_id) == image
            except DataLoss:
                refused += 1
        gallery._records.close()
    assert refused > 15


def test_the_cache_of_another_gallery_or_state_is_thrown_away(
    path: Path, enrolment: Make, tmp_path: Path
) -> None:
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(5)))
    gallery.close()
    other = tmp_path / "other" / "g.sqlite"
    other.parent.mkdir()
    Records.create(other, Head("h", "5" * 64, DIM, True))
    gallery = Gallery(other)
    gallery.enroll(some(enrolment, range(100, 105)))
    gallery.close()
    path.with_name(NAME).write_bytes(other.with_name(NAME).read_bytes())
    gallery = Gallery(path)
    assert [item.item_id for item in gallery.items()[0]] == [f"i{n}" for n in range(5)]
    gallery.close()
    twin = tmp_path / "twin" / "g.sqlite"  # same name and space, same count, other items
    twin.parent.mkdir()
    Records.create(twin, Head("g", "5" * 64, DIM, True))
    gallery = Gallery(twin)
    gallery.enroll(some(enrolment, range(200, 205)))
    gallery.close()
    path.with_name(NAME).write_bytes(twin.with_name(NAME).read_bytes())
    gallery = Gallery(path)
    assert [item.item_id for item in gallery.items()[0]] == [f"i{n}" for n in range(5)]
    gallery.close()


def test_a_damaged_file_is_not_hidden_by_a_useless_cache(path: Path, enrolment: Make) -> None:
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(5)))
    gallery.close()
    path.with_name(NAME).write_bytes(b"no cache")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"p1", b"p2"))
    with pytest.raises(DataLoss):
        Gallery(path)


def test_small_galleries_have_none(path: Path, enrolment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CACHED_FROM", 6)
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(5)))
    gallery.close()
    assert not path.with_name(NAME).exists()


def test_a_disk_that_refuses_the_cache_refuses_nothing_else(
    path: Path, enrolment: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(5)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("index.cache.os.fsync", full)
        gallery.close()
    assert "the next start takes longer" in caplog.text
    assert sorted(one.name for one in path.parent.iterdir()) == ["g.sqlite", "g.sqlite-seal"]
    path.with_name(f"{NAME}.part").write_bytes(b"left by a kill")
    gallery = Gallery(path)
    assert gallery.info().items == 5
    gallery.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["g.sqlite", NAME, "g.sqlite-seal"]


def test_several_blocks(path: Path) -> None:
    """More vectors than are read at a time."""
    count = 2 * ROWS_AT_ONCE + 100
    rows = np.random.default_rng(0).standard_normal((count, DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery = Gallery(path)
    gallery.enroll(
        [Enrolment(f"i{n}", Modality.VISIBLE, ItemMeta(), "0" * 64, rows[n]) for n in range(count)]
    )
    gallery.close()
    head = Records(path)
    found = Cache(path).read(head.head)
    assert found is not None
    sizes, seen = [], []
    for table, vectors in found[1]:
        sizes.append(len(table))
        seen.append(vectors.copy())  # the next but one is read into the same memory
    np.testing.assert_array_equal(np.concatenate(seen), rows)
    assert sizes == [ROWS_AT_ONCE, ROWS_AT_ONCE, 100]
    with pytest.raises(StaleCacheError):
        Cache(path).read(Head("g", "5" * 64, DIM, True))
    head.close()


def test_room_is_made_once_where_a_backend_can(
    path: Path, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[int] = []
    real = ScanBackend.expect
    monkeypatch.setattr(
        ScanBackend, "expect", lambda self, count: (expected.append(count), real(self, count))
    )
    for backend in ("scan", "exact"):  # one that can be told, and one that cannot
        gallery = Gallery(path, backend)
        gallery.enroll(some(enrolment, range(5)))
        gallery.close()
        for cached in (True, False):
            gallery = Gallery(path, backend, cached)
            assert gallery.info().items == 5
            assert gallery.search(enrolment("i3").vector[None], 1)[0].hits[0].item.item_id == "i3"
            gallery.close()
    assert expected == [0, 5, 5]


def test_a_cache_that_cannot_be_taken_away_keeps_what_it_holds(
    path: Path, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds what is to go, so nothing goes."""
    gallery = Gallery(path)
    gallery.enroll(some(enrolment, range(5)))
    gallery.close()
    gallery = Gallery(path)

    def refuses(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuses)
        with pytest.raises(StorageError, match="Read-only"):
            gallery.remove(ids=["i2"])
    assert gallery.item("i2").item_id == "i2"
    assert gallery.remove(ids=["i2"]).items == 1
    gallery.close()
