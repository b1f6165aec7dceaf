"""A gallery's file after flips, cuts and deletions: the same content, or an error that names it."""

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from index.schema import FORMAT
from index.store import GalleryStore
from vireid.errors import DataLoss, StorageError, VireidError
from vireid.types import Filter

Make = Callable[..., Enrolment]
DIM = 16
FLIPS = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "g.sqlite"
    Records.create(place, Head("g", "5" * 64, DIM, True))
    return place


def whole(path: Path) -> bytes:
    """The gallery's bytes on disk: the file, its log, and nothing else of it."""
    return b"".join(one.read_bytes() for one in sorted(path.parent.glob(path.name + "*")))


def content(gallery: Gallery) -> list[tuple[object, ...]]:
    items = gallery.items(limit=1000)[0]
    return [(item, gallery.vector(item.item_id).tobytes()) for item in items]


def test_a_flipped_bit_is_never_answered_with(path: Path, enrolment: Make) -> None:
    """Names, vectors, times, pictures: what is given back is what was enrolled, or damage is reported."""
    gallery = Gallery(path)
    batch = [
        enrolment(f"item-{n}", person=f"person-{n}", camera="c", attributes={"n": str(n)}) for n in range(40)
    ]
    gallery.enroll(batch)
    gallery.remove(ids=["item-3", "item-17"])
    truth = content(gallery)
    pictures = {
        item.item_id: (gallery.image(item.item_id), gallery.thumbnail(item.item_id)) for item, _ in truth
    }
    gallery.close()
    sound = path.read_bytes()
    draw, refused, pictures_refused = random.Random(4), [], []
    for _ in range(FLIPS):
        broken = bytearray(sound)
        place = draw.randrange(len(broken))
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            gallery = Gallery(path)
        except VireidError as error:
            refused.append(error.message)
            continue
        assert content(gallery) == truth
        for item_id, expected in pictures.items():
            for read, right in zip((gallery.image, gallery.thumbnail), expected, strict=True):
                try:
                    assert read(item_id) == right
                except DataLoss as error:
                    pictures_refused.append(error.message)
        gallery.close()
        for leftover in path.parent.glob(path.name + "-*"):
            leftover.unlink()
    assert len(refused) > FLIPS // 20
    assert len(pictures_refused) > FLIPS // 20
    assert all(str(path) in message for message in refused + pictures_refused)


def test_every_cut_is_noticed(path: Path, enrolment: Make) -> None:
    gallery = Gallery(path)
    gallery.enroll([enrolment(f"item-{n}") for n in range(30)])
    gallery.close()
    sound = path.read_bytes()
    for length in range(0, len(sound), 4096):
        path.write_bytes(sound[:length])
        with pytest.raises(DataLoss, match=r"g\.sqlite"):
            read_all(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE items SET person = 'someone else' WHERE key = 3",
        "UPDATE items SET item_id = 'item-99' WHERE key = 3",
        "UPDATE items SET captured_at = 5 WHERE key = 3",
        "UPDATE items SET modality = 1.5 WHERE key = 3",
        "UPDATE items SET vector = (SELECT vector FROM items WHERE key = 4) WHERE key = 3",
        "UPDATE items SET key = 77 WHERE key = 3",
        "DELETE FROM items WHERE key = 3",
        "UPDATE head SET items = items + 1",
        "UPDATE head SET space_id = 'other'",
        "UPDATE head SET dim = 8",
        "DELETE FROM head",
        "DROP TABLE items",
    ],
)
def test_a_changed_row_is_not_opened(path: Path, enrolment: Make, change: str) -> None:
    gallery = Gallery(path)
    gallery.enroll([enrolment(f"item-{n}", person=f"p{n}") for n in range(6)])
    gallery.close()
    with sqlite3.connect(path) as db:
        db.execute(change)
    db.close()
    with pytest.raises(DataLoss, match=r"g\.sqlite"):
        Gallery(path)


def test_a_row_put_back_from_yesterday_is_noticed(path: Path, enrolment: Make) -> None:
    """Its own checksum agrees and the count is right; the sum over all rows is not."""
    gallery = Gallery(path)
    gallery.enroll([enrolment("a", person="old")])
    with sqlite3.connect(path) as db:
        row = db.execute("SELECT * FROM items").fetchone()
    gallery.enroll([enrolment("a", person="new")])
    gallery.close()
    db.execute("DELETE FROM items")
    db.execute(f"INSERT INTO items VALUES ({', '.join('?' * len(row))})", row)
    db.commit()
    db.close()
    with pytest.raises(DataLoss):
        Gallery(path)


def test_a_swapped_picture_is_noticed(path: Path, enrolment: Make) -> None:
    gallery = Gallery(path)
    gallery.enroll([enrolment("a"), enrolment("b")])
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE pictures SET image = (SELECT image FROM pictures WHERE key = 2),"
            " thumbnail = (SELECT thumbnail FROM pictures WHERE key = 2),"
            " thumbnail_checksum = (SELECT thumbnail_checksum FROM pictures WHERE key = 2) WHERE key = 1"
        )
    db.execute("DELETE FROM pictures WHERE key = 2")
    db.commit()
    db.close()
    for read, item_id, words in (
        (gallery.image, "a", "does not match"),
        (gallery.thumbnail, "a", "does not match"),
        (gallery.image, "b", "vanished"),
        (gallery.thumbnail, "b", "vanished"),
    ):
        with pytest.raises(DataLoss, match=words):
            read(item_id)
    gallery.close()


def test_other_files_are_refused_by_name(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with pytest.raises(DataLoss, match="missing"):
        Gallery(other)
    other.write_bytes(b"not a database at all" * 500)
    with pytest.raises(DataLoss, match="other"):
        Gallery(other)
    other.unlink()
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(DataLoss, match="no vireid gallery"):
        Gallery(other)
    sqlite3.connect(path).execute(f"PRAGMA user_version = {FORMAT + 1}").connection.close()
    with pytest.raises(DataLoss, match=f"format {FORMAT + 1}") as caught:
        Gallery(path)
    assert caught.value.stable_reason == "GALLERY_FORMAT"


def test_how_the_file_is_written(path: Path) -> None:
    """What durability and deletion rest on, as SQLite itself says it is set."""
    records = Records(path)
    for connection in (records._writer, records.pictures._db):
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
        assert settings == {"journal_mode": b"wal", "synchronous": 2, "secure_delete": 1}  # 2: full
    records.close()


@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_a_file_of_an_older_format_is_brought_on(path: Path, enrolment: Make, before: int) -> None:
    gallery = Gallery(path)
    gallery.enroll([enrolment("old")])
    gallery.close()
    file = sqlite3.connect(path)
    if before == 1:
        file.execute("ALTER TABLE pictures DROP COLUMN image_sha256")
    if before < 3:
        file.execute("ALTER TABLE items DROP COLUMN expires_at")
        file.execute("ALTER TABLE head DROP COLUMN retention_s")
    if before < 4:
        file.execute("DROP TABLE second_space")
        file.execute("DROP TABLE second_vectors")
    else:
        file.execute("ALTER TABLE second_space DROP COLUMN centres")
    file.execute("DROP TABLE centres")
    file.execute("ALTER TABLE head DROP COLUMN centres")
    file.execute(f"PRAGMA user_version = {before}")
    file.close()
    for _ in range(2):
        gallery = Gallery(path)
        assert gallery.image("old") == enrolment("old").image
        gallery.enroll([enrolment("new", seed=object())])
        gallery.enroll([enrolment("new")])
        assert gallery.image("new") == enrolment("new").image
        gallery.close()


def test_damage_to_a_converted_image_is_named(path: Path, enrolment: Make) -> None:
    """Its sha256 is the file's, so it has another for itself."""
    gallery = Gallery(path)
    gallery.enroll([replace(enrolment("a", sha256="0" * 64), converted=True)])
    assert gallery.image("a") == enrolment("a").image
    gallery.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE pictures SET image = ?", (enrolment("b").image,))
    file.close()
    with pytest.raises(DataLoss, match="'a'"):
        Gallery(path).image("a")


def read_all(path: Path) -> None:
    gallery = Gallery(path)
    for item in gallery.items(limit=1000)[0]:
        gallery.image(item.item_id)
        gallery.thumbnail(item.item_id)


class Windows:
    """Every run of eight bytes of some data; a run of random bytes that is among them was stored."""

    def __init__(self, data: bytes) -> None:
        self._all = np.unique(
            np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), 8).copy().view("<u8")
        )

    def share(self, content: bytes) -> float:
        runs = np.frombuffer(content[: len(content) // 8 * 8], "<u8")
        at = np.minimum(np.searchsorted(self._all, runs), len(self._all) - 1)
        return float((self._all[at] == runs).mean())


def test_nothing_of_a_removed_item_stays_on_disk(path: Path, enrolment: Make) -> None:
    """Neither pictures nor vectors nor names, in no corner of a page and not in the log."""
    gallery = Gallery(path)
    draw = random.Random(9)
    alive: dict[str, Enrolment] = {}
    gone: list[Enrolment] = []
    for step in range(30):
        batch = [
            enrolment(f"unmistakable-{step}-{n}-", person=f"somebody-{step}-{n}-", image=draw.randbytes(size))
            for n, size in enumerate(draw.choices([300, 3000, 20000], k=8))
        ]
        gallery.enroll(batch)
        alive.update({one.item_id: one for one in batch})
        chosen = draw.sample(sorted(alive), draw.randrange(1, 9))
        if step % 3 == 2:  # what is replaced is gone, too
            gallery.enroll([enrolment(one, seed=("again", step), person="else") for one in chosen])
        else:
            gallery.remove(ids=chosen)
        gone += [alive.pop(one) for one in chosen]
    stays = {item.item_id for item in gallery.items(limit=1000)[0]}
    for _ in ("open", "closed"):
        data = whole(path)
        windows = Windows(data)
        for one in gone:
            assert windows.share(one.image or b"") == 0
            assert windows.share(one.thumbnail or b"") == 0
            assert windows.share(one.vector.tobytes()) == 0
            assert one.meta.person.encode() not in data
            assert one.sha256.encode() not in data
            assert one.item_id in stays or one.item_id.encode() not in data
        for one in alive.values():  # what is looked for is found where it ought to be
            assert windows.share(one.image or b"") > 0.9
            assert windows.share(one.vector.tobytes()) == 1
            assert one.item_id.encode() in data
        gallery.close()


def test_a_deleted_gallery_leaves_no_file(store: GalleryStore, tmp_path: Path, enrolment: Make) -> None:
    store.create("people").enroll([enrolment("a")])
    store.delete("people")
    assert [one for one in tmp_path.rglob("*") if one.is_file() and one.name != "lock"] == []


def test_a_failed_index_is_listed_and_told(
    store: GalleryStore, gallery: Gallery, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("other")
    gallery.enroll([enrolment("a"), enrolment("bare", image=None)])

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(gallery._holdings._backend, "add", out_of_memory)
    with pytest.raises(StorageError):
        gallery.enroll([enrolment("b")])
    assert [(one.name, one.state, one.items) for one in store.list()] == [
        ("other", "ready", 0),
        ("people", "failed", 3),
    ]
    told = store.describe("people")
    assert (told.version, told.state) == (2, "failed")
    assert "MemoryError" in told.detail
    receipt = store.delete("people")
    assert (receipt.items, receipt.images, receipt.version) == (3, 2, 2)
    assert [one.name for one in store.list()] == ["other"]


def test_too_little_memory_for_one_gallery_stops_no_other(
    store: GalleryStore, gallery: Gallery, enrolment: Make, reopen: Callable[[], GalleryStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gallery.enroll([enrolment("a")])
    store.create("small")

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("index.scan.ScanBackend.add", out_of_memory)
        states = {info.name: info.state for info in reopen().list()}
    assert states == {"people": "failed", "small": "ready"}


def test_an_error_after_the_commit_is_never_half_a_change(
    gallery: Gallery, enrolment: Make, reopen: Callable[[], GalleryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll([enrolment("a")])

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(gallery._holdings._backend, "add", out_of_memory)
    for work in (
        lambda: gallery.enroll([enrolment("b")]),  # stored, and said to be
        lambda: gallery.enroll([enrolment("c")]),
        lambda: gallery.search(np.stack([enrolment("a").vector]), 5),
        lambda: gallery.remove(["a"]),
    ):
        with pytest.raises(StorageError, match=r"'people' failed \(MemoryError.* start it again") as caught:
            work()
        assert caught.value.stable_reason == "INDEX_FAILED"
    opened = reopen().get("people")
    assert [item.item_id for item in opened.items(Filter())[0]] == ["a", "b"]


def test_a_failed_gallery_is_deleted_with_what_its_file_holds(
    store: GalleryStore, gallery: Gallery, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll([enrolment("a"), enrolment("bare", image=None)])

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(gallery._holdings._backend, "add", out_of_memory)
    with pytest.raises(StorageError):
        gallery.enroll([enrolment("b")])
    receipt = store.delete("people")
    assert (receipt.items, receipt.images, receipt.vectors) == (3, 2, 3)
    assert store.list() == []
