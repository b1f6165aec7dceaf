"""A damaged gallery is salvaged when somebody asks: what proves itself is served, the rest is named."""

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from index import lost, restoration, salvage, schema
from index.command import app
from index.disk import FILE, sync
from index.gallery import Gallery
from index.records import Enrolment
from index.rows import encoded, tabled
from index.store import GalleryStore
from vireid.errors import DataLoss, ImageNotStored, VireidError
from vireid.types import Filter

Make = Callable[..., Enrolment]
COUNT = 60
SPACE, DIM = "5" * 64, 16
TEXTS = (1, 3, 4, 6, 7)  # cells that are text in the file


@pytest.fixture
def truth(tmp_path: Path, enrolment: Make) -> dict[str, Enrolment]:
    """A closed gallery ``g`` below ``tmp_path``, and what is in it."""
    store = GalleryStore(tmp_path, SPACE, DIM)
    batch = [enrolment(f"item-{n:02}", person=f"p{n % 7}", camera=f"c{n % 3}") for n in range(COUNT)]
    store.create("g", retention_s=7 * 86400).enroll(batch)
    store.close()
    return {one.item_id: one for one in batch}


@pytest.fixture
def folder(tmp_path: Path, truth: dict[str, Enrolment]) -> Path:
    return tmp_path / "galleries" / "g"


def change(folder: Path, *statements: str) -> None:
    db = sqlite3.connect(folder / FILE)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def check(folder: Path, truth: dict[str, Enrolment], missing: set[str]) -> None:
    """All but what is missing is there, found first by its own vector, and exactly as it was enrolled."""
    gallery = Gallery(folder / FILE)
    try:
        items = {item.item_id: item for item in gallery.items(limit=1000)[0]}
        assert set(items) == set(truth) - missing
        for item_id, item in items.items():
            new = truth[item_id]
            assert (item.meta, item.modality, item.sha256) == (new.meta, new.modality, new.sha256)
            assert gallery.vector(item_id).tobytes() == new.vector.tobytes()
            if item.has_image:
                assert gallery.image(item_id) == new.image
            assert gallery.search(new.vector[None], 1)[0].hits[0].item.item_id == item_id
        assert gallery.info().lost == len(missing)
    finally:
        gallery.close()


def opens(folder: Path) -> bool:
    try:
        Gallery(folder / FILE).close()
    except DataLoss:
        return False
    return True


def test_a_sound_gallery_is_left_alone(folder: Path, truth: dict[str, Enrolment]) -> None:
    before = (folder / FILE).read_bytes()
    assert salvage.salvage(folder) is None
    assert (folder / FILE).read_bytes() == before
    assert not (folder / lost.FOLDER).exists()


def test_one_damaged_row_is_named_and_the_rest_is_served(
    folder: Path, truth: dict[str, Enrolment], tmp_path: Path
) -> None:
    change(folder, "UPDATE items SET person = 'somebody else' WHERE item_id = 'item-07'")
    damaged = (folder / FILE).read_bytes()
    with pytest.raises(DataLoss, match="item-07"):
        Gallery(folder / FILE)
    found = salvage.salvage(folder)
    assert found is not None
    assert (found.saved, found.count, found.unnamed) == (COUNT - 1, 1, 0)
    assert found.items == (lost.Gone("item-07", "item number 8 does not match its checksum"),)
    assert (found.pictures, found.doubts) == ((), ())
    check(folder, truth, {"item-07"})
    (kept,) = lost.kept(folder)
    assert (kept / FILE).read_bytes() == damaged
    assert lost.read(kept / lost.LIST) == found
    assert salvage.salvage(folder) is None  # what is left is sound
    store = GalleryStore(tmp_path, SPACE, DIM)
    gallery = store.get("g")
    assert (gallery.info().state, gallery.info().retention_s) == ("ready", 7 * 86400)
    answer = gallery.search(truth["item-01"].vector[None], 5, Filter(cameras=("c1",)))[0]
    assert (answer.lost, answer.items_total) == (1, COUNT - 1)
    assert gallery.enroll([truth["item-07"]]) == ["created"]
    assert gallery.remove(ids=["item-07"]).still_in == 1  # the damaged file may hold it
    store.close()
    assert lost.forget(folder) == 1
    store = GalleryStore(tmp_path, SPACE, DIM)
    assert store.get("g").info().lost == 0
    assert store.get("g").remove(ids=["item-01"]).still_in == 0
    store.close()


def test_a_lost_row_is_named_by_the_index_of_ids(folder: Path, truth: dict[str, Enrolment]) -> None:
    """A leaf of the table is overwritten: its rows cannot be read, their ids lie elsewhere."""
    change(folder, "VACUUM")
    data = bytearray((folder / FILE).read_bytes())
    here = next(
        at
        for at in range(0, len(data), schema.PAGE_BYTES)
        if data[at] == 13 and truth["item-20"].vector.tobytes() in data[at : at + schema.PAGE_BYTES]
    )
    went = {one for one in truth if truth[one].vector.tobytes() in data[here : here + schema.PAGE_BYTES]}
    data[here : here + schema.PAGE_BYTES] = bytes(schema.PAGE_BYTES)
    (folder / FILE).write_bytes(data)
    found = salvage.salvage(folder)
    assert found is not None
    assert "item-20" in went
    assert {one.item_id for one in found.items} == went
    check(folder, truth, went)


def test_a_restored_snapshot_lacks_what_it_lacked(
    folder: Path, truth: dict[str, Enrolment], tmp_path: Path
) -> None:
    def copied() -> Path:
        gallery = Gallery(folder / FILE)
        made = gallery.snapshot()
        gallery.close()
        return made

    whole = copied()
    change(folder, "UPDATE items SET camera = 'x' WHERE item_id = 'item-07'")
    assert salvage.salvage(folder) is not None
    without = copied()
    restoration.restore(without, folder.parent, replace=True)
    check(folder, truth, {"item-07"})
    restoration.restore(whole, folder.parent, replace=True)
    check(folder, truth, set())
    assert lost.forget(folder) == 1


def test_a_vanished_row_is_counted(folder: Path, truth: dict[str, Enrolment]) -> None:
    change(folder, "DELETE FROM items WHERE item_id IN ('item-03', 'item-04')")
    found = salvage.salvage(folder)
    assert found is not None
    assert (found.count, found.unnamed, found.items) == (2, 2, ())
    check(folder, truth, {"item-03", "item-04"})


def test_an_item_whose_image_is_damaged_stays_without_it(folder: Path, truth: dict[str, Enrolment]) -> None:
    change(folder, "UPDATE pictures SET image = x'00' WHERE key = 6")
    change(
        folder, "UPDATE pictures SET thumbnail = x'00' WHERE key = 9", "DELETE FROM pictures WHERE key = 11"
    )
    found = salvage.salvage(folder)
    assert found is not None
    assert (found.saved, found.count) == (COUNT, 0)
    assert [one.item_id for one in found.pictures] == ["item-05", "item-08", "item-10"]
    check(folder, truth, set())
    gallery = Gallery(folder / FILE)
    for item_id, read in (
        ("item-05", gallery.image),
        ("item-08", gallery.thumbnail),
        ("item-10", gallery.image),
        ("item-10", gallery.thumbnail),
    ):
        with pytest.raises(ImageNotStored):
            read(item_id)
    assert gallery.thumbnail("item-05") == truth["item-05"].thumbnail
    assert gallery.image("item-08") == truth["item-08"].image
    gallery.close()


def test_a_row_of_yesterday_is_no_certainty(
    folder: Path, truth: dict[str, Enrolment], enrolment: Make
) -> None:
    db = sqlite3.connect(folder / FILE)
    old = db.execute("SELECT * FROM items WHERE key = 5").fetchone()
    db.close()
    gallery = Gallery(folder / FILE)
    gallery.enroll([replace(truth["item-04"], meta=enrolment("x", person="new").meta)])
    gallery.close()
    db = sqlite3.connect(folder / FILE)
    db.execute("DELETE FROM items WHERE item_id = 'item-04'")
    db.execute(f"INSERT INTO items VALUES ({', '.join('?' * len(old))})", old)
    db.commit()
    db.close()
    found = salvage.salvage(folder)
    assert found is not None
    assert "earlier state" in found.doubts[0]


def test_an_item_that_is_there_twice_is_no_certainty(folder: Path, truth: dict[str, Enrolment]) -> None:
    """The index that forbids it is gone as well, and with it the names of what is lost."""
    db = sqlite3.connect(folder / FILE)
    db.execute("PRAGMA writable_schema=ON")
    db.execute(
        "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL UNIQUE', 'NOT NULL') WHERE name = 'items'"
    )
    db.execute("DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_items_1'")
    db.commit()
    db.close()
    db = sqlite3.connect(folder / FILE)
    one = replace(truth["item-04"], image=None)
    (cells,) = encoded(tabled([one], 30, 10**15), one.vector[None])
    again = [
        cell.decode() if at in TEXTS and isinstance(cell, bytes) else cell for at, cell in enumerate(cells)
    ]
    db.execute("DELETE FROM items WHERE key = 30")
    db.execute(f"INSERT INTO items ({schema.ITEM}) VALUES ({', '.join('?' * len(again))})", again)
    db.commit()
    db.close()
    found = salvage.salvage(folder)
    assert found is not None
    assert found.doubts == ("item 'item-04' is there twice, and only the first of them is kept",)
    assert (found.saved, found.unnamed, found.items) == (COUNT - 1, 1, ())
    check(folder, truth, {"item-29"})


def test_a_log_that_lost_its_end(folder: Path, truth: dict[str, Enrolment], enrolment: Make) -> None:
    before = (folder / FILE).read_bytes()
    gallery = Gallery(folder / FILE)
    gallery.remove(ids=["item-00"])
    gallery.enroll([enrolment("late")])
    version = gallery.info().version
    gallery.close()
    (folder / FILE).write_bytes(before)  # as if the log with both changes had gone
    with pytest.raises(DataLoss, match="acknowledged"):
        Gallery(folder / FILE)
    found = salvage.salvage(folder)
    assert found is not None
    assert "what they removed or replaced may be there again" in found.doubts[0]
    check(folder, truth, set())
    again = Gallery(folder / FILE)
    assert again.info().version == version + 1
    again.close()


def test_a_damaged_head_is_refused_and_nothing_is_done(folder: Path) -> None:
    change(folder, "UPDATE head SET space_id = 'another'")
    before = (folder / FILE).read_bytes()
    with pytest.raises(DataLoss, match="restore a snapshot"):
        salvage.salvage(folder)
    assert (folder / FILE).read_bytes() == before
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_a_kill_at_any_step_leaves_one_or_the_other(
    folder: Path, truth: dict[str, Enrolment], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(folder, "UPDATE items SET camera = 'x' WHERE item_id = 'item-07'")
    calls = [0]
    steps = 0
    while True:
        calls[0] = 0

        def stop(path: Path, at: int = steps) -> None:
            calls[0] += 1
            if calls[0] > at:
                raise KeyboardInterrupt
            sync(path)

        monkeypatch.setattr("index.salvage.sync", stop)
        try:
            found = salvage.salvage(folder)
        except KeyboardInterrupt:
            steps += 1
            if opens(folder):
                check(folder, truth, {"item-07"})  # the new one, and it says so
            continue
        break
    assert steps >= 4
    assert found is None or found.count == 1
    monkeypatch.undo()
    check(folder, truth, {"item-07"})
    assert len(lost.kept(folder)) == 1
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_300_flips_serve_the_rest_or_are_named(folder: Path, truth: dict[str, Enrolment]) -> None:
    """Never an item, vector or picture that was not enrolled; never a loss that is not told."""
    sound, draw = (folder / FILE).read_bytes(), random.Random(11)
    told = {"sound": 0, "salvaged": 0, "refused": 0}
    for _ in range(300):
        for path in folder.glob(f"{FILE}*"):
            path.unlink()
        broken = bytearray(sound)
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        (folder / FILE).write_bytes(broken)
        try:
            found = salvage.salvage(folder)
        except VireidError:
            told["refused"] += 1
            continue
        told["salvaged" if found else "sound"] += 1
        gallery = Gallery(folder / FILE)
        items = gallery.items(limit=1000)[0]
        for item in items:
            new = truth[item.item_id]
            assert (item.meta, item.modality, item.sha256) == (new.meta, new.modality, new.sha256)
            assert gallery.vector(item.item_id).tobytes() == new.vector.tobytes()
            if found and item.has_image:
                assert gallery.image(item.item_id) == new.image
        assert len(items) + gallery.info().lost == COUNT
        gallery.close()
        if found:
            lost.forget(folder)
    assert told["salvaged"] > 100
    assert told["refused"] < 60


def test_the_command_tells_it_all(folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    sound = run.invoke(app, ["salvage", str(tmp_path), "--gallery", "g"])
    assert (sound.exit_code, sound.output) == (0, "g: nothing is damaged, nothing was done\n")
    change(folder, "UPDATE items SET camera = 'x' WHERE item_id = 'item-07'")
    told = run.invoke(app, ["salvage", str(tmp_path), "--gallery", "g"])
    assert told.exit_code == 1
    assert f"g: {COUNT - 1} items saved, 1 item and 0 pictures lost" in told.output
    assert "item item-07: item number 8 does not match its checksum" in told.output
    info = run.invoke(app, ["info", str(tmp_path)])
    assert (info.exit_code, "1 item missing since it was salvaged" in info.output) == (0, True)
    assert run.invoke(app, ["verify", str(tmp_path)]).exit_code == 0
    gone = run.invoke(app, ["salvage", str(tmp_path), "--gallery", "g", "--forget"])
    assert "1 damaged files and their lists are removed" in gone.output
    assert not (folder / lost.FOLDER).exists()
