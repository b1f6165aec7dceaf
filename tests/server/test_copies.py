"""A copy that is being made: searches and listings go on, and who stops waiting gets none."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index import snapshots
from server import copies
from server.answers import ImageQuery, ItemQuery, SearchRequest
from vireid.types import ItemMeta

WAIT_S = 20.0


@pytest.fixture
async def yard(make: Callable[..., Any], draw: Callable[..., bytes]) -> Any:
    made = make()
    await made.service.create_gallery("yard")
    await made.service.put_item("yard", "a", ImageQuery(draw(1)), ItemMeta())
    return made


async def test_others_go_on_and_a_cancelled_one_leaves_nothing(
    yard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, begun, go = yard.service.gallery("yard"), threading.Event(), threading.Event()
    copy = gallery.records.copy_to

    def slow(path: Path) -> None:
        begun.set()
        assert go.wait(WAIT_S)
        copy(path)

    monkeypatch.setattr(gallery.records, "copy_to", slow)
    job = copies.start(yard.service, yard.board, "yard", 0)
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    assert await yard.service.list_snapshots("yard") == []  # and the half of one is not swept away
    assert len((await yard.service.search(SearchRequest("yard", ItemQuery("a")))).hits) == 1
    yard.board.cancel(job.job_id)
    assert not await yard.board.ended(job.job_id, 0.05)  # the copy is still being written
    go.set()
    assert await yard.board.ended(job.job_id, WAIT_S)
    assert (job.state, job.result) == ("cancelled", {})
    assert await yard.service.list_snapshots("yard") == []
    assert list((gallery.records._path.parent / snapshots.FOLDER).iterdir()) == []


async def test_the_result_reads_as_the_list_does(yard: Any) -> None:
    job = copies.start(yard.service, yard.board, "yard", 3)
    assert await yard.board.ended(job.job_id, WAIT_S)
    assert (job.state, job.counts) == ("succeeded", {"made": 1})
    assert [job.value] == await yard.service.list_snapshots("yard")
    assert job.result == copies.as_json(job.value)
