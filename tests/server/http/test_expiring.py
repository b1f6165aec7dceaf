"""How long things are kept, as HTTP says it: query strings, forms of upload, and what is refused by its name."""

import base64
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

AT = datetime(2100, 3, 1, 12, tzinfo=UTC)
WORD = AT.isoformat()


async def test_the_query_string_and_the_header_say_it(api: Any, draw: Callable[..., bytes]) -> None:
    put = await api.put("a", draw(1), expires_at="2100-03-01T13:00:00+01:00")
    assert put["item"]["expires_at"] == WORD
    path = "/v1/galleries/g/items/b"
    told = base64.b64encode(orjson.dumps({"expires_at": WORD, "attributes": {"coat": "red"}})).decode()
    item = (await api.ok("PUT", path, 201, content=draw(2), headers={"x-meta": told}))["item"]
    assert (item["expires_at"], item["attributes"]) == (WORD, {"coat": "red"})
    assert (await api.ok("GET", "/v1/galleries/g/items/b"))["expires_at"] == WORD


async def test_lines_and_manifests_say_it(api: Any, draw: Callable[..., bytes]) -> None:
    lines = [
        {"item_id": "n1", "image": base64.b64encode(draw(1)).decode(), "expires_at": WORD},
        {"item_id": "n2", "image": base64.b64encode(draw(2)).decode()},
        {"item_id": "n3", "image": base64.b64encode(draw(3)).decode(), "expires_at": "2001-01-01T00:00:00Z"},
        {"item_id": "n4", "image": base64.b64encode(draw(4)).decode(), "expires_at": "soon"},
    ]
    body = b"\n".join(orjson.dumps(line) for line in lines)
    kind = {"content-type": "application/x-ndjson"}
    job = await api.ended(
        await api.ok("POST", "/v1/galleries/g/items:upload", 202, content=body, headers=kind)
    )
    assert job["counts"] == {"created": 2}
    assert {one["item"]: one["reason"] for one in job["errors"]} == {
        "line 3": "EXPIRED_ALREADY",
        "line 4": "INVALID_REQUEST",
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("m.jpg", draw(5))
        made.writestr("manifest.csv", f"path,expires_at\nm.jpg,{WORD}\n")
    kind = {"content-type": "application/zip"}
    await api.ended(
        await api.ok("POST", "/v1/galleries/g/items:upload", 202, content=archive.getvalue(), headers=kind)
    )
    listed = (await api.ok("GET", "/v1/galleries/g/items"))["items"]
    assert {one["item_id"]: one["expires_at"] for one in listed} == {"n1": WORD, "n2": None, "m.jpg": WORD}


@pytest.mark.parametrize(
    ("method", "path", "more", "field"),
    [
        ("PUT", "/v1/galleries/g/items/a", {"params": {"expires_at": "soon"}}, "expires_at"),
        ("PUT", "/v1/galleries/g/items/a", {"params": {"captured_at": "soon"}}, "captured_at"),
        ("PUT", "/v1/galleries/g/items/a", {"params": {"expires_at": "2001-01-01T00:00:00Z"}}, "expires_at"),
        ("PATCH", "/v1/galleries/g", {"json": {"retention_s": -1}}, "retention_s"),
        ("PATCH", "/v1/galleries/g", {"json": {}}, "retention_s"),
        ("PATCH", "/v1/galleries/g", {"json": {"retention_s": 5, "name": "h"}}, "name"),
        ("POST", "/v1/galleries", {"json": {"name": "h", "retention_s": -1}}, "retention_s"),
        ("GET", "/v1/galleries/g/items", {"params": {"from": "soon"}}, "from"),
        ("GET", "/v1/galleries/g/items", {"params": {"to": "2026-01-01T00:00:00"}}, "to"),
    ],
)
async def test_what_is_wrong_is_named(
    api: Any, draw: Callable[..., bytes], method: str, path: str, more: dict[str, Any], field: str
) -> None:
    if method == "PUT":
        more = {**more, "content": draw(1)}
    status, _, body = await api.refused(method, path, **more)
    assert status == 422 or status == 400
    assert [one["field"] for one in body["errors"]] == [field]
    assert (await api.ok("GET", "/v1/galleries/g"))["items"] == 0
