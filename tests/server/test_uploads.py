"""Bulk enrolment: archives, lines and files become items, once."""

import asyncio
import base64
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, Any

import pytest

from server import uploads
from server.jobs import Job
from vireid import errors
from vireid.images.decode import Limits
from vireid.types import ItemMeta, Modality

Draw = Callable[..., bytes]


@pytest.fixture
async def made(make: Callable[..., Any]) -> Any:
    one = make(queue_limit=8)
    await one.service.create_gallery("yard")
    return one


@pytest.fixture
def stored() -> Iterator[Callable[[bytes], IO[bytes]]]:
    held: list[IO[bytes]] = []

    def store(data: bytes) -> IO[bytes]:
        held.append(tempfile.TemporaryFile())  # noqa: SIM115 - closed below
        held[-1].write(data)
        held[-1].seek(0)
        return held[-1]

    yield store
    for file in held:
        file.close()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": lambda files: tarred(files, "w"),
    "tar.gz": lambda files: tarred(files, "w:gz"),
}


async def run(made: Any, work: Any, payload: Any) -> Job:
    job = Job("x", "upload")
    await work(made.service, made.service.gallery("yard"), payload, job)
    return job


async def refused(made: Any, work: Any, payload: Any) -> str:
    with pytest.raises(errors.ArchiveError) as caught:
        await run(made, work, payload)
    info = await made.service.get_gallery("yard")
    assert (info.items, info.version) == (0, 0)
    assert made.engine.batches == []
    return caught.value.stable_reason


@pytest.mark.parametrize("kind", PACKERS)
async def test_an_archive_once_and_again(made: Any, stored: Any, draw: Draw, kind: str) -> None:
    files = {f"visible/p{n}/c1_{n}.jpg": draw(n) for n in range(40)}
    files["readme.txt"] = b"no picture, and not taken for one"
    data = PACKERS[kind](files)
    first = await run(made, uploads.run_archive, stored(data))
    assert (first.counts, first.failed, first.done, first.total) == ({"created": 40}, 0, 40, 40)
    embedded = sum(made.engine.batches)
    again = await run(made, uploads.run_archive, stored(data))
    assert again.counts == {"unchanged": 40}
    assert sum(made.engine.batches) == embedded == 40
    item = await made.service.get_item("yard", "visible/p7/c1_7.jpg")
    assert (item.meta, item.modality) == (ItemMeta("p7", "c1"), Modality.VISIBLE)
    assert await made.service.image("yard", item.item_id) == draw(7)


async def test_one_bad_image_is_listed_and_spoils_nothing(made: Any, stored: Any, draw: Draw) -> None:
    files = {f"{n}.jpg": draw(n) for n in range(5)}
    files |= {"bad.jpg": b"no image", "cut.jpg": draw(9)[:-100], "big.png": draw(1) + bytes(9 * 2**20)}
    files |= {"empty.jpg": b"", "image": draw(3), "x/image.jpg": draw(4)}
    job = await run(made, uploads.run_archive, stored(tarred(files, "w")))
    assert job.counts == {"created": 6}
    assert {error.item: error.reason for error in job.errors} == {
        "bad.jpg": "NOT_AN_IMAGE",
        "cut.jpg": "IMAGE_TRUNCATED",
        "big.png": "IMAGE_TOO_LARGE",
        "empty.jpg": "NOT_AN_IMAGE",
    }
    assert (await made.service.get_gallery("yard")).items == 6


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.json"])
async def test_a_manifest_says_what_the_images_are(made: Any, stored: Any, draw: Draw, name: str) -> None:
    csv = (
        "path,item_id,person,camera,modality,captured_at,coat\n"
        "a.jpg,one,p1,c1,infrared,2026-03-01T23:30:00Z,red\nno-ending,two,p2,,,,\n"
    )
    entries = [
        {"path": "a.jpg", "item_id": "one", "person": "p1", "camera": "c1", "modality": "infrared",
         "captured_at": "2026-03-01T23:30:00Z", "attributes": {"coat": "red"}},
        {"path": "no-ending", "item_id": "two", "person": "p2"},
    ]  # fmt: skip
    text = csv if name.endswith("csv") else json.dumps(entries)
    files = {f"set/{name}": text.encode(), "set/a.jpg": draw(1), "set/no-ending": draw(2), "b.jpg": draw(3)}
    job = await run(made, uploads.run_archive, stored(zipped(files)))
    assert job.counts == {"created": 3}
    moment = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    one = await made.service.get_item("yard", "one")
    assert (one.modality, one.meta) == (Modality.INFRARED, ItemMeta("p1", "c1", moment, {"coat": "red"}))
    assert (await made.service.get_item("yard", "two")).meta.person == "p2"
    assert (await made.service.get_item("yard", "b.jpg")).meta == ItemMeta()


async def test_what_is_unsafe_stores_nothing(made: Any, stored: Any, draw: Draw) -> None:
    good = {f"{n}.jpg": draw(n) for n in range(40)}

    async def reason(**more: bytes) -> str:
        files = good | {name.replace("__", "."): data for name, data in more.items()}
        return await refused(made, uploads.run_archive, stored(zipped(files)))

    assert await reason(**{"../x.jpg": b"1"}) == "ARCHIVE_PATH_ESCAPES"
    assert await reason(**{"39.JPG": draw(1)}) == "ARCHIVE_NAME_TWICE"
    assert await reason(**{"manifest.csv": b"path,modality\n1.jpg,thermal\n"}) == "MANIFEST_INVALID"
    assert await reason(**{"manifest.csv": b"path\ngone.jpg\n"}) == "MANIFEST_INVALID"
    assert (
        await reason(**{"manifest.csv": b"path\n1.jpg\n", "manifest.json": b'[{"path":"1.jpg"}]'})
        == "MANIFEST_INVALID"
    )
    # an item that would silently replace another of the same archive
    assert await reason(**{"manifest.csv": b"path,item_id\n1.jpg,2.jpg\n"}) == "ARCHIVE_NAME_TWICE"
    assert await refused(made, uploads.run_archive, stored(b"no archive")) == "ARCHIVE_UNREADABLE"


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.json"])
async def test_a_manifest_that_is_too_long_is_refused_and_never_read_in_part(
    made: Any, stored: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    listed = [{"path": f"{n}.jpg", "person": f"p{n}"} for n in range(3)]
    text = "path,person\n" + "".join(f"{one['path']},{one['person']}\n" for one in listed)
    data = (text if name.endswith("csv") else json.dumps(listed)).encode()
    upload = zipped({name: data, **{f"{n}.jpg": draw(n) for n in range(3)}})
    # the last line of the CSV begins beyond it: what is left would read as a whole
    for limit in (len(data) - 1, len(data) - len("2.jpg,p2\n") - 1):
        monkeypatch.setattr(uploads, "MANIFEST_BYTES", limit)
        assert await refused(made, uploads.run_archive, stored(upload)) == "MANIFEST_INVALID"
    monkeypatch.setattr(uploads, "MANIFEST_BYTES", len(data))
    assert (await run(made, uploads.run_archive, stored(upload))).counts == {"created": 3}
    assert (await made.service.get_item("yard", "2.jpg")).meta.person == "p2"


async def test_lines(made: Any, stored: Any, draw: Draw) -> None:
    lines = [
        {"item_id": f"n{n}", "image": base64.b64encode(draw(n)).decode(), "person": f"p{n}"}
        for n in range(40)
    ]
    text = b"\n".join(json.dumps(line).encode() for line in lines)
    data = text + b'\n\n{"item_id": "bad"}\nno json\r\n' + json.dumps({**lines[0], "item_id": "a b"}).encode()
    data += b"\n" + json.dumps({**lines[0], "item_id": "long", "person": "p" * 201}).encode()
    job = await run(made, uploads.run_ndjson, stored(data))
    assert job.counts == {"created": 40}
    assert {error.item: error.reason for error in job.errors} == {
        "line 41": "INVALID_REQUEST",
        "line 42": "MALFORMED_JSON",
        "line 43": "ITEM_ID_INVALID",
        "line 44": "INVALID_REQUEST",
    }
    assert (await made.service.get_item("yard", "n7")).meta.person == "p7"
    again = await run(made, uploads.run_ndjson, stored(text))
    assert again.counts == {"unchanged": 40}


async def test_a_line_may_be_as_long_as_the_limit(
    made: Any, stored: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = base64.b64encode(draw(1)).decode()
    line = json.dumps({"item_id": "a", "image": image}).encode()
    monkeypatch.setattr(uploads, "LONGEST_LINE", len(line))
    assert (await run(made, uploads.run_ndjson, stored(line))).counts == {"created": 1}


def test_a_line_has_room_for_the_largest_image() -> None:
    encoded = 4 * -(-Limits().max_bytes // 3)
    assert encoded + 2**20 <= uploads.LONGEST_LINE <= 2 * encoded


async def test_a_line_without_an_end(made: Any, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LONGEST_LINE", 1000)
    file = stored(b"x" * 50_000)
    asked: list[int] = []
    monkeypatch.setattr(file, "readline", lambda most: (asked.append(most), b"x" * most)[1], raising=False)
    assert await refused(made, uploads.run_ndjson, file) == "LINE_TOO_LONG"
    assert asked == [1001]


def line_of(item_id: object, image: bytes) -> bytes:
    return json.dumps({"item_id": item_id, "image": base64.b64encode(image).decode()}).encode() + b"\n"


async def test_of_an_item_that_comes_twice_the_last_line_counts(made: Any, stored: Any, draw: Draw) -> None:
    held, other = draw(1), draw(2)
    await run(made, uploads.run_ndjson, stored(line_of("a", held)))
    job = await run(made, uploads.run_ndjson, stored(line_of("a", other) + line_of("a", held)))
    assert (job.done, job.counts) == (2, {"unchanged": 2})
    assert await made.service.image("yard", "a") == held
    job = await run(made, uploads.run_ndjson, stored(line_of("a", held) + line_of("a", other)))
    assert job.counts == {"unchanged": 1, "replaced": 1}
    assert await made.service.image("yard", "a") == other


async def test_an_item_may_be_called_0_and_none_may_be_called_nothing(
    made: Any, stored: Any, draw: Draw
) -> None:
    job = await run(made, uploads.run_ndjson, stored(line_of(0, draw(1)) + line_of("", draw(2))))
    assert job.counts == {"created": 1}
    assert [error.item for error in job.errors] == ["line 2"]
    assert await made.service.image("yard", "0") == draw(1)


async def test_too_many_lines_store_nothing(
    made: Any, stored: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_ENTRIES", 2)
    lines = [line_of(f"n{n}", draw(n)) for n in range(3)]
    assert (await run(made, uploads.run_ndjson, stored(b"".join(lines[:2])))).counts == {"created": 2}
    with pytest.raises(errors.ArchiveError, match="more than 2 lines"):
        await run(made, uploads.run_ndjson, stored(b"".join(lines)))
    assert (await made.service.get_gallery("yard")).items == 2


async def test_bulk_that_waited_too_long_waits_again(
    made: Any, stored: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, asked = made.service.prepare_item, []

    async def late(*args: Any, **named: Any) -> Any:
        asked.append(args[1])
        if len(asked) < 3:
            raise errors.DeadlineExceeded("2 s in the queue")
        if args[1] == "slow":
            raise errors.DeadlineExceeded("2 s at work", reason="DEADLINE_EXCEEDED")
        return await prepare(*args, **named)

    monkeypatch.setattr(made.service, "prepare_item", late)
    job = await run(made, uploads.run_ndjson, stored(line_of("a", draw(1))))
    assert (job.counts, asked) == ({"created": 1}, ["a", "a", "a"])
    job = await run(made, uploads.run_ndjson, stored(line_of("slow", draw(2))))
    assert [error.reason for error in job.errors] == ["DEADLINE_EXCEEDED"]


async def test_loose_files(made: Any, stored: Any, draw: Draw) -> None:
    files = [("infrared/p1/c3_1.jpg", stored(draw(1))), ("b.jpg", stored(draw(2))), ("c.jpg", stored(b""))]
    job = await run(made, uploads.run_files, files)
    assert (job.counts, job.failed) == ({"created": 2}, 1)
    assert (await made.service.get_item("yard", "infrared/p1/c3_1.jpg")).modality is Modality.INFRARED


async def test_two_loose_files_of_one_name(made: Any, stored: Any, draw: Draw) -> None:
    files = [("a.jpg", stored(draw(1))), ("a.jpg", stored(draw(2)))]
    assert await refused(made, uploads.run_files, files) == "ARCHIVE_NAME_TWICE"


async def test_bulk_gives_way_and_waits(made: Any, stored: Any, draw: Draw) -> None:
    """64 images through the four places that bulk may hold: all get through, and a person is never refused."""
    made.engine.hold()
    data = zipped({f"{n}.jpg": draw(n) for n in range(64)})
    task = asyncio.create_task(run(made, uploads.run_archive, stored(data)))
    await asyncio.to_thread(made.engine.wait_begun)
    from server.answers import ImageQuery

    person = asyncio.create_task(made.service.embed(ImageQuery(draw(1))))
    await asyncio.sleep(0)
    made.engine.let_go()
    await person
    job = await task
    assert (job.counts, job.failed) == ({"created": 64}, 0)


async def test_what_was_stored_before_a_stop_stays_and_the_rest_follows(
    made: Any, stored: Any, draw: Draw
) -> None:
    data = zipped({f"{n:03}.jpg": draw(n) for n in range(3 * uploads.BATCH)})
    job = Job("x", "upload")
    gallery = made.service.gallery("yard")
    task = asyncio.create_task(uploads.run_archive(made.service, gallery, stored(data), job))
    async with asyncio.timeout(20):
        while job.counts.get("created", 0) < uploads.BATCH:  # noqa: ASYNC110 - the job tells nobody
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        await asyncio.get_running_loop().shutdown_default_executor()
    kept = gallery.info().items
    assert kept % uploads.BATCH == 0  # whole batches
    assert kept >= uploads.BATCH


async def test_after_a_stop_the_same_upload_goes_on(made: Any, stored: Any, draw: Draw) -> None:
    files = {f"{n:03}.jpg": draw(n) for n in range(12)}
    await run(made, uploads.run_archive, stored(zipped(dict(list(files.items())[:5]))))
    job = await run(made, uploads.run_archive, stored(zipped(files)))
    assert job.counts == {"created": 7, "unchanged": 5}
