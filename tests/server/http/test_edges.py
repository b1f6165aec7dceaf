"""The edges of what may be asked: whole documents that are wrong, names at their limits, every route without its gallery."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server.http import bodies as http_bodies
from server.http import envelope

Draw = Callable[..., bytes]
ROOT = "/v1/galleries/yard"
AS_JSON = {"content-type": "application/json"}


@pytest.fixture
async def http(begin: Callable[..., Any]) -> Any:
    """An app with one empty gallery, ``yard``."""
    api = await begin()
    await api.gallery("yard")
    return api


async def refusal(http: Any, method: str, path: str, **more: Any) -> tuple[int, str, str]:
    """Ask, and give status, reason and the first field of the problem."""
    answer = await http(method, path, **more)
    assert answer.headers["content-type"] == "application/problem+json", (path, answer.text)
    told = answer.json()
    assert told["status"] == answer.status_code
    return told["status"], told["reason"], told.get("errors", [{"field": ""}])[0]["field"]


@pytest.mark.parametrize(
    "path", ["/v1/galleries", "/v1/evaluations", f"{ROOT}/items:delete", f"{ROOT}/search"]
)
async def test_documents_that_are_none(http: Any, path: str) -> None:
    """What is wrong as a whole has no place in itself; that must not upset the answer."""
    bodies = {
        b"": (400, "MALFORMED_JSON"),
        b"{": (400, "MALFORMED_JSON"),
        b'{"name": }': (400, "MALFORMED_JSON"),
        b"\xff\xfe{}": (400, "MALFORMED_JSON"),
        b'{"name": "\xff"}': (400, "MALFORMED_JSON"),
        b"[" * 100_000: (400, "MALFORMED_JSON"),
        b'{"a":' * 100_000: (400, "MALFORMED_JSON"),
        b"[]": (422, "INVALID_REQUEST"),
        b"null": (422, "INVALID_REQUEST"),
        b'"x"': (422, "INVALID_REQUEST"),
        b"3": (422, "INVALID_REQUEST"),
    }
    for body, expected in bodies.items():
        found = await refusal(http, "POST", path, content=body, headers=AS_JSON)
        assert found == (*expected, "body"), body[:20]


async def test_every_route_of_a_gallery_that_is_not_there(http: Any, draw: Draw) -> None:
    lost = "/v1/galleries/nobody"
    routes: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("GET", lost, {}),
        ("DELETE", lost, {}),
        ("GET", f"{lost}/facets", {}),
        ("GET", f"{lost}/items", {}),
        ("GET", f"{lost}/items/a", {}),
        ("GET", f"{lost}/items/a/image", {}),
        ("GET", f"{lost}/items/a/thumbnail", {}),
        ("DELETE", f"{lost}/items/a", {}),
        ("PUT", f"{lost}/items/a", {"content": draw(1)}),
        ("POST", f"{lost}/search", {"content": draw(1)}),
        ("POST", f"{lost}/search", {"json": {"query": {"item_id": "a"}}}),
        ("POST", f"{lost}/items:delete", {"json": {"item_ids": ["a"]}}),
        ("POST", f"{lost}/items:upload", {"content": b"x", "headers": {"content-type": "application/zip"}}),
        ("POST", "/v1/evaluations", {"json": {"gallery": "nobody"}}),
    )
    for method, path, more in routes:
        assert (await refusal(http, method, path, **more))[:2] == (404, "GALLERY_NOT_FOUND"), path
    assert http.made.engine.batches == []
    assert not (await http("GET", "/v1/jobs")).json()["jobs"]


async def test_names_no_gallery_may_have(http: Any) -> None:
    for name in ("", ".", "..", "-a", "_a", ".a", "a/b", "a b", "é", "a\n", "a\0", "x" * 64, "../yard"):
        found = await refusal(http, "POST", "/v1/galleries", json={"name": name})
        assert found[:2] == (422, "GALLERY_NAME_INVALID"), name
    for name in ("A", "0", "a.b_c-D", "x" * 63):
        assert (await http("POST", "/v1/galleries", json={"name": name})).status_code == 201
        assert (await http("DELETE", f"/v1/galleries/{name}")).status_code == 200
    assert [one["name"] for one in (await http("GET", "/v1/galleries")).json()["galleries"]] == ["yard"]


async def test_ids_no_item_may_have(http: Any, draw: Draw) -> None:
    for item_id in ("a%20b", "%C3%A9", "x" * 201, "a%00b", "a%5Cb", "thumbnail/image", "a%3Fb", "a%7Fb"):
        found = await refusal(http, "PUT", f"{ROOT}/items/{item_id}", content=draw(1))
        expected = {
            "a%00b": (400, "MALFORMED_REQUEST"),
            "a%7Fb": (400, "MALFORMED_REQUEST"),
        }
        assert found[:2] == expected.get(item_id, (422, "ITEM_ID_INVALID")), item_id
    assert (await http.made.service.get_gallery("yard")).version == 0
    assert http.made.engine.batches == []


async def test_an_id_with_a_line_break_is_not_the_id_without(http: Any, draw: Draw) -> None:
    """A pattern that ends in a dollar sign lets one line break through; it must not make one item of two."""
    assert (await http("PUT", f"{ROOT}/items/a", content=draw(1))).status_code == 201
    for method, place in (
        ("PUT", "items/a%0A"),
        ("GET", "items/a%0A"),
        ("DELETE", "items/a%0A"),
        ("GET", "items/a/image%0A"),
    ):
        found = await refusal(http, method, f"{ROOT}/{place}", content=draw(2))
        assert found[:2] == (400, "MALFORMED_REQUEST"), place
    assert (await refusal(http, "GET", "/v1/galleries/yard%0A"))[:2] == (400, "MALFORMED_REQUEST")
    assert (await http("GET", f"{ROOT}/items/a/image")).content == draw(1)


async def test_a_field_that_is_wrong_is_named(http: Any, draw: Draw) -> None:
    cases = (
        ("modality=thermal", "modality"),
        ("modality=IR", "modality"),
        ("modalities=thermal", "modalities"),
        ("modalities=auto", "modalities"),
        ("from=yesterday", "from"),
        ("to=2026-03-01T10:00:00", "to"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),  # in UTC, before all years there are
        ("to=9999-12-31T23:59:59-14:00", "to"),
        ("attribute=hat", "attribute"),
        ("attribute==yes", "attribute"),
        ("top_k=1.5", "top_k"),
        (f"top_k={10**30}", "top_k"),
        ("min_score=high", "min_score"),
    )
    for query, field in cases:
        found = await refusal(http, "POST", f"{ROOT}/search?{query}", content=draw(1))
        assert (found[0], found[2]) == (422, field), query
    many = [("camera", str(number)) for number in range(1001)]
    assert (await refusal(http, "POST", f"{ROOT}/search", params=many, content=draw(1)))[::2] == (
        422,
        "camera",
    )
    assert http.made.engine.batches == []


async def test_metadata_that_is_none(http: Any, draw: Draw) -> None:
    words = ("not base64!", *(base64.b64encode(text).decode() for text in (b"[]", b"{", b'"x"', b"\xff")))
    for word in words:
        found = await refusal(http, "PUT", f"{ROOT}/items/a", content=draw(1), headers={"x-meta": word})
        assert (found[0], found[2]) == (422, "x-meta"), word
    assert (await http.made.service.get_gallery("yard")).version == 0


async def test_a_replacement_that_is_bad_leaves_what_is_there(http: Any, draw: Draw) -> None:
    await http("PUT", f"{ROOT}/items/a?camera=1", content=draw(1))
    assert (await refusal(http, "PUT", f"{ROOT}/items/a?camera=2", content=draw(2)[:200]))[0] == 400
    item = (await http("GET", f"{ROOT}/items/a")).json()
    assert item["camera"] == "1"
    assert (await http("GET", f"{ROOT}/items/a/image")).content == draw(1)


async def test_embeddings_that_are_no_directions(http: Any) -> None:
    first = [1.0] + [0.0] * 7
    own = {"space_id": http.made.service.space_id, "modality": "visible", "embedding": first}
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"space_id": "f" * 64}, 409, "SPACE_MISMATCH"),
        ({"space_id": ""}, 409, "SPACE_MISMATCH"),
        ({"modality": "auto"}, 422, "INVALID_REQUEST"),
        ({"embedding": [1.0]}, 422, "INVALID_REQUEST"),
        ({"embedding": [*first, 0.0]}, 422, "INVALID_REQUEST"),
        ({"embedding": []}, 422, "INVALID_REQUEST"),
        ({"embedding": [0.0] * 8}, 422, "EMBEDDING_NOT_UNIT"),
        ({"embedding": [1.0] * 8}, 422, "EMBEDDING_NOT_UNIT"),
        ({"embedding": [1e300, *first[1:]]}, 422, "EMBEDDING_NOT_FINITE"),
        ({"embedding": [1e30, *first[1:]]}, 422, "EMBEDDING_NOT_UNIT"),
        ({"embedding": ["one", *first[1:]]}, 422, "INVALID_REQUEST"),
        ({"embedding": ["NaN", *first[1:]]}, 422, "EMBEDDING_NOT_FINITE"),
        ({"embedding": "abc"}, 422, "INVALID_REQUEST"),
    )
    for change, status, reason in cases:
        found = await refusal(http, "POST", f"{ROOT}/search", json={"query": {**own, **change}})
        assert found[:2] == (status, reason), change
        beside = {"query": own, "together": {"queries": [own, {**own, **change}]}}
        assert (await refusal(http, "POST", f"{ROOT}/search", json=beside))[:2] == found[:2], change
    answer = await http("POST", f"{ROOT}/search", json={"query": own})
    assert answer.json()["hits"] == []


async def test_a_media_type_is_read_in_any_case(http: Any, draw: Draw) -> None:
    await http.put("a", draw(1), gallery="yard")
    typed = {"content-type": "Application/JSON; charset=utf-8"}
    found = await http("POST", f"{ROOT}/search", json={"query": {"item_id": "a"}}, headers=typed)
    assert found.status_code == 200, found.text
    assert found.json()["hits"][0]["item_id"] == "a"


async def test_a_body_that_stops_is_not_waited_for(
    http: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_bodies, "SLOWEST_S", 0.05)

    async def halting() -> AsyncIterator[bytes]:
        yield draw(1)[:100]
        await asyncio.sleep(30)

    async with asyncio.timeout(10):
        found = await refusal(http, "POST", "/v1/embed", content=halting())
    assert found == (504, "BODY_TOO_SLOW", "")


async def test_no_room_for_a_form(http: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(http_bodies.Request, "form", full)
    found = await refusal(http, "POST", f"{ROOT}/items:upload", files=[("files", ("a.jpg", draw(1)))])
    assert found == (507, "DISK_FULL", "")


async def test_more_requests_than_may_be_under_way(
    http: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "MOST_REQUESTS", 2)
    go = asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield draw(1)[:100]
        await go.wait()
        yield draw(1)[100:]

    waiting = [asyncio.create_task(http("POST", "/v1/embed", content=held())) for _ in range(2)]
    await asyncio.sleep(0.05)
    answer = await http("POST", "/v1/embed", content=draw(1))
    assert (answer.status_code, answer.json()["reason"]) == (429, "QUEUE_FULL")
    assert answer.headers["retry-after"] == "1"
    go.set()
    assert [(await task).status_code for task in waiting] == [200, 200]
    assert (await http("POST", "/v1/embed", content=draw(1))).status_code == 200
