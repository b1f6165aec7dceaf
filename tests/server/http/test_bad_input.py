"""What must be refused: with a stable reason, a fitting status, and nothing stored."""

import base64
import io
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vireid.images.decode import Limits

Draw = Callable[..., bytes]
SIDE = 12_000


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A sound PNG of 420 kB that unfolds to 432 MB."""
    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(SIDE * 3 + 1)) for _ in range(SIDE)]
    data = b"".join([*rows, packer.flush()])
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert 400_000 < len(whole) < 440_000
    return whole


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


BAD_IMAGES: dict[str, tuple[Callable[[Draw], bytes], int, str]] = {
    "text": (lambda draw: b"hello, this is no image", 415, "NOT_AN_IMAGE"),
    "one byte": (lambda draw: b"\xff", 415, "NOT_AN_IMAGE"),
    "empty": (lambda draw: b"", 422, "BODY_EMPTY"),
    "half a JPEG": (lambda draw: (data := draw(1))[: len(data) // 2], 400, "IMAGE_TRUNCATED"),
    "half a PNG": (lambda draw: (data := draw(1, "PNG"))[: len(data) // 2], 400, "IMAGE_TRUNCATED"),
    "half a WebP": (lambda draw: (data := draw(1, "WEBP"))[: len(data) // 2], 400, "IMAGE_TRUNCATED"),
    "GIF": (lambda draw: saved(Image.new("RGB", (8, 8)), "GIF"), 415, "FORMAT_NOT_ALLOWED"),
    "TIFF": (lambda draw: saved(Image.new("RGB", (8, 8)), "TIFF"), 415, "FORMAT_NOT_ALLOWED"),
    "BMP": (lambda draw: saved(Image.new("RGB", (8, 8)), "BMP"), 415, "FORMAT_NOT_ALLOWED"),
    "CMYK JPEG": (lambda draw: saved(Image.new("CMYK", (8, 8)), "JPEG"), 415, "FORMAT_NOT_ALLOWED"),
    "too long a side": (
        lambda draw: saved(Image.new("L", (Limits().max_side + 1, 2)), "PNG"), 413, "TOO_MANY_PIXELS",
    ),
}  # fmt: skip
PLACES = (("POST", "/v1/embed"), ("PUT", "/v1/galleries/g/items/a"), ("POST", "/v1/galleries/g/search"))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
@pytest.mark.parametrize("case", BAD_IMAGES)
async def test_images(api: Any, draw: Draw, case: str, place: tuple[str, str]) -> None:
    make, status, reason = BAD_IMAGES[case]
    found = await api.refused(*place, content=make(draw))
    assert found[:2] == (status, reason)
    assert await api.items() == 0
    assert api.made.engine.batches == []


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
async def test_a_decompression_bomb_is_seen_before_it_goes_off(
    api: Any, bomb: bytes, place: tuple[str, str]
) -> None:
    assert (await api.refused(*place, content=bomb))[:2] == (413, "TOO_MANY_PIXELS")
    assert await api.items() == 0


async def test_a_bad_image_in_a_document(api: Any, bomb: bytes) -> None:
    for data, expected in (
        (base64.b64encode(b"hello").decode(), (415, "NOT_AN_IMAGE")),
        (base64.b64encode(bomb).decode(), (413, "TOO_MANY_PIXELS")),
        ("not base64!", (422, "MALFORMED_BASE64")),
        ("", (415, "NOT_AN_IMAGE")),
    ):
        found = await api.refused("POST", "/v1/galleries/g/search", json={"query": {"image": data}})
        assert found[:2] == expected


@pytest.mark.parametrize("deep", [np.uint16, np.uint8])
async def test_deep_infrared_is_taken(api: Any, deep: Any) -> None:
    levels = np.linspace(0, np.iinfo(deep).max, 32 * 16).reshape(32, 16).astype(deep)
    answer = await api.put("a", saved(Image.fromarray(levels), "PNG"))
    assert answer["item"]["modality"] == "infrared"


async def test_a_replacement_that_is_bad_leaves_what_is_there(api: Any, draw: Draw) -> None:
    await api.put("a", draw(1), camera="1")
    await api.refused("PUT", "/v1/galleries/g/items/a?camera=2", content=draw(2)[:200])
    item = await api.ok("GET", "/v1/galleries/g/items/a")
    assert item["camera"] == "1"
    assert (await api.client.get("/v1/galleries/g/items/a/image")).content == draw(1)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
async def test_more_than_an_image_may_have(api: Any, place: tuple[str, str]) -> None:
    found = await api.refused(*place, content=bytes(Limits().max_bytes + 1))
    assert found[:2] == (413, "BODY_TOO_LARGE")
    assert found[2]["metadata"]["limit"] == str(Limits().max_bytes)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
async def test_a_body_that_does_not_say_how_long_it_is(api: Any, place: tuple[str, str]) -> None:
    """It is cut off while it arrives, not after it was held whole."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 2**30:
            sent += 2**20
            yield bytes(2**20)

    assert (await api.refused(*place, content=endless()))[:2] == (413, "BODY_TOO_LARGE")
    assert sent <= Limits().max_bytes + 2 * 2**20


async def test_an_upload_that_is_too_large(begin: Any) -> None:
    api = await begin(max_upload_bytes=2**20)
    await api.gallery()
    kind = {"content-type": "application/zip"}
    place = "/v1/galleries/g/items:upload"
    assert (await api.refused("POST", place, content=bytes(2**20 + 1), headers=kind))[:2] == (
        413,
        "BODY_TOO_LARGE",
    )

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(2**19)

    assert (await api.refused("POST", place, content=parts(), headers=kind))[:2] == (413, "BODY_TOO_LARGE")
    files = [("files", ("a.jpg", bytes(2**20)))]
    assert (await api.refused("POST", place, files=files))[:2] == (413, "BODY_TOO_LARGE")
    assert (await api.ok("GET", "/v1/jobs")) == {"jobs": []}


# ---- values ------------------------------------------------------------------
@pytest.mark.parametrize("top_k", [0, -1, 1001, 100_000, 10**30])
async def test_top_k(api: Any, draw: Draw, top_k: int) -> None:
    found = await api.refused("POST", f"/v1/galleries/g/search?top_k={top_k}", content=draw(1))
    assert found[0] == 422
    if top_k < 10**30:
        assert (found[1], found[2]["errors"][0]["field"]) == ("TOP_K_OUT_OF_RANGE", "top_k")
        assert "1000" in found[2]["detail"]
    body = {"query": {"item_id": "a"}, "top_k": top_k}
    found = await api.refused("POST", "/v1/galleries/g/search", content=orjson_like(body))
    assert found[0] in {400, 422}


def orjson_like(body: Any) -> bytes:
    """Write JSON with integers of any size."""
    import json

    return json.dumps(body).encode()


QUERIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({"query": {}}, 422, "INVALID_REQUEST"),
    "two things": ({"query": {"item_id": "a", "image": "eA=="}}, 422, "INVALID_REQUEST"),
    "no query": ({"top_k": 3}, 422, "INVALID_REQUEST"),
    "an unknown field": ({"query": {"item_id": "a"}, "topk": 3}, 422, "UNKNOWN_FIELD"),
    "an unknown field inside": ({"query": {"item_id": "a", "kind": "x"}}, 422, "UNKNOWN_FIELD"),
    "an unknown field of the filter": ({"query": {"item_id": "a"}, "filter": {"camera": "1"}}, 422, "UNKNOWN_FIELD"),
    "a word for a number": ({"query": {"item_id": "a"}, "top_k": "many"}, 422, "INVALID_REQUEST"),
    "an unknown item": ({"query": {"item_id": "nobody"}}, 404, "ITEM_NOT_FOUND"),
    "an unknown modality": ({"query": {"image": "eA==", "modality": "thermal"}}, 422, "INVALID_REQUEST"),
    "an unknown modality to find": (
        {"query": {"item_id": "a"}, "filter": {"modalities": ["thermal"]}}, 422, "INVALID_REQUEST",
    ),
    "a time without a zone": (
        {"query": {"item_id": "a"}, "filter": {"captured_from": "2026-03-01T10:00:00"}}, 422, "INVALID_REQUEST",
    ),
    "too many cameras": (
        {"query": {"item_id": "a"}, "filter": {"cameras": ["c"] * 1001}}, 422, "INVALID_REQUEST",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", QUERIES)
async def test_search_documents(api: Any, case: str) -> None:
    body, status, reason = QUERIES[case]
    assert (await api.refused("POST", "/v1/galleries/g/search", json=body))[:2] == (status, reason)


EMBEDDINGS: dict[str, tuple[Callable[[str], dict[str, Any]], int, str]] = {
    "of another bundle": (lambda space: {"space_id": "f" * 64}, 409, "SPACE_MISMATCH"),
    "of no bundle": (lambda space: {"space_id": ""}, 409, "SPACE_MISMATCH"),
    "without modality": (lambda space: {"modality": "auto"}, 422, "INVALID_REQUEST"),
    "too short": (lambda space: {"embedding": [1.0]}, 422, "INVALID_REQUEST"),
    "empty": (lambda space: {"embedding": []}, 422, "EMBEDDING_NOT_UNIT"),
    "zero": (lambda space: {"embedding": [0.0] * 8}, 422, "EMBEDDING_NOT_UNIT"),
    "not of length one": (lambda space: {"embedding": [1.0] * 8}, 422, "EMBEDDING_NOT_UNIT"),
    "beyond what a float holds": (lambda space: {"embedding": [1e300] + [0.0] * 7}, 422, "EMBEDDING_NOT_FINITE"),
}  # fmt: skip


@pytest.mark.parametrize("case", EMBEDDINGS)
async def test_embeddings(api: Any, case: str) -> None:
    space = api.made.service.space_id
    change, status, reason = EMBEDDINGS[case]
    query = {"embedding": [1.0] + [0.0] * 7, "space_id": space, "modality": "visible", **change(space)}
    assert (await api.refused("POST", "/v1/galleries/g/search", json={"query": query}))[:2] == (
        status,
        reason,
    )


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "null", '"NaN"'])
async def test_embeddings_that_are_no_numbers(api: Any, word: str) -> None:
    """JSON has no NaN; wherever one slips through a reader it must not become a search."""
    space = api.made.service.space_id
    values = ",".join([word] + ["0.0"] * 7)
    body = f'{{"query": {{"embedding": [{values}], "space_id": "{space}", "modality": "visible"}}}}'
    status, reason, _ = await api.refused(
        "POST", "/v1/galleries/g/search", content=body, headers={"content-type": "application/json"}
    )
    assert (status, reason) in {
        (422, "EMBEDDING_NOT_FINITE"),
        (422, "INVALID_REQUEST"),
        (400, "MALFORMED_JSON"),
    }


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "high"])
async def test_min_score_is_a_number(api: Any, draw: Draw, score: str) -> None:
    found = await api.refused("POST", f"/v1/galleries/g/search?min_score={score}", content=draw(1))
    assert found[0] == 422
    assert "min_score" in str(found[2])


MALFORMED = (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"name": }', b"[" * 100_000)


@pytest.mark.parametrize("place", ["/v1/galleries", "/v1/evaluations", "/v1/galleries/g/items:delete"])
@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:10]))
async def test_documents_that_are_none(api: Any, place: str, body: bytes) -> None:
    found = await api.refused("POST", place, content=body, headers={"content-type": "application/json"})
    assert found[:2] in {(400, "MALFORMED_JSON"), (422, "INVALID_REQUEST")}


async def test_a_document_that_is_too_large(api: Any) -> None:
    body = b'{"name": "' + b"x" * (16 * 2**20) + b'"}'
    assert (await api.refused("POST", "/v1/galleries", content=body))[:2] == (413, "BODY_TOO_LARGE")


UNKNOWN_GALLERY = (
    ("GET", "/v1/galleries/nobody", {}),
    ("DELETE", "/v1/galleries/nobody", {}),
    ("GET", "/v1/galleries/nobody/facets", {}),
    ("GET", "/v1/galleries/nobody/items", {}),
    ("GET", "/v1/galleries/nobody/items/a", {}),
    ("GET", "/v1/galleries/nobody/items/a/image", {}),
    ("GET", "/v1/galleries/nobody/items/a/thumbnail", {}),
    ("DELETE", "/v1/galleries/nobody/items/a", {}),
    ("PUT", "/v1/galleries/nobody/items/a", {"content": b"x"}),
    ("POST", "/v1/galleries/nobody/search", {"content": b"x"}),
    ("POST", "/v1/galleries/nobody/items:delete", {"json": {"item_ids": ["a"]}}),
    ("POST", "/v1/galleries/nobody/items:upload", {"content": b"x", "headers": {"content-type": "application/zip"}}),
    ("POST", "/v1/evaluations", {"json": {"gallery": "nobody"}}),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "more"), UNKNOWN_GALLERY, ids=lambda value: str(value)[:40])
async def test_an_unknown_gallery(api: Any, method: str, path: str, more: dict[str, Any]) -> None:
    assert (await api.refused(method, path, **more))[:2] == (404, "GALLERY_NOT_FOUND")


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a b", "é", "x" * 64, "../g"])
async def test_names_no_gallery_may_have(api: Any, name: str) -> None:
    found = await api.refused("POST", "/v1/galleries", json={"name": name})
    assert found[0] == 422
    assert [one["name"] for one in (await api.ok("GET", "/v1/galleries"))["galleries"]] == ["g"]


async def test_a_name_that_is_taken(api: Any) -> None:
    assert (await api.refused("POST", "/v1/galleries", json={"name": "g"}))[:2] == (409, "GALLERY_EXISTS")


@pytest.mark.parametrize(
    "item_id", ["a b", "%C3%A9", "x" * 201, "a%00b", "a/image", "thumbnail/thumbnail", "a%0a"]
)
async def test_ids_no_item_may_have(api: Any, draw: Draw, item_id: str) -> None:
    found = await api.refused("PUT", f"/v1/galleries/g/items/{item_id}", content=draw(1))
    assert found[:2] in {(422, "ITEM_ID_INVALID"), (405, "METHOD_NOT_ALLOWED")}
    assert await api.items() == 0
    assert api.made.engine.batches == []


PARAMETERS = (
    ("POST", "/v1/embed?modalty=visible", "modalty"),
    ("POST", "/v1/galleries/g/search?k=5", "k"),
    ("POST", "/v1/galleries/g/search?cameras=1", "cameras"),
    ("PUT", "/v1/galleries/g/items/a?cam=1", "cam"),
    ("GET", "/v1/galleries/g/items?page=2", "page"),
    ("GET", "/v1/galleries?limit=2", "limit"),
    ("GET", "/livez?x=", "x"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "name"), PARAMETERS)
async def test_an_unknown_parameter_is_not_silently_dropped(
    api: Any, draw: Draw, method: str, path: str, name: str
) -> None:
    body = {} if method == "GET" else {"content": draw(1)}
    status, reason, told = await api.refused(method, path, **body)
    assert (status, reason) == (422, "UNKNOWN_PARAMETER")
    assert told["errors"][0]["field"] == name


VALUES = (
    ("/v1/galleries/g/search?modality=thermal", "modality"),
    ("/v1/galleries/g/search?modalities=thermal", "modalities"),
    ("/v1/galleries/g/search?from=yesterday", "captured_at"),
    ("/v1/galleries/g/search?to=2026-03-01T10:00:00", "captured_at"),
    ("/v1/galleries/g/search?attribute=hat", "attribute"),
    ("/v1/galleries/g/search?attribute==yes", "attribute"),
    ("/v1/galleries/g/search?top_k=1.5", "top_k"),
    ("/v1/embed?modality=IR", "modality"),
)


@pytest.mark.parametrize(("path", "field"), VALUES)
async def test_values_of_parameters(api: Any, draw: Draw, path: str, field: str) -> None:
    status, reason, told = await api.refused("POST", path, content=draw(1))
    assert (status, reason, told["errors"][0]["field"]) == (422, "INVALID_REQUEST", field)


async def test_a_document_beside_a_query_string(api: Any) -> None:
    found = await api.refused("POST", "/v1/galleries/g/search?top_k=3", json={"query": {"item_id": "a"}})
    assert found[:2] == (422, "UNKNOWN_PARAMETER")


@pytest.mark.parametrize(
    "header", ["not base64!", base64.b64encode(b"[]").decode(), base64.b64encode(b"{").decode()]
)
async def test_metadata_that_is_none(api: Any, draw: Draw, header: str) -> None:
    found = await api.refused("PUT", "/v1/galleries/g/items/a", content=draw(1), headers={"x-meta": header})
    assert (found[0], found[2]["errors"][0]["field"]) == (422, "x-meta")
    assert await api.items() == 0
