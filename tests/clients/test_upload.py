"""Uploading a folder: resumed, idempotent, side by side; against a gallery in memory."""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clients.base import AsyncClient, Client
from clients.call import Call
from clients.replies import Page, PutReply, Timing
from clients.retry import NEVER
from clients.upload import UploadReport, upload, upload_async
from vireid import image_folder
from vireid.errors import NotAnImage, ServerUnreachable, StorageError
from vireid.image_folder import Entry
from vireid.types import Item, ItemMeta, Modality

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryWire:
    """A gallery that lives here; its calls run when sent."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.sent: list[str] = []
        self.page = 3
        self.fails_at: int | None = None
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    def list_items(self, gallery: str, *, where: Any, limit: int, cursor: str) -> Call[Page]:
        names = sorted(self.items)
        begin = int(cursor or 0)
        end = begin + self.page
        items = tuple(self.items[name] for name in names[begin:end])
        return Call(lambda: Page(items, str(end) if end < len(names) else ""), lambda page: page)

    def put_item(
        self, gallery: str, item_id: str, image: Any, *, modality: Any, meta: ItemMeta, expires_at: Any
    ) -> Call[PutReply]:
        return Call(lambda: self._put(item_id, image, modality, meta), lambda reply: reply)

    def _put(self, item_id: str, image: bytes, modality: Modality | None, meta: ItemMeta) -> PutReply:
        with self.lock:
            if self.fails_at is not None and len(self.sent) >= self.fails_at:
                raise StorageError("the disk is full")
            self.sent.append(item_id)
            if image.startswith(b"bad"):
                raise NotAnImage("these are no pixels")
            outcome = "replaced" if item_id in self.items else "created"
            sha256 = hashlib.sha256(image).hexdigest()
            item = Item(item_id, modality or Modality.VISIBLE, meta, sha256, True, NOW)
            self.items[item_id] = item
        return PutReply(item, outcome, Timing())


class MemoryClient(Client):
    def close(self) -> None:
        pass

    def evaluate(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody evaluates here")

    def snapshot(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody copies here")

    def centre(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody centres here")

    def uncentre(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody centres here")

    def try_centring(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody centres here")

    def _send(self, request: Any) -> Any:
        return request()


class AsyncMemoryClient(AsyncClient):
    async def close(self) -> None:
        pass

    async def evaluate(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody evaluates here")

    async def snapshot(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody copies here")

    async def centre(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody centres here")

    async def uncentre(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody centres here")

    async def try_centring(self, *asked: Any, **more: Any) -> Any:
        raise AssertionError("nobody centres here")

    async def _send(self, request: Any) -> Any:
        await asyncio.sleep(0)
        return request()


@pytest.fixture
def wire() -> Any:
    return MemoryWire()


@pytest.fixture(params=["sync", "async"])
def put_all(request: pytest.FixtureRequest, wire: Any) -> Any:
    def run(entries: Sequence[Entry], **options: Any) -> UploadReport:
        if request.param == "sync":
            return upload(MemoryClient(wire, NEVER), "g", entries, **options)
        return asyncio.run(upload_async(AsyncMemoryClient(wire, NEVER), "g", entries, **options))

    return run


@pytest.fixture
def entries(tmp_path: Path) -> tuple[Entry, ...]:
    for number in range(10):
        place = tmp_path / "visible" / f"p{number % 3}" / f"c1_{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(f"picture {number}".encode())
    return image_folder.read(tmp_path)


def test_everything_is_put_once(put_all: Any, wire: Any, entries: Any) -> None:
    steps: list[int] = []
    report = put_all(entries, advance=steps.append)
    assert (report.created, report.replaced, report.unchanged, report.failures) == (10, 0, 0, ())
    assert sum(steps) == 10
    assert {item.meta.person for item in wire.items.values()} == {"p0", "p1", "p2"}
    again = put_all(entries)
    assert (again.created, again.unchanged) == (0, 10)
    assert len(wire.sent) == 10


def test_an_interrupted_upload_goes_on(put_all: Any, wire: Any, entries: Any) -> None:
    wire.fails_at = 4
    with pytest.raises(StorageError):
        put_all(entries, side_by_side=2)
    assert len(wire.items) == 4
    wire.fails_at = None
    report = put_all(entries)
    assert (report.created, report.unchanged) == (6, 4)
    assert len(wire.sent) == 10
    assert len(set(wire.sent)) == 10


def test_what_changed_is_sent_again(put_all: Any, wire: Any, entries: Any) -> None:
    put_all(entries)
    entries[0].path.write_bytes(b"another picture")
    relabelled = (entries[0], replace(entries[1], meta=ItemMeta(person="p9")), *entries[2:])
    report = put_all(relabelled)
    assert (report.created, report.replaced, report.unchanged) == (0, 2, 8)


def test_a_bad_image_does_not_stop_the_others(put_all: Any, wire: Any, entries: Any) -> None:
    entries[3].path.write_bytes(b"bad")
    entries[5].path.unlink()
    report = put_all(entries)
    assert report.created == 8
    assert {failure.item_id: failure.reason for failure in report.failures} == {
        entries[3].item_id: "NOT_AN_IMAGE",
        entries[5].item_id: "INVALID_REQUEST",
    }


def test_a_lost_server_ends_it(
    put_all: Any, wire: Any, entries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise ServerUnreachable("gone")

    monkeypatch.setattr(wire, "_put", gone)
    with pytest.raises(ServerUnreachable):
        put_all(entries)
