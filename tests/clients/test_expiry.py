"""Over both wires: how long a gallery keeps its items, and an item that goes earlier by its own word."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clients.base import AsyncClient
from clients.upload import upload, upload_async
from index import columns
from tests.clients.conftest import KINDS, Live
from vireid.errors import InvalidRequest, ItemNotFound
from vireid.image_folder import read
from vireid.types import ItemMeta

DAY_S = 86400


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the galleries' clock on by some seconds."""
    real, ahead = columns.now, [0.0]
    monkeypatch.setattr(columns, "now", lambda: real() + int(ahead[0] * 1e6))

    def put_on(seconds: float) -> None:
        ahead[0] += seconds

    return put_on


@pytest.fixture
def yard(client: Any) -> Iterator[str]:
    client("create_gallery", "expiring")
    yield "expiring"
    client("delete_gallery", "expiring")


def test_a_retention_is_set_read_and_cleared(client: Any, yard: str, draw: Callable[..., bytes]) -> None:
    assert client("get_gallery", yard).retention_s == 0
    put = client("put_item", yard, "a", draw(1)).item
    assert put.expires_at is None
    told = client("retain", yard, 30 * DAY_S)
    assert (told.retention_s, told.items) == (30 * DAY_S, 1)
    assert client("get_gallery", yard) == told
    assert told in client("list_galleries")
    assert client("get_item", yard, "a").expires_at == put.enrolled_at + timedelta(days=30)
    assert client("retain", yard, 30 * DAY_S) == told  # the same again changes nothing
    assert client("retain", yard, 0).retention_s == 0
    assert client("get_item", yard, "a").expires_at is None


def test_a_gallery_is_made_with_a_retention(client: Any, draw: Callable[..., bytes]) -> None:
    assert client("create_gallery", "short-lived", retention_s=60).retention_s == 60
    item = client("put_item", "short-lived", "a", draw(1)).item
    assert item.expires_at == item.enrolled_at + timedelta(seconds=60)
    client("delete_gallery", "short-lived")


@pytest.mark.parametrize("seconds", [-1, 2000 * 366 * DAY_S])
def test_a_time_that_cannot_be_counted_is_refused(client: Any, yard: str, seconds: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        client("retain", yard, seconds)
    assert refused.value.field == "retention_s"
    assert client("get_gallery", yard).retention_s == 0


def test_an_items_own_time_hides_it_at_once(
    client: Any, yard: str, draw: Callable[..., bytes], later: Callable[[float], None]
) -> None:
    at = datetime.now(UTC).replace(microsecond=123456) + timedelta(hours=2)
    goes = client("put_item", yard, "goes", draw(1), expires_at=at)
    assert (goes.outcome, goes.item.expires_at) == ("created", at)
    client("put_item", yard, "stays", draw(2))
    assert [item.expires_at for item in client("list_items", yard).items] == [at, None]
    found = {hit.item.item_id: hit.item.expires_at for hit in client("search", yard, draw(1)).hits}
    assert found == {"goes": at, "stays": None}
    later(2 * 3600 + 1)
    found = client("search", yard, draw(1))
    assert ([hit.item.item_id for hit in found.hits], found.items_total) == (["stays"], 1)
    with pytest.raises(ItemNotFound):
        client("get_item", yard, "goes")
    assert client("put_item", yard, "goes", draw(1)).outcome == "created"


def test_the_same_again_changes_nothing_and_another_time_replaces(
    client: Any, yard: str, draw: Callable[..., bytes]
) -> None:
    at = datetime.now(UTC) + timedelta(days=9)
    client("retain", yard, 5 * DAY_S)  # comes before the item's own time
    outcomes = [
        client("put_item", yard, "a", draw(1), expires_at=when).outcome
        for when in (at, at, None, at + timedelta(microseconds=1))
    ]
    assert outcomes == ["created", "unchanged", "unchanged", "replaced"]
    client("retain", yard, 0)
    assert client("get_item", yard, "a").expires_at == at + timedelta(microseconds=1)


def test_a_time_that_has_passed_is_refused(client: Any, yard: str, draw: Callable[..., bytes]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        client("put_item", yard, "a", draw(1), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert (refused.value.stable_reason, refused.value.field) == ("EXPIRED_ALREADY", "expires_at")
    assert client("get_gallery", yard).items == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_folders_manifest_says_it(
    live: Live, kind: str, draw: Callable[..., bytes], tmp_path: Path
) -> None:
    at = datetime(2100, 3, 1, tzinfo=UTC)
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(draw(number))
    (tmp_path / "manifest.csv").write_text("path,person,expires_at\n0.jpg,p,2100-03-01T00:00:00Z\n1.jpg,p,\n")
    entries = read(tmp_path)
    caller, name = live.connect(kind), f"told-{kind}"
    caller("create_gallery", name)
    send: Any = upload_async if isinstance(caller.client, AsyncClient) else upload
    assert caller.finish(send(caller.client, name, entries)).created == 2
    items = {item.item_id: item for item in caller("list_items", name).items}
    assert {item_id: item.expires_at for item_id, item in items.items()} == {"0.jpg": at, "1.jpg": None}
    assert items["0.jpg"].meta == ItemMeta("p")  # and is no attribute
    assert caller.finish(send(caller.client, name, entries)).unchanged == 2
    moved = [replace(entries[0], expires_at=at + timedelta(days=1)), entries[1]]
    again = caller.finish(send(caller.client, name, moved))
    assert (again.replaced, again.unchanged) == (1, 1)
    caller("delete_gallery", name)
    caller.close()
