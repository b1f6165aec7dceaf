"""What only HTTP offers: archives, jobs, evaluations as jobs."""

import asyncio
import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clients import http_documents
from clients.replies import ItemFailure
from vireid import errors
from vireid.types import ItemMeta, Modality


@pytest.fixture(params=["http", "http-async"])
def caller(request: pytest.FixtureRequest, live: Any) -> Iterator[Any]:
    made = live.connect(request.param)
    yield made
    made.close()


@pytest.fixture
def gallery(caller: Any) -> Iterator[str]:
    name = f"jobs-{uuid.uuid4().hex[:8]}"
    caller("create_gallery", name)
    yield name
    caller("delete_gallery", name)


@pytest.fixture
def archive(tmp_path: Path, draw: Callable[..., bytes]) -> Path:
    path = tmp_path / "people.zip"
    with zipfile.ZipFile(path, "w") as file:
        for person in range(3):
            file.writestr(f"visible/p{person}/c1_0.jpg", draw(person))
            file.writestr(f"infrared/p{person}/c3_0.jpg", draw(person))
        file.writestr("visible/p9/c1_bad.jpg", b"no picture")
    return path


def test_an_archive(caller: Any, gallery: str, archive: Path) -> None:
    looks: list[Any] = []
    started = caller("upload_archive", gallery, archive)
    done = caller("wait", started.job_id, watch=looks.append)
    assert (done.kind, done.state, done.failed) == ("upload", "partial", 1)
    assert done.counts["created"] == 6
    (refused,) = done.errors
    assert (refused.item_id, refused.reason) == ("visible/p9/c1_bad.jpg", "NOT_AN_IMAGE")
    assert looks[-1] == done
    item = caller("get_item", gallery, "infrared/p1/c3_0.jpg")
    assert (item.meta.person, item.meta.camera, item.modality) == ("p1", "c3", Modality.INFRARED)
    again = caller("wait", caller("upload_archive", gallery, archive).job_id)
    assert again.counts.get("created", 0) == 0
    assert again.counts["unchanged"] == 6


def test_an_unsafe_archive_stores_nothing(caller: Any, gallery: str, tmp_path: Path, draw: Any) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("visible/p1/c1_0.jpg", draw(1))
        file.writestr("../escape.jpg", draw(2))
    done = caller("wait", caller("upload_archive", gallery, path).job_id)
    assert done.state == "failed"
    assert done.error is not None
    assert done.error.reason.startswith("ARCHIVE_")
    assert caller("get_gallery", gallery).items == 0


def test_no_archive(caller: Any, gallery: str, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequest, match="no archive"):
        caller("upload_archive", gallery, tmp_path / "gone.zip")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(errors.InvalidRequest, match="no archive"):
        caller("upload_archive", gallery, text)


def test_an_unknown_job(caller: Any) -> None:
    with pytest.raises(errors.JobNotFound):
        caller("job", "nothing")


def test_an_evaluation_as_a_job(caller: Any, gallery: str, draw: Callable[..., bytes]) -> None:
    for person in range(4):
        meta = ItemMeta(person=f"p{person}", camera="c1")
        caller("put_item", gallery, f"v{person}", draw(person), modality=Modality.VISIBLE, meta=meta)
        meta = ItemMeta(person=f"p{person}", camera="c3")
        caller("put_item", gallery, f"i{person}", draw(person), modality=Modality.INFRARED, meta=meta)
    started = caller("start_evaluation", gallery)
    done = caller("wait", started.job_id)
    assert (done.state, done.done, done.total) == ("succeeded", 4, 4)
    assert done.result["n_valid"] == 4
    assert done.result["mAP"] == pytest.approx(1.0)
    assert caller("cancel", started.job_id) == done
    assert caller("report", started.job_id, "csv").startswith("protocol,trial")
    with pytest.raises(errors.JobNotFound):
        caller("report", "nothing")


def test_a_large_archive_is_streamed(live: Any, gallery: str, caller: Any, tmp_path: Path, draw: Any) -> None:
    path = tmp_path / "large.zip"
    filler = io.BytesIO(bytes(3 * 2**20))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.jpg", draw(1))
        file.writestr("notes.txt", filler.getvalue())
    assert path.stat().st_size > 2**20
    done = caller("wait", caller("upload_archive", gallery, path).job_id)
    assert done.counts["created"] == 1
    too_large = tmp_path / "huge.zip"
    too_large.write_bytes(bytes(2**24 + 1))
    with pytest.raises((errors.BodyTooLarge, errors.ServerUnreachable)):
        caller("upload_archive", gallery, too_large)


def test_waiting_does_not_block_the_loop(live: Any, gallery: str, archive: Path) -> None:
    caller = live.connect("http-async")
    live.engine.takes_s = 0.03
    started = caller("upload_archive", gallery, archive)

    async def both() -> int:
        ticks = 0
        waiting = asyncio.ensure_future(caller.client.wait(started.job_id))
        while not waiting.done():
            ticks += 1
            await asyncio.sleep(0.005)
        return ticks

    try:
        assert caller.runner.run(both()) > 1
    finally:
        live.engine.takes_s = 0.0
        caller.close()


def test_a_failure_told_without_a_status() -> None:
    told = {"job_id": "a", "kind": "evaluation", "state": "failed", "done": 0, "total": 1, "failed": 0}
    error = {"reason": "NO_LABELS", "message": "nobody is labelled"}
    job = http_documents.job_of({**told, "counts": {}, "errors": [], "error": error, "result": {}})
    assert job.error == ItemFailure("", "NO_LABELS", "nobody is labelled", 0)
