"""Searches, pictures and listings while items come, change and go."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import snapshots
from index.disk import FILE
from index.gallery import Gallery
from index.records import Enrolment, Records
from index.second_space import SecondSpace
from vireid.arrays import Float32Array
from vireid.errors import ItemNotFound
from vireid.types import Filter

Make = Callable[..., Enrolment]
Vector = Callable[..., Float32Array]


def together(seconds: float, *actions: Callable[[int], None]) -> None:
    """Repeat each action in a thread of its own; an error in any fails the test."""
    errors: list[BaseException] = []
    end = time.monotonic() + seconds

    def repeat(action: Callable[[int], None]) -> None:
        try:
            turn = 0
            while time.monotonic() < end and not errors:
                action(turn)
                turn += 1
            assert turn > 1
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


class Then:
    """A lock, and what is done the moment it is let go for the first time."""

    def __init__(self, lock: AbstractContextManager[bool], act: Callable[[], object]) -> None:
        self._lock, self._acts = lock, [act]

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self._lock.__exit__(*raised)
        if self._acts:
            self._acts.pop()()


def test_who_waits_for_a_reading_does_not_make_it_look_damaged(
    gallery: Gallery, enrolment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll([enrolment("first")])
    records = gallery.records
    for read in (records.chunks, records.each):
        late = enrolment(f"after-{read.__name__}")
        with monkeypatch.context() as patched:
            lock = Then(records._writing, partial(gallery.enroll, [late]))
            patched.setattr(records, "_writing", lock)
            found = list(read())
        assert all(part[0] is not None for part in found)
        assert gallery.item(late.item_id).item_id == late.item_id


def test_a_reader_sees_whole_states_only(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    """Two items are always enrolled, changed and removed together; nobody ever sees one without the other."""
    stays = [enrolment(f"stays-{n}", person="stays") for n in range(50)]
    gallery.enroll(stays)
    versions: list[int] = []

    def write(turn: int) -> None:
        if turn % 3 < 2:
            pair = [
                enrolment(name, seed=("pair", name), person=str(turn), camera="pair")
                for name in ("left", "right")
            ]
            gallery.enroll(pair)
        else:
            gallery.remove(ids=["left", "right"])

    def search(turn: int) -> None:
        queries = np.stack([vector(("pair", "left")), vector(("pair", "right"))])
        where = Filter(cameras=("pair",)) if turn % 2 else Filter()
        left, right = gallery.search(queries, 1, where)
        assert left.version == right.version
        assert left.items_total in (50, 52)
        if turn % 2:
            assert left.items_searched in (0, 2)
        both = left.items_total == 52
        seen = [hit.item for one in (left, right) for hit in one.hits if hit.score > 0.999]
        assert len(seen) == 2 * both
        assert len({item.meta.person for item in seen}) <= 1
        versions.append(left.version)

    def listing(_: int) -> None:
        items, _ = gallery.items(Filter(cameras=("pair",)), 10)
        assert [item.item_id for item in items] in ([], ["left", "right"])
        assert len({item.meta.person for item in items}) <= 1
        info = gallery.info()
        assert info.items in (50, 52)

    def labelled(_: int) -> None:
        found = gallery.labelled()
        rows = dict(zip(found.item_ids, found.vectors, strict=True))
        assert len(rows) in (50, 52)
        np.testing.assert_array_equal(rows["stays-3"], stays[3].vector)

    together(2.0, write, search, search, listing, labelled)
    assert versions[-1] > versions[0]


def test_pictures_while_items_change(gallery: Gallery, enrolment: Make) -> None:
    """A picture is one that the item had, never another's and never damage, whatever the writer does."""
    states = {name: [enrolment(name, seed=(name, n)) for n in range(3)] for name in "ab"}
    pictures = {name: {one.image for one in some} for name, some in states.items()}
    small = {name: {one.thumbnail for one in some} for name, some in states.items()}
    gallery.enroll([states["a"][0], states["b"][0]])
    missed = [0]

    def write(turn: int) -> None:
        if turn % 5 == 4:
            gallery.remove(ids=["a"])
        gallery.enroll([states[name][turn % 3] for name in "ab"])

    def read(turn: int) -> None:
        name = "ab"[turn % 2]
        try:
            assert gallery.image(name) in pictures[name]
            assert gallery.thumbnail(name) in small[name]
        except ItemNotFound:
            assert name == "a"
            missed[0] += 1

    together(2.0, write, read, read, read)


def test_removed_content_leaves_the_log_even_while_pictures_are_read(
    gallery: Gallery, enrolment: Make
) -> None:
    """The log can only be emptied while nobody reads from it."""
    gallery.enroll([enrolment("stays", image=bytes(range(256)) * 4000)])
    log = gallery._records._path.with_name(gallery._records._path.name + "-wal")

    def write(turn: int) -> None:
        gallery.enroll([enrolment(f"goes-{turn}")])
        gallery.remove(ids=[f"goes-{turn}"])
        assert log.stat().st_size == 0

    def read(_: int) -> None:
        gallery.image("stays")

    together(1.0, write, read, read)


def test_writers_take_turns(gallery: Gallery, enrolment: Make) -> None:
    def writer(name: str) -> Callable[[int], None]:
        return lambda turn: gallery.enroll(
            [enrolment(f"{name}-{turn}"), enrolment("shared", seed=(name, turn))]
        )  # type: ignore[return-value]

    together(1.0, *(writer(name) for name in "abc"))
    info = gallery.info()
    items = []
    cursor, first = "", True
    while first or cursor:
        page, cursor = gallery.items(limit=1000, cursor=cursor)
        items += page
        first = False
    assert len(items) == info.items == len({item.item_id for item in items})
    assert (
        info.version == info.items - 1
    )  # every call made one version and one new item beside the shared one


def test_closing_while_asked(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    """Who is inside finishes; who comes later is told that the gallery is gone."""
    gallery.enroll([enrolment(f"i{n}") for n in range(200)])
    refused = []

    def ask() -> None:
        try:
            while True:
                assert len(gallery.search(vector("i3")[None], 50)[0].hits) == 50
                gallery.image("i7")
        except Exception as error:  # noqa: BLE001 - looked at below
            refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    gallery.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert [type(error).__name__ for error in refused] == ["GalleryNotFound"] * 4


def test_snapshots_and_compaction_while_everything_goes_on(
    gallery: Gallery, enrolment: Make, vector: Vector
) -> None:
    """Nobody notices, and every snapshot is a whole state: both of a pair, or none."""
    gallery.enroll([enrolment(f"stays-{n}") for n in range(20)])
    places: list[Path] = []

    def write(turn: int) -> None:
        if turn % 2:
            gallery.remove(ids=["left", "right"])
        else:
            gallery.enroll([enrolment("left"), enrolment("right")])

    def look(_: int) -> None:
        assert gallery.image("stays-7") == enrolment("stays-7").image
        assert gallery.search(vector("stays-3")[None], 1)[0].hits[0].item.item_id == "stays-3"

    def keep(turn: int) -> None:
        if turn % 2:
            gallery.compact()
        else:
            places.append(gallery.snapshot())

    together(2.0, write, look, look, keep)
    for place in places:
        manifest = snapshots.check(place)
        assert manifest.items in (20, 22)
        records = Records(place / FILE)
        assert sum(len(table) for table, _ in records.chunks()) == manifest.items
        records.close()


def test_a_second_space_is_filled_while_everything_goes_on(gallery: Gallery, enrolment: Make) -> None:
    gallery.enroll([enrolment(f"stays-{n}") for n in range(200)])
    second = SecondSpace(gallery.records)
    second.begin("6" * 64, 4)
    rows = np.eye(4, dtype=np.float32)

    def write(turn: int) -> None:
        gallery.enroll([enrolment(f"new-{turn}")])
        if turn % 2:
            gallery.remove(ids=[f"new-{turn - 1}"])

    def fill(_: int) -> None:
        found = second.lacking(0, 20)
        keys = [row.key for row in found]
        second.put(keys, rows[np.array(keys, np.int64) % 4])

    def exchange(_: int) -> None:
        # while searches go on: each sees one space, whole
        gallery.exchange()
        time.sleep(0.1)

    def look(_: int) -> None:
        found = gallery.vector("stays-3")
        assert len(found) in (4, 16)

    together(2.0, write, fill, look)
    while second.missing():
        fill(0)
    together(2.0, exchange, look, look)
    assert gallery.vector("stays-3").shape in ((4,), (16,))
