"""What HTTP answers when all is well; every shape is the documented one."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from server.http import schemas
from vireid.errors import EngineError

Draw = Callable[..., bytes]
ITEMS = "/v1/galleries/yard/items"


async def put(http: Any, item_id: str, data: bytes, **parameters: str) -> Any:
    return await http("PUT", f"{ITEMS}/{item_id}", content=data, params=parameters)


async def test_galleries(http: Any) -> None:
    made = await http("POST", "/v1/galleries", json={"name": "second", "store_images": False})
    assert made.status_code == 201
    assert schemas.Gallery.model_validate(made.json()).stores_images is False
    listed = await http("GET", "/v1/galleries")
    assert [one.name for one in schemas.Galleries.model_validate(listed.json()).galleries] == [
        "second",
        "yard",
    ]
    one = await http("GET", "/v1/galleries/second")
    assert schemas.Gallery.model_validate(one.json()).state == "ready"
    gone = await http("DELETE", "/v1/galleries/second")
    assert schemas.Receipt.model_validate(gone.json()).items == 0
    assert (await http("GET", "/v1/galleries/second")).status_code == 404


async def test_an_item_from_its_first_day_to_its_last(http: Any, draw: Draw) -> None:
    fields = {"person": "p1", "camera": "c1", "captured_at": "2026-03-01T23:30:00Z", "modality": "infrared"}
    made = await put(http, "night/p1:a.jpg", draw(1), **fields)
    assert made.status_code == 201
    answer = schemas.ItemPut.model_validate(made.json())
    assert (answer.outcome, answer.item.item_id, answer.item.person) == ("created", "night/p1:a.jpg", "p1")
    again = await put(http, "night/p1:a.jpg", draw(1), **fields)
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    found = schemas.Item.model_validate((await http("GET", f"{ITEMS}/night/p1:a.jpg")).json())
    assert found.captured_at == "2026-03-01T23:30:00+00:00"
    picture = await http("GET", str(found.image))
    assert (picture.content, picture.headers["content-type"]) == (draw(1), "image/jpeg")
    assert picture.headers["x-content-type-options"] == "nosniff"
    small = await http("GET", found.thumbnail)
    assert small.headers["content-type"] == "image/jpeg"
    gone = await http("DELETE", f"{ITEMS}/night/p1:a.jpg")
    assert schemas.Receipt.model_validate(gone.json()).items == 1
    assert (await http("DELETE", f"{ITEMS}/night/p1:a.jpg")).status_code == 404
    assert (await http("GET", found.thumbnail)).json()["reason"] == "ITEM_NOT_FOUND"


@pytest.mark.parametrize("which", ["image", "thumbnail"])
async def test_a_picture_that_is_kept_is_asked_for_each_time(http: Any, draw: Draw, which: str) -> None:
    """After a replacement or a deletion no browser may show the old one."""
    await put(http, "a", draw(1))
    path = f"{ITEMS}/a/{which}"
    first = await http("GET", path)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = f'"{hashlib.sha256(first.content).hexdigest()}"'
    assert first.headers["etag"] == (tag if which == "image" else f"W/{tag}")
    for known in (first.headers["etag"], tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = await http("GET", path, headers={"if-none-match": known})
        assert (same.status_code, same.content) == (304, b""), known
        assert (same.headers["etag"], same.headers["cache-control"]) == (
            first.headers["etag"],
            "private, no-cache",
        )
    for known in ("", '"other"', tag.strip('"'), tag.upper()):
        assert (await http("GET", path, headers={"if-none-match": known})).content == first.content, known
    await put(http, "a", draw(2))
    after = await http("GET", path, headers={"if-none-match": first.headers["etag"]})
    assert after.status_code == 200
    assert after.content != first.content
    assert after.headers["etag"] != first.headers["etag"]
    await http("DELETE", f"{ITEMS}/a")
    gone = await http("GET", path, headers={"if-none-match": after.headers["etag"]})
    assert gone.status_code == 404
    assert "etag" not in gone.headers


@pytest.mark.parametrize(("kind", "media"), [("PNG", "image/png"), ("WEBP", "image/webp")])
async def test_pictures_are_given_back_as_what_they_are(http: Any, draw: Draw, kind: str, media: str) -> None:
    await put(http, "a", draw(1, kind=kind))
    assert (await http("GET", f"{ITEMS}/a/image")).headers["content-type"] == media


@pytest.mark.parametrize("item_id", ["a", "a/b/c.jpg", "a/image/b", "items:upload", "x:cancel", "~"])
async def test_ids_with_slashes_and_words_of_ours(http: Any, draw: Draw, item_id: str) -> None:
    made = await put(http, item_id, draw(1))
    if item_id == "~":
        assert made.json()["reason"] == "ITEM_ID_INVALID"
        return
    item = made.json()["item"]
    for path in (f"{ITEMS}/{item_id}", item["image"], item["thumbnail"]):
        assert (await http("GET", path)).status_code == 200
    assert (await http("GET", f"{ITEMS}/{item_id.replace('/', '%2F')}")).json() == item


async def test_metadata_in_a_header(http: Any, draw: Draw) -> None:
    meta = base64.b64encode(b'{"person": "p", "attributes": {"coat": "red"}}').decode()
    made = await http("PUT", f"{ITEMS}/a", content=draw(1), headers={"x-meta": meta})
    assert (made.json()["item"]["person"], made.json()["item"]["attributes"]) == ("p", {"coat": "red"})
    bad = await http("PUT", f"{ITEMS}/a", content=draw(1), headers={"x-meta": "%"})
    assert bad.status_code == 422


async def test_listing_in_pages(http: Any, draw: Draw) -> None:
    for n in range(7):
        await put(
            http, f"i{n}", draw(n), camera=f"c{n % 2}", captured_at=f"2026-03-0{n + 1}T1{n // 5}:30:00Z"
        )
    seen, cursor = [], ""
    while True:
        answer = await http("GET", ITEMS, params={"limit": 2, "cursor": cursor, "camera": "c0"})
        page = schemas.Items.model_validate(answer.json())
        seen += [one.item_id for one in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == ["i0", "i2", "i4", "i6"]
    facets = schemas.Facets.model_validate((await http("GET", "/v1/galleries/yard/facets")).json())
    assert facets.cameras == {"c0": 4, "c1": 3}
    assert (facets.modalities, facets.hours) == ({"visible": 7}, {"10": 5, "11": 2})


async def test_deleting_by_filter_after_a_dry_run(http: Any, draw: Draw) -> None:
    for n in range(4):
        await put(http, f"i{n}", draw(n), camera=f"c{n % 2}")
    body = {"filter": {"cameras": ["c1"]}, "dry_run": True}
    told = schemas.Receipt.model_validate((await http("POST", f"{ITEMS}:delete", json=body)).json())
    assert (told.items, told.dry_run) == (2, True)
    assert (await http("GET", "/v1/galleries/yard")).json()["items"] == 4
    http.made.service.gallery("yard").snapshot()
    body["dry_run"] = False
    receipt = schemas.Receipt.model_validate((await http("POST", f"{ITEMS}:delete", json=body)).json())
    assert (receipt.items, receipt.snapshots, receipt.still_in) == (2, 0, 1)
    assert (await http("POST", f"{ITEMS}:delete", json={"item_ids": ["i0"]})).json()["items"] == 1
    assert [one["item_id"] for one in (await http("GET", ITEMS)).json()["items"]] == ["i2"]


async def test_search_by_raw_body_and_by_json_alike(http: Any, draw: Draw) -> None:
    for n in range(5):
        await put(http, f"i{n}", draw(n), camera=f"c{n % 2}", captured_at=f"2026-03-0{n + 1}T00:00:00Z")
    path = "/v1/galleries/yard/search"
    raw = await http("POST", path, params={"top_k": 2}, content=draw(3))
    answer = schemas.SearchReply.model_validate(raw.json())
    assert (answer.hits[0].item_id, answer.hits[0].rank, len(answer.hits)) == ("i3", 1, 2)
    assert answer.coverage == schemas.Coverage(
        items_total=5, items_searched=5, exact=True, degraded=False, items_lost=0
    )
    assert answer.query.modality == "visible"
    for name in ("queue", "decode", "infer", "search", "total"):
        assert f"{name};dur=" in raw.headers["server-timing"]
    image = base64.b64encode(draw(3)).decode()
    embedding = (await http("POST", "/v1/embed", content=draw(3))).json()
    for query in (
        {"image": image},
        {"item_id": "i3"},
        {"embedding": embedding["embedding"], "space_id": embedding["space_id"], "modality": "visible"},
    ):
        found = await http("POST", path, json={"query": query, "top_k": 2})
        same = schemas.SearchReply.model_validate(found.json())
        assert [hit.item_id for hit in same.hits] == [hit.item_id for hit in answer.hits]
        assert same.hits[0].score == pytest.approx(answer.hits[0].score, abs=1e-6)
    few = await http(
        "POST", path, params={"from": "2026-03-02T00:00:00Z", "to": "2026-03-04T00:00:00Z"}, content=draw(3)
    )
    assert sorted(hit["item_id"] for hit in few.json()["hits"]) == ["i1", "i2"]
    assert few.json()["coverage"]["items_searched"] == 2


async def test_search_by_examples_one_a_person_and_without_the_own_camera(http: Any, draw: Draw) -> None:
    for n in range(6):
        await put(http, f"i{n}", draw(n), camera=f"c{n % 2}", person=f"p{n % 3}")
    path = "/v1/galleries/yard/search"
    more = {"one_per_person": True, "more_like": ["i4"], "less_like": ["i1", "i2"]}
    raw = schemas.SearchReply.model_validate((await http("POST", path, params=more, content=draw(0))).json())
    assert len(raw.hits) == len({hit.person for hit in raw.hits}) == 3
    assert raw.coverage.items_searched == 4
    assert {hit.item_id for hit in raw.hits}.isdisjoint({"i1", "i2"})
    said = await http("POST", path, json={"query": {"item_id": "i0"}, **more})
    same = schemas.SearchReply.model_validate(said.json())
    assert [hit.item_id for hit in same.hits] == [hit.item_id for hit in raw.hits]
    several = {"queries": [{"item_id": "i3"}, {"image": base64.b64encode(draw(5)).decode()}]}
    ways: dict[str, Any] = {}
    for way in ("mean", "best"):
        body = {"query": {"item_id": "i0"}, "together": {**several, "by": way}}
        ways[way] = schemas.SearchReply.model_validate((await http("POST", path, json=body)).json())
        assert {hit.item_id for hit in ways[way].hits[:3]} == {"i0", "i3", "i5"}
    assert all(hit.score == pytest.approx(1.0, abs=1e-5) for hit in ways["best"].hits[:3])
    assert ways["mean"].hits[0].score < 1 - 1e-5
    body = {"query": {"item_id": "i0"}, "together": {**several, "by": "worst"}}
    assert (await http("POST", path, json=body)).status_code == 422
    body = {"query": {"item_id": "i0"}, "exclude_own_camera": True}
    left = schemas.SearchReply.model_validate((await http("POST", path, json=body)).json())
    assert {hit.camera for hit in left.hits} == {"c1"}
    refused = await http("POST", path, params={"exclude_own_camera": True}, content=draw(0))
    assert refused.json()["reason"] == "UNKNOWN_PARAMETER"


async def test_embedding(http: Any, draw: Draw) -> None:
    answer = await http("POST", "/v1/embed", content=draw(1), params={"modality": "infrared"})
    told = schemas.EmbeddingReply.model_validate(answer.json())
    assert (told.dim, len(told.embedding), told.modality) == (8, 8, "infrared")
    assert [one.code for one in told.warnings] == ["MODALITY_MISMATCH"]


async def test_who_runs_and_how_it_is(http: Any, draw: Draw) -> None:
    info = schemas.Info.model_validate((await http("GET", "/v1/info")).json())
    assert (info.version, info.model.name, info.engine.device) == ("1.2.3", "fake", "cpu")
    assert (await http("GET", "/livez")).json() == {"live": True}
    for path in ("/readyz", "/healthz"):
        ready = schemas.Ready.model_validate((await http("GET", path)).json())
        assert (ready.ready, ready.galleries) == (True, {"ready": 1})
    await put(http, "a", draw(1))
    text = (await http("GET", "/metrics")).text
    assert 'vireid_gallery_items{gallery="yard"} 1.0' in text
    assert (
        'vireid_requests_total{code="201",method="PUT /v1/galleries/{gallery}/items/{item_id:path}"} 1.0'
        in text
    )
    assert "vireid_batch_size_count 2.0" not in text  # the readiness probe is no request
    await http("DELETE", "/v1/galleries/yard")
    assert "vireid_gallery_items{" not in (await http("GET", "/metrics")).text


async def test_a_failed_index_is_told(http: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(http.made.service.gallery("yard")._holdings._backend, "add", out_of_memory)
    refused = await put(http, "a", draw(1))
    assert (refused.status_code, refused.json()["reason"]) == (507, "INDEX_FAILED")
    assert (await http("GET", "/readyz")).json()["galleries"] == {"failed": 1}
    (listed,) = (await http("GET", "/v1/galleries")).json()["galleries"]
    assert (listed["name"], listed["state"]) == ("yard", "failed")
    assert (await http("GET", "/v1/galleries/yard")).status_code == 200
    assert (await http("GET", f"{ITEMS}/a")).json()["reason"] == "INDEX_FAILED"


async def test_not_ready_while_the_model_fails_or_the_server_drains(http: Any) -> None:
    http.made.engine.fault = EngineError("broken at /secret")
    answer = await http("GET", "/readyz")
    assert (answer.status_code, answer.json()["model"]) == (503, "ENGINE_FAILED")
    assert "secret" not in answer.text
    http.made.engine.fault = None
    assert (await http("GET", "/readyz")).status_code == 200
    http.made.service.drain()
    assert (await http("GET", "/readyz")).json()["model"] == "DRAINING"
    assert (await http("GET", "/livez")).status_code == 200


async def test_the_page_and_its_files_need_nothing_from_elsewhere(http: Any) -> None:
    page = await http("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "https://" not in page.text.replace("http://www.w3.org", "")
    for name, kind in (("app.js", "javascript"), ("gallery.js", "javascript"), ("style.css", "text/css")):
        answer = await http("GET", f"/{name}")
        assert (answer.status_code, kind in answer.headers["content-type"]) == (200, True)
    assert (await http("GET", "/docs")).status_code == 404
    for outside in ("/../settings.py", "/%2e%2e/settings.py", "/..%2fsettings.py", "/__init__.py"):
        assert (await http("GET", outside)).status_code == 404


async def test_every_answer_has_an_id(http: Any) -> None:
    made = await http("GET", "/livez")
    assert len(made.headers["x-request-id"]) == 32
    given = await http("GET", "/livez", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    for strange in ("a b", "x" * 65, "<script>"):
        answer = await http("GET", "/livez", headers={"x-request-id": strange})
        assert len(answer.headers["x-request-id"]) == 32
