"""Bad input over HTTP: a problem with a stable reason each time, and nothing half-stored."""

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server.http import schemas
from server.http.problem import PROBLEM

Draw = Callable[..., bytes]
SEARCH = "/v1/galleries/yard/search"
ITEM = "/v1/galleries/yard/items/a"
ZIP = {"content-type": "application/zip"}


def problem(answer: Any) -> schemas.Problem:
    assert answer.headers["content-type"] == PROBLEM, answer.text
    told = schemas.Problem.model_validate(answer.json())
    assert told.status == answer.status_code
    assert told.instance == answer.headers["x-request-id"]
    assert told.type == f"urn:vireid:problem:{told.reason.lower().replace('_', '-')}"
    return told


async def untouched(http: Any) -> bool:
    info = await http.made.service.get_gallery("yard")
    return (info.items, info.version) == (0, 0)


def bomb() -> bytes:
    """A PNG of 12,000 x 12,000 pixels in some hundred kilobytes: 432 MB once unfolded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(100 * (1 + 3 * 12_000))
    rows = b"".join([*(packer.compress(row) for _ in range(120)), packer.flush()])
    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


IMAGES: dict[str, tuple[Callable[[Draw], bytes], int, str]] = {
    "no image": (lambda draw: b"hello", 415, "NOT_AN_IMAGE"),
    "nothing": (lambda draw: b"", 422, "BODY_EMPTY"),
    "truncated": (lambda draw: draw(1)[:-300], 400, "IMAGE_TRUNCATED"),
    "GIF": (lambda draw: draw(1, kind="GIF"), 415, "FORMAT_NOT_ALLOWED"),
    "TIFF": (lambda draw: draw(1, kind="TIFF"), 415, "FORMAT_NOT_ALLOWED"),
    "CMYK": (lambda draw: draw(1, mode="CMYK"), 415, "FORMAT_NOT_ALLOWED"),
    "bomb": (lambda draw: bomb(), 413, "TOO_MANY_PIXELS"),
    "a side": (lambda draw: draw(1, kind="PNG", size=(8193, 2)), 413, "TOO_MANY_PIXELS"),
}


@pytest.mark.parametrize("name", IMAGES)
async def test_images_that_are_refused(http: Any, draw: Draw, name: str) -> None:
    make, status, reason = IMAGES[name]
    data = make(draw)
    for method, path in (("PUT", ITEM), ("POST", "/v1/embed"), ("POST", SEARCH)):
        told = problem(await http(method, path, content=data))
        assert (told.status, told.reason) == (status, reason)
    assert await untouched(http)


async def test_deep_grey_is_taken(http: Any, draw: Draw) -> None:
    answer = await http("PUT", ITEM, content=draw(1, kind="PNG", mode="I;16"))
    assert answer.status_code == 201
    assert answer.json()["item"]["modality"] == "infrared"


# ---- sizes -----------------------------------------------------------------------
async def endless(counted: list[int], part: bytes = b"x" * 65536) -> AsyncIterator[bytes]:
    while True:
        counted[0] += len(part)
        yield part


@pytest.mark.parametrize(
    ("method", "path", "kind", "limit"),
    [
        ("PUT", ITEM, "image/jpeg", 8 * 2**20),
        ("POST", "/v1/embed", "image/jpeg", 8 * 2**20),
        ("POST", SEARCH, "image/jpeg", 8 * 2**20),
        ("POST", SEARCH, "application/json", 16 * 2**20),
        ("POST", "/v1/galleries", "application/json", 16 * 2**20),
        ("POST", "/v1/evaluations", "application/json", 16 * 2**20),
        ("POST", "/v1/galleries/yard/items:delete", "application/json", 16 * 2**20),
        ("POST", "/v1/galleries/yard/items:upload", "application/zip", 2**20),
        ("POST", "/v1/galleries/yard/items:upload", "application/x-ndjson", 2**20),
        ("POST", "/v1/galleries/yard/items:upload", "multipart/form-data; boundary=b", 2**20),
    ],
)
async def test_no_body_is_read_beyond_its_cap(
    http: Any, method: str, path: str, kind: str, limit: int
) -> None:
    sent = [0]
    first = b'--b\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n'

    async def parts() -> AsyncIterator[bytes]:
        if kind.startswith("multipart"):
            yield first
        async for part in endless(sent):
            yield part

    told = problem(await http(method, path, content=parts(), headers={"content-type": kind}))
    reason = "IMAGE_TOO_LARGE" if kind == "image/jpeg" else "BODY_TOO_LARGE"
    assert (told.status, told.reason) == (413, reason)
    assert told.metadata["limit"] == str(limit)
    assert sent[0] <= limit + 3 * 65536
    # one that says how large it is, is not read at all
    headers = {"content-type": kind, "content-length": str(limit + 1)}
    told = problem(await http(method, path, content=b"", headers=headers))
    assert told.reason == reason
    assert await untouched(http)


# ---- values ----------------------------------------------------------------------
@pytest.mark.parametrize("top_k", [0, -1, 1001, 100_000])
async def test_top_k(http: Any, draw: Draw, top_k: int) -> None:
    raw = problem(await http("POST", SEARCH, params={"top_k": top_k}, content=draw(1)))
    document = {"query": {"image": base64.b64encode(draw(1)).decode()}, "top_k": top_k}
    as_json = problem(await http("POST", SEARCH, json=document))
    for told in (raw, as_json):
        assert (told.status, told.reason) == (422, "TOP_K_OUT_OF_RANGE")
        assert told.errors[0].field == "top_k"
    assert http.made.engine.batches == []


async def test_unknown_names_are_named(http: Any, draw: Draw) -> None:
    cases = [
        await http("POST", SEARCH, params={"topk": 5}, content=draw(1)),
        await http("GET", "/v1/galleries", params={"page": 2}),
        await http("PUT", ITEM, params={"persn": "p"}, content=draw(1)),
        await http("POST", SEARCH, params={"top_k": 5}, json={"query": {"item_id": "a"}}),
    ]
    for answer, name in zip(cases, ("topk", "page", "persn", "top_k"), strict=True):
        told = problem(answer)
        assert (told.status, told.reason) == (422, "UNKNOWN_PARAMETER")
        assert told.errors[0].field == name
        assert name in told.detail
    fields = [
        ("/v1/galleries", {"name": "a", "colour": "red"}, "colour"),
        (SEARCH, {"query": {"item_id": "a"}, "colour": 1}, "colour"),
        (SEARCH, {"query": {"item_id": "a", "colour": 1}}, "query.colour"),
        ("/v1/evaluations", {"gallery": "yard", "colour": 1}, "colour"),
        ("/v1/galleries/yard/items:delete", {"item_ids": ["a"], "colour": 1}, "colour"),
    ]
    for path, body, field in fields:
        told = problem(await http("POST", path, json=body))
        assert (told.status, told.reason, told.errors[0].field) == (422, "UNKNOWN_FIELD", field)
        assert told.detail == f"{field}: there is no such field; /openapi.json has those there are"
    misplaced = problem(await http("POST", SEARCH, json={"item_id": "a"}))
    assert misplaced.detail.startswith("query: Field required; item_id: there is no such field")
    assert await untouched(http)


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "reason"),
    [
        ("POST", "/v1/galleries", {"content": b"{"}, 400, "MALFORMED_JSON"),
        ("POST", "/v1/galleries", {"content": b""}, 400, "MALFORMED_JSON"),
        ("POST", "/v1/galleries", {"json": {}}, 422, "INVALID_REQUEST"),
        ("POST", "/v1/galleries", {"json": []}, 422, "INVALID_REQUEST"),
        ("POST", "/v1/galleries", {"json": {"name": "../x"}}, 422, "GALLERY_NAME_INVALID"),
        ("POST", "/v1/galleries", {"json": {"name": ""}}, 422, "GALLERY_NAME_INVALID"),
        ("POST", "/v1/galleries", {"json": {"name": "yard"}}, 409, "GALLERY_EXISTS"),
        ("GET", "/v1/galleries/elsewhere", {}, 404, "GALLERY_NOT_FOUND"),
        ("GET", "/v1/galleries/elsewhere/items", {}, 404, "GALLERY_NOT_FOUND"),
        ("DELETE", "/v1/galleries/elsewhere", {}, 404, "GALLERY_NOT_FOUND"),
        ("POST", "/v1/galleries/elsewhere/items:upload", {"headers": ZIP}, 404, "GALLERY_NOT_FOUND"),
        ("POST", "/v1/evaluations", {"json": {"gallery": "elsewhere"}}, 404, "GALLERY_NOT_FOUND"),
        ("POST", "/v1/evaluations", {"json": {"gallery": "yard", "rule": "whim"}}, 422, "INVALID_REQUEST"),
        ("POST", "/v1/evaluations", {"json": {"gallery": "yard", "query_modality": "auto"}}, 422, "INVALID_REQUEST"),
        ("GET", ITEM, {}, 404, "ITEM_NOT_FOUND"),
        ("GET", f"{ITEM}/image", {}, 404, "ITEM_NOT_FOUND"),
        ("GET", "/v1/jobs/none", {}, 404, "JOB_NOT_FOUND"),
        ("POST", "/v1/jobs/none:cancel", {}, 404, "JOB_NOT_FOUND"),
        ("GET", "/v1/evaluations/none", {}, 404, "JOB_NOT_FOUND"),
        ("POST", "/v1/embed?modality=thermal", {"content": b"x"}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?limit=0", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?limit=x", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?cursor=x", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?modalities=thermal", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?from=yesterday", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?from=2026-01-01T00:00:00", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?attribute=red", {}, 422, "INVALID_REQUEST"),
        ("GET", "/v1/galleries/yard/items?attribute=a%3Db&attribute=a%3Dc", {}, 422, "INVALID_REQUEST"),
        ("POST", "/v1/galleries/yard/items:delete", {"json": {}}, 422, "INVALID_REQUEST"),
        ("POST", "/v1/galleries/yard/items:delete", {"json": {"filter": {}}}, 422, "INVALID_REQUEST"),
        ("POST", "/v1/galleries/yard/items:upload", {"headers": {"content-type": "text/html"}}, 422, "CONTENT_TYPE_UNKNOWN"),
        ("POST", "/v1/galleries/yard/items:upload", {"headers": ZIP}, 422, "BODY_EMPTY"),
        ("POST", "/v1/galleries/yard/items:upload", {"data": {"files": "text"}, "files": {}}, 422, "CONTENT_TYPE_UNKNOWN"),
        ("POST", SEARCH, {"json": {"query": {}}}, 422, "INVALID_REQUEST"),
        ("POST", SEARCH, {"json": {"query": {"item_id": "a", "image": ""}}}, 422, "INVALID_REQUEST"),
        ("POST", SEARCH, {"json": {"query": {"image": "%"}}}, 422, "MALFORMED_BASE64"),
        ("POST", SEARCH, {"json": {"query": {"item_id": "a"}}}, 404, "ITEM_NOT_FOUND"),
        ("POST", SEARCH, {"json": {"query": {"embedding": [1.0], "space_id": "x"}}}, 422, "INVALID_REQUEST"),
        ("POST", SEARCH, {"json": {"query": {"embedding": [1.0], "modality": "visible"}}}, 409, "SPACE_MISMATCH"),
        ("GET", "/v1/nothing", {}, 404, "ROUTE_NOT_FOUND"),
        ("GET", "/nothing.html", {}, 404, "ROUTE_NOT_FOUND"),
        ("PATCH", "/v1/galleries", {}, 405, "METHOD_NOT_ALLOWED"),
        ("GET", SEARCH, {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/livez", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/", {}, 405, "METHOD_NOT_ALLOWED"),
    ],
)  # fmt: skip
async def test_a_problem_each(
    http: Any, method: str, path: str, more: dict[str, Any], status: int, reason: str
) -> None:
    answer = await http(method, path, **more)
    told = problem(answer)
    assert (told.status, told.reason) == (status, reason)
    if status == 405 and path != "/":
        assert answer.headers["allow"]
    assert await untouched(http)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e39"])
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
async def test_embeddings_that_are_no_numbers(http: Any, value: str) -> None:
    space = http.made.service.space_id
    query = f'{{"embedding": [{value}, 0,0,0,0,0,0,0], "space_id": "{space}", "modality": "visible"}}'
    answer = await http(
        "POST", SEARCH, content=f'{{"query": {query}}}'.encode(), headers={"content-type": "application/json"}
    )
    told = problem(answer)
    assert (told.status, told.reason) == (422, "EMBEDDING_NOT_FINITE")


async def test_a_score_that_compares_with_nothing(http: Any, draw: Draw) -> None:
    told = problem(await http("POST", SEARCH, params={"min_score": "nan"}, content=draw(1)))
    assert (told.status, told.errors[0].field) == (422, "min_score")


# ---- load ------------------------------------------------------------------------
async def test_a_full_queue_says_when_to_come_back(start: Callable[..., Any], draw: Draw) -> None:
    http = await start(queue_limit=2)
    http.made.engine.hold()
    inside = [asyncio.create_task(http("POST", "/v1/embed", content=draw(n))) for n in range(2)]
    await asyncio.to_thread(http.made.engine.wait_begun)
    for method, path in (("POST", "/v1/embed"), ("POST", SEARCH), ("PUT", ITEM)):
        answer = await http(method, path, content=draw(1))
        told = problem(answer)
        assert (told.status, told.reason) == (429, "QUEUE_FULL")
        assert int(answer.headers["retry-after"]) >= 1
        assert told.retry_after_s is not None
        assert told.retry_after_s > 0
    assert (await http("GET", "/livez")).status_code == 200
    assert (await http("GET", "/v1/galleries")).status_code == 200
    http.made.engine.let_go()
    assert [one.status_code for one in await asyncio.gather(*inside)] == [200, 200]
    assert await untouched(http)


async def test_overload_refuses_some_and_serves_the_others_right(
    start: Callable[..., Any], draw: Draw
) -> None:
    http = await start(queue_limit=8, workers=2)
    expected = (await http("POST", "/v1/embed", content=draw(1))).json()["embedding"]
    answers = await asyncio.gather(*(http("POST", "/v1/embed", content=draw(1)) for _ in range(200)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 8
    for answer in answers:
        if answer.status_code == 200:
            assert answer.json()["embedding"] == pytest.approx(expected, abs=1e-5)
        else:
            assert "retry-after" in answer.headers
    assert (await http("POST", "/v1/embed", content=draw(1))).status_code == 200


async def test_a_deadline(start: Callable[..., Any], draw: Draw) -> None:
    http = await start(timeout_s=0.05)
    http.made.engine.hold()
    first = asyncio.create_task(http("POST", "/v1/embed", content=draw(1)))
    await asyncio.to_thread(http.made.engine.wait_begun)
    told = problem(await http("PUT", ITEM, content=draw(1)))
    assert (told.status, told.reason) == (504, "DEADLINE_IN_QUEUE")
    assert problem(await first).reason == "DEADLINE_EXCEEDED"
    http.made.engine.let_go()
    assert await untouched(http)


async def test_a_caller_who_leaves_is_not_worked_for(start: Callable[..., Any], draw: Draw) -> None:
    http = await start()
    http.made.engine.hold()
    first = asyncio.create_task(http("POST", "/v1/embed", content=draw(1)))
    await asyncio.to_thread(http.made.engine.wait_begun)
    left = asyncio.Event()
    messages = [{"type": "http.request", "body": draw(2), "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = asgi_scope("PUT", ITEM)
    task = asyncio.create_task(http.app(scope, receive, send))
    value = http.made.metrics.registry.get_sample_value
    while value("vireid_queue_items", {"lane": "interactive"}) != 2:  # noqa: ASYNC110 - the gauge tells nobody
        await asyncio.sleep(0)
    left.set()
    await task
    assert sent[0]["status"] == 499
    assert json.loads(sent[1]["body"])["reason"] == "CANCELLED"
    assert value("vireid_queue_items", {"lane": "interactive"}) == 1
    http.made.engine.let_go()
    await first
    assert http.made.engine.batches == [1]
    assert await untouched(http)


def asgi_scope(method: str, path: str, kind: str = "image/jpeg") -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", kind.encode())]
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "",
            "client": ("x", 1), "server": ("127.0.0.1", 80)}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("PUT", ITEM, "image/jpeg"),
        ("POST", SEARCH, "application/json"),
        ("POST", "/v1/galleries/yard/items:upload", "application/zip"),
        ("POST", "/v1/galleries/yard/items:upload", "multipart/form-data; boundary=b"),
    ],
)
async def test_a_caller_who_leaves_in_the_middle_of_a_body(
    http: Any, caplog: Any, method: str, path: str, kind: str
) -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n' + bytes(2000)
    messages = [{"type": "http.request", "body": part, "more_body": True}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await http.app(asgi_scope(method, path, kind), receive, send)
    assert sent[0]["status"] == 499
    assert caplog.text == ""  # nothing went wrong here
    assert http.made.board.list() == []
    assert await untouched(http)


async def test_a_fault_inside_is_logged_and_not_told(http: Any, draw: Draw, caplog: Any) -> None:
    http.made.engine.fault = RuntimeError("weights at /secret/place")
    answer = await http("POST", "/v1/embed", content=draw(1))
    told = problem(answer)
    assert (told.status, told.reason) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert told.instance in told.detail
    assert "/secret/place" in caplog.text
    assert told.instance in caplog.text
