"""A gallery whose items came many at a time without pictures: it holds, shows, loses and names what any other does."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import inspection, opening, schema
from index.gallery import Gallery
from index.head import Head
from index.parcels import AT_MOST
from index.records import Enrolment, Records
from index.second_space import SecondSpace
from index.store import FILE
from tests.index.conftest import DIM, SPACE, unit
from tests.index.packed import MANY, bare, content, counted, gallery_file, packed_file, told
from tests.index.test_damage import Windows, whole
from vireid.errors import DataLoss, ImageNotStored, ItemNotFound, VireidError
from vireid.types import Filter

FLIPS = 300
__all__ = ["gallery_file", "packed_file"]  # fixtures


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("bulk"), st.integers(0, 200), st.integers(AT_MOST, 140)),
            st.tuples(st.just("few"), st.integers(0, 300), st.integers(1, 5)),
            st.tuples(st.just("remove"), st.integers(0, 300), st.integers(1, 80)),
            st.tuples(st.just("restart"), st.booleans(), st.just(0)),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_any_course_of_changes_equals_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("g") / FILE
    Records.create(path, Head("g", SPACE, DIM, True))
    gallery, truth = Gallery(path), dict[str, Enrolment]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "CACHED_FROM", 1)
        for version, (what, start, many) in enumerate(steps, start=1):
            if what == "restart":
                gallery.close()
                gallery = Gallery(path, cached=bool(start))
            elif what == "remove":
                ids = [f"item-{n}-" for n in range(start, start + many)]
                receipt = gallery.remove(ids=ids)
                assert receipt.items == len([truth.pop(one) for one in ids if one in truth])
            else:
                batch = [bare(n, version) for n in range(start, start + many)]
                gallery.enroll(batch)
                truth |= {new.item_id: new for new in batch}
            expected = {one: (new.meta.person, new.vector.tobytes()) for one, new in truth.items()}
            assert told(gallery) == expected
            assert gallery.info().items == len(truth)
        for new in truth.values():
            assert gallery.search(new.vector[None], 1)[0].hits[0].item.item_id == new.item_id
    gallery.close()
    records = Records(path)
    assert [why for row, why in records.each() if row is None] == []
    assert records.structure() == []
    assert records.count() == (len(truth), 0)
    records.close()


def test_items_with_pictures_are_not_packed(path: Path, enrolment: Callable[..., Enrolment]) -> None:
    gallery = Gallery(path)
    batch = [enrolment(f"i{n}", image=None) for n in range(AT_MOST)]
    gallery.enroll(batch)
    gallery.close()
    assert counted(path) == (0, AT_MOST)


def test_what_a_packed_item_shows(path: Path, sound: bytes) -> None:
    gallery = Gallery(path)
    for read in (gallery.image, gallery.thumbnail):
        with pytest.raises(ImageNotStored):
            read("item-3-")
    assert gallery.facets()["cameras"] == {f"c{n}": len(range(n, MANY + 3 + AT_MOST, 3)) for n in range(3)}
    assert gallery.remove(filter=Filter(persons=("person-3-0-",))).items == 1
    with pytest.raises(ItemNotFound):
        gallery.vector("item-3-")
    assert gallery.enroll([bare(4), bare(3)]) == ["unchanged", "created"]
    gallery.close()
    assert counted(path) == (MANY, 3 + AT_MOST)  # of the parcel that lost one, the others are rows
    findings = inspection.inspect(path.parent)
    assert (findings.items, findings.damage) == (MANY + 3 + AT_MOST, ())


def test_nothing_of_a_removed_item_stays_on_disk(path: Path) -> None:
    gallery, draw = Gallery(path), random.Random(3)
    alive: dict[str, Enrolment] = {}
    gone: list[Enrolment] = []
    for step in range(8):
        batch = [bare(1000 * (step + 1) + n) for n in range(100)]
        gallery.enroll(batch)
        alive |= {new.item_id: new for new in batch}
        chosen = draw.sample(sorted(alive), 20)
        if step % 3 == 2:
            gallery.enroll([bare(int(one.split("-")[1]), version=1) for one in chosen])
        else:
            gallery.remove(ids=chosen)
        gone += [alive.pop(one) for one in chosen]
    stays = {item.item_id for item in gallery.items(limit=1000)[0]}
    for _ in ("open", "closed"):
        data = whole(path)
        windows = Windows(data)
        for one in gone:
            assert windows.share(one.vector.tobytes()) == 0
            assert one.meta.person.encode() not in data
            assert one.sha256.encode() not in data
            assert one.item_id in stays or one.item_id.encode() not in data
        for one in alive.values():
            assert windows.share(one.vector.tobytes()) > 0.6  # a page may end within one
            assert one.item_id.encode() in data
        gallery.close()


def test_a_parcel_that_goes_whole_becomes_no_rows(path: Path, sound: bytes) -> None:
    gallery = Gallery(path)
    gallery.remove(ids=[f"item-{n}-" for n in range(AT_MOST)])
    gallery.close()
    assert counted(path) == (MANY, 3)


def test_a_flipped_bit_is_never_answered_with(path: Path, sound: bytes) -> None:
    gallery = Gallery(path)
    truth = content(gallery)
    gallery.close()
    draw, refused = random.Random(5), list[str]()
    for _ in range(FLIPS):
        broken = bytearray(sound)
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            gallery = Gallery(path)
        except VireidError as error:
            refused.append(error.message)
        else:
            assert content(gallery) == truth
            gallery.close()
        for leftover in path.parent.glob(path.name + "-*"):
            leftover.unlink()
    assert len(refused) > FLIPS // 3
    assert all(str(path) in message for message in refused)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE parcels SET first = 1000 WHERE first = 1",
        "UPDATE parcels SET count = 63 WHERE first = 1",
        "UPDATE parcels SET count = 'x' WHERE first = 1",
        "UPDATE parcels SET vectors = (SELECT vectors FROM parcels WHERE first = 65) WHERE first = 1",
        "UPDATE parcels SET words = replace(CAST(words AS TEXT), 'person-3', 'person-4') WHERE first = 1",
        "UPDATE parcels SET checksum = zeroblob(16) WHERE first = 1",
        "DELETE FROM parcels WHERE first = 65",
        "DELETE FROM items WHERE key = 151",
        "INSERT INTO items SELECT 30, 'another', modality, person, camera, captured_at, attributes, sha256, has_image, "
        "enrolled_at, vector, checksum, expires_at FROM items WHERE key = 151",
        "DROP TABLE parcels",
    ],
)
def test_a_changed_parcel_is_not_opened(path: Path, sound: bytes, change: str) -> None:
    db = sqlite3.connect(path)
    db.execute(change)
    db.commit()
    db.close()
    with pytest.raises(DataLoss, match=FILE):
        Gallery(path)
    assert inspection.damage(path.parent)


def test_a_parcel_put_back_from_yesterday_is_noticed(path: Path, sound: bytes) -> None:
    db = sqlite3.connect(path)
    (old,) = db.execute(f"SELECT {schema.PARCEL} FROM parcels WHERE first = 65").fetchall()
    gallery = Gallery(path)
    gallery.remove(ids=["item-100-"])
    gallery.enroll([bare(100, version=1)])
    gallery.close()
    db.execute("DELETE FROM items WHERE key > 64 AND key <= 128")
    db.execute(schema.INSERT_PARCEL, old)
    db.commit()
    db.close()
    with pytest.raises(DataLoss, match=r"were found|were written"):
        Gallery(path)


def test_a_vector_that_is_damaged_meanwhile_is_named(path: Path, sound: bytes) -> None:
    gallery, db = Gallery(path), sqlite3.connect(path)
    (data,) = db.execute("SELECT vectors FROM parcels WHERE first = 1").fetchone()
    broken = bytearray(data)
    broken[4 * DIM * 3] ^= 1
    db.execute("UPDATE parcels SET vectors = ? WHERE first = 1", (bytes(broken),))
    db.commit()
    db.close()
    records = gallery.records
    with pytest.raises(DataLoss, match="'item-3-' does not match"):
        records.vector(4, "item-3-")
    assert records.vector(1000, "item-0-") is None
    gallery.remove(ids=["item-150-"])
    assert records.vector(MANY + 1, "item-150-") is None  # just after the last of a parcel
    found = records.vector(5, "item-4-")
    assert found is not None
    assert found.tobytes() == unit((4, 0)).tobytes()
    with pytest.raises(DataLoss, match="items number 1 to 64 does not match its checksum: 'item-3-';"):
        gallery.remove(ids=["item-4-"])
    assert gallery.info().items == MANY + 2 + AT_MOST
    gallery.close()


def test_a_second_space_has_rows_only(path: Path, sound: bytes) -> None:
    gallery = Gallery(path)
    second = SecondSpace(gallery.records)
    second.begin("6" * 64, 8)
    total = MANY + 3 + AT_MOST
    assert counted(path) == (0, total)
    assert (second.missing(), len(second.lacking(0, 1000))) == (total, total)
    gallery.enroll([bare(n) for n in range(1000, 1000 + AT_MOST)])
    assert counted(path) == (0, total + AT_MOST)
    keys = [row.key for row in second.lacking(0, 1000)]
    second.put(keys, np.stack([unit(key, 8) for key in keys]))
    gallery.exchange()
    assert gallery.vector("item-3-").tobytes() == unit(4, 8).tobytes()
    gallery.exchange()
    assert gallery.vector("item-3-").tobytes() == unit((3, 0)).tobytes()
    gallery.close()
    assert inspection.damage(path.parent) == []
    Gallery(path).close()


def test_what_is_packed_still_lacks_a_second_vector(
    path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the beginning of a space and the making of rows."""
    records = Records(path)
    monkeypatch.setattr(Records, "unpack", lambda self: None)
    second = SecondSpace(records)
    second.begin("6" * 64, 8)
    assert second.missing() == MANY + 3 + AT_MOST
    records.close()


def test_rows_are_made_of_parcels_a_few_at_a_time(
    path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.records.UNPACKED_AT_ONCE", 1)
    records = Records(path)
    version, told_of = records.head.version, [row for row, _ in records.each()]
    records.unpack()
    assert records.head.version == version + len(range(0, MANY, AT_MOST)) + 1
    assert [row for row, _ in records.each()] == told_of
    records.unpack()
    records.close()
    assert counted(path) == (0, MANY + 3 + AT_MOST)


def test_parcels_are_read_a_few_at_a_time(path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.stored.PARCELS_AT_ONCE", 2)
    records = Records(path)
    keys = [table.keys.tolist() for table, _ in records.chunks()]
    assert [len(some) for some in keys] == [2 * AT_MOST, MANY - 2 * AT_MOST, 3, AT_MOST]
    assert [key for some in keys for key in some] == list(range(1, MANY + 3 + AT_MOST + 1))
    records.close()


def test_a_cache_of_a_parcel_of_one_is_of_use(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What came after it begins behind that one."""
    monkeypatch.setattr(opening, "CACHED_FROM", 1)
    gallery = Gallery(path)
    gallery.enroll([bare(n) for n in range(AT_MOST + 1)])
    gallery.close()
    gallery = Gallery(path)
    assert len(content(gallery)) == AT_MOST + 1
    gallery.close()
    assert caplog.text == ""


def test_a_file_of_before_there_were_parcels_is_brought_on(path: Path) -> None:
    gallery = Gallery(path)
    gallery.enroll([bare(n) for n in range(3)])
    gallery.close()
    db = sqlite3.connect(path)
    db.execute("DROP TABLE parcels")
    db.execute("PRAGMA user_version = 5")
    db.close()
    gallery = Gallery(path)
    gallery.enroll([bare(n) for n in range(3, 3 + AT_MOST)])
    gallery.close()
    assert counted(path) == (AT_MOST, 3)
    gallery = Gallery(path, cached=False)
    assert len(content(gallery)) == AT_MOST + 3
    gallery.close()


def test_a_snapshot_and_a_smaller_file_hold_the_same(path: Path, sound: bytes) -> None:
    gallery = Gallery(path)
    truth = content(gallery)
    gallery.remove(ids=["item-0-"])
    del truth["item-0-"]
    gallery.snapshot()
    gallery.compact()
    assert content(gallery) == truth
    gallery.close()
    findings = inspection.inspect(path.parent)
    assert (findings.items, findings.snapshots, findings.damage) == (len(truth), 1, ())
