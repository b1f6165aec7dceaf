"""What expires is hidden at once, and gone from the disk after a sweep."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from index import columns
from index.expiry import Expiry, sweep
from index.gallery import Gallery
from index.records import Enrolment
from index.store import GalleryStore
from vireid.arrays import Float32Array
from vireid.errors import InvalidRequest, ItemNotFound, StorageError
from vireid.types import Filter, Modality

Make = Callable[..., Enrolment]
Vector = Callable[..., Float32Array]
HOUR_S = 3600


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the clock on by some seconds."""
    real, ahead = columns.now, [0.0]
    monkeypatch.setattr(columns, "now", lambda: real() + int(ahead[0] * 1e6))

    def put_on(seconds: float) -> None:
        ahead[0] += seconds

    return put_on


def soon(new: Enrolment, hours: float) -> Enrolment:

    return replace(new, expires_at=datetime.now(UTC) + timedelta(hours=hours))


def test_hidden_at_once_everywhere(
    gallery: Gallery, enrolment: Make, vector: Vector, later: Callable[[float], None]
) -> None:
    goes = soon(enrolment("goes", person="ann", camera="c", modality=Modality.INFRARED), 1)
    gallery.enroll([enrolment("stays", person="bob", camera="c"), goes])
    assert gallery.item("goes").expires_at == goes.expires_at
    assert gallery.item("stays").expires_at is None
    later(HOUR_S + 1)
    for where in (Filter(), Filter(cameras=("c",)), Filter(exclude_items=("x",))):
        found = gallery.search(vector("goes")[None], 10, where)[0]
        assert [hit.item.item_id for hit in found.hits] == ["stays"]
        assert (found.items_total, found.items_searched) == (1, 1)
        assert [item.item_id for item in gallery.items(where)[0]] == ["stays"]
    assert gallery.facets() == {"cameras": {"c": 1}, "modalities": {"visible": 1}, "hours": {}}
    assert gallery.labelled().item_ids == ("stays",)
    for read in (gallery.item, gallery.vector, gallery.image, gallery.thumbnail):
        with pytest.raises(ItemNotFound):
            read("goes")
    assert gallery.holds("goes", goes.sha256, None, goes.meta) is None


def test_removed_by_a_sweep_with_a_receipt(
    gallery: Gallery, store: GalleryStore, enrolment: Make, later: Callable[[float], None], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    goes = soon(enrolment("unmistakable-id", person="unmistakable-person"), 1)
    gallery.enroll([goes, enrolment("stays")])
    gallery.snapshot()
    caplog.set_level(logging.INFO)
    sweep(store)
    assert not caplog.records
    later(HOUR_S + 1)
    sweep(store)
    assert (
        "removed 1 expired items, 1 images, 1 vectors and 0 snapshots; 1 snapshots still hold" in caplog.text
    )
    assert gallery.info().items == 1
    data = b"".join(
        one.read_bytes() for one in (tmp_path / "data/galleries/people").iterdir() if one.is_file()
    )
    for word in (b"unmistakable-id", b"unmistakable-person", goes.vector.tobytes(), goes.image or b""):
        assert word not in data
    assert gallery.expire().items == 0


def test_a_gallery_s_own_time(
    gallery: Gallery, enrolment: Make, later: Callable[[float], None], reopen: Callable[[], GalleryStore]
) -> None:
    gallery.enroll([enrolment("old"), soon(enrolment("short"), 1), soon(enrolment("long"), 1000)])
    gallery.retain(2 * HOUR_S)
    enrolled = gallery.item("old").enrolled_at
    assert gallery.item("old").expires_at == enrolled + timedelta(hours=2)
    assert gallery.item("long").expires_at == gallery.item("long").enrolled_at + timedelta(hours=2)
    gallery = reopen().get("people")
    gallery.enroll([enrolment("new")])
    later(HOUR_S + 1)
    assert [item.item_id for item in gallery.items()[0]] == ["old", "long", "new"]
    gallery.retain(100)
    assert gallery.items()[0] == []
    gallery.retain(0)
    assert [item.item_id for item in gallery.items()[0]] == ["old", "long", "new"]
    gallery.retain(3 * HOUR_S)
    assert gallery.expire().items == 1  # the short one
    later(3 * HOUR_S)
    assert gallery.expire().items == 3
    for wrong in (-1, 10**15):
        with pytest.raises(InvalidRequest, match="retention"):
            gallery.retain(wrong)


def test_enrolling_again_what_has_expired(
    gallery: Gallery, enrolment: Make, later: Callable[[float], None]
) -> None:
    new = soon(enrolment("a"), 1)
    assert gallery.enroll([new, new]) == ["created", "replaced"]
    assert gallery.enroll([new]) == ["unchanged"]
    assert gallery.enroll([enrolment("a")]) == ["unchanged"]  # says nothing about when
    assert gallery.enroll([soon(enrolment("a"), 2)]) == ["replaced"]
    later(2 * HOUR_S + 1)
    assert gallery.enroll([enrolment("a")]) == ["created"]
    assert gallery.item("a").expires_at is None
    assert gallery.info().items == 1


def test_a_time_needs_a_timezone(gallery: Gallery, enrolment: Make) -> None:

    with pytest.raises(InvalidRequest, match="timezone"):
        gallery.enroll([replace(enrolment("a"), expires_at=datetime(2030, 1, 1))])


def test_filters_agree_with_a_slow_reading(
    gallery: Gallery, enrolment: Make, later: Callable[[float], None]
) -> None:
    draw = np.random.default_rng(3)
    hours = draw.integers(1, 20, 200)
    gallery.enroll([soon(enrolment(f"i{n}", camera=str(n % 3)), float(hours[n])) for n in range(200)])
    for passed in range(20):
        expected = [f"i{n}" for n in range(200) if hours[n] > passed and n % 3 == 1]
        found, _ = gallery.items(Filter(cameras=("1",)), limit=1000)
        assert [item.item_id for item in found] == expected
        if passed % 4 == 3:
            gallery.expire()
        later(HOUR_S)


def test_the_thread(store: GalleryStore, enrolment: Make) -> None:
    gallery = store.create("people")
    gallery.enroll([soon(enrolment("a"), 0.2 / HOUR_S), enrolment("b")])
    expiry = Expiry(store, every_s=0.05)
    expiry.start()
    end = time.monotonic() + 20
    while gallery.info().items == 2 and time.monotonic() < end:
        time.sleep(0.02)
    expiry.stop()
    assert [item.item_id for item in gallery.items()[0]] == ["b"]
    assert gallery.info().items == 1
    Expiry(store).stop()  # never started


def test_what_cannot_be_removed_stays_hidden_and_stops_no_other(
    store: GalleryStore, enrolment: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("first", "second"):
        store.create(name).enroll([soon(enrolment("a"), -1)])

    def refuse(*_: object) -> None:
        raise StorageError("the disk refuses")

    with monkeypatch.context() as broken:
        broken.setattr(store.get("first")._records, "remove", refuse)
        sweep(store)
    assert "first: what has expired is hidden but not removed: the disk refuses" in caplog.text
    assert [store.get(name).info().items for name in ("first", "second")] == [1, 0]
    assert store.get("first").items()[0] == []


def test_what_nobody_foresaw_ends_no_sweeping(
    store: GalleryStore, enrolment: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = store.create("people")
    gallery.enroll([soon(enrolment("a"), -1)])
    failed: list[int] = []

    def fails_once(of: GalleryStore) -> None:
        if failed:
            sweep(of)
        else:
            failed.append(1)
            raise ValueError("nobody foresaw this")

    monkeypatch.setattr("index.expiry.sweep", fails_once)
    expiry = Expiry(store, every_s=0.01)
    expiry.start()
    end = time.monotonic() + 20
    while gallery.info().items and time.monotonic() < end:
        time.sleep(0.02)
    expiry.stop()
    assert gallery.info().items == 0
    assert "nobody foresaw this" in caplog.text
