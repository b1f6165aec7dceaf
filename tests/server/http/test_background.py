"""Uploads, evaluations and jobs as a caller over HTTP meets them."""

import asyncio
import base64
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from server.http import schemas

Draw = Callable[..., bytes]
UPLOAD = "/v1/galleries/g/items:upload"
ZIP, TAR, NDJSON = "application/zip", "application/x-tar", "application/x-ndjson"


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def send(api: Any, content: bytes, kind: str, **headers: str) -> Any:
    answer = await api.client.post(UPLOAD, content=content, headers={"content-type": kind, **headers})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    schemas.Job.model_validate(job)
    assert answer.headers["location"] == f"/v1/jobs/{job['job_id']}"
    return job


async def upload(api: Any, content: bytes, kind: str) -> Any:
    return await api.ended(await send(api, content, kind))


@pytest.mark.parametrize(
    ("kind", "pack"),
    [(ZIP, zipped), (TAR, tarred), ("application/gzip", lambda files: tarred(files, "w:gz"))],
    ids=["zip", "tar", "tar.gz"],
)
async def test_an_archive_twice(api: Any, draw: Draw, kind: str, pack: Callable[[Any], bytes]) -> None:
    files = {f"visible/p{n % 2}/c{n % 3}_{n}.jpg": draw(n) for n in range(6)}
    first = await upload(api, pack(files), kind)
    assert (first["state"], first["done"], first["total"]) == ("succeeded", 6, 6)
    assert first["counts"] == {"created": 6}
    embedded = sum(api.made.engine.batches)
    again = await upload(api, pack(files), kind)
    assert (again["state"], again["counts"]) == ("succeeded", {"unchanged": 6})
    assert sum(api.made.engine.batches) == embedded == 6
    for name, data in files.items():
        item = await api.ok("GET", f"/v1/galleries/g/items/{name}")
        assert (item["person"], item["camera"]) == (name.split("/")[1], name.split("/")[2][:2])
        assert (item["modality"], item["sha256"] != "") == ("visible", True)
        assert (await api.client.get(item["image"])).content == data


UNSAFE: dict[str, tuple[dict[str, bytes], str]] = {
    "a way out": ({"../a.jpg": b""}, "ARCHIVE_PATH_ESCAPES"),
    "from the root": ({"/etc/a.jpg": b""}, "ARCHIVE_PATH_ESCAPES"),
    "two names, one file": ({"a.jpg": b"", "A.JPG": b""}, "ARCHIVE_NAME_TWICE"),
    "an archive inside": ({"more.zip": b""}, "ARCHIVE_NESTED"),
    "a manifest of what is not there": ({"manifest.csv": b"path\nb.jpg\n"}, "MANIFEST_INVALID"),
    "a manifest without paths": ({"manifest.csv": b"file,person\na.jpg,1\n"}, "MANIFEST_INVALID"),
    "a manifest with a bad time": ({"manifest.csv": b"path,captured_at\nz.jpg,noon\n"}, "MANIFEST_INVALID"),
    "a bomb": ({"a.jpg": bytes(2**22)}, "ARCHIVE_BOMB"),
}


@pytest.mark.parametrize("case", UNSAFE)
async def test_nothing_of_an_unsafe_archive_is_stored(api: Any, draw: Draw, case: str) -> None:
    bad, reason = UNSAFE[case]
    good = {f"z{n}.jpg" if n else "z.jpg": draw(n) for n in range(3)}
    if case == "a bomb":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**good, **bad}.items():
                archive.writestr(name, data)
        content = out.getvalue()
    else:
        content = zipped({**good, **bad})
    job = await upload(api, content, ZIP)
    assert (job["state"], job["error"]["reason"], job["finished"]) == ("failed", reason, True)
    assert "nothing" in job["error"]["message"]
    assert (await api.items(), api.made.engine.batches) == (0, [])


@pytest.mark.parametrize("content", [b"PK\x03\x04 and no more", b"hello", bytes(600), b"\x1f\x8b\x08"])
async def test_what_is_no_archive(api: Any, content: bytes) -> None:
    job = await upload(api, content, ZIP)
    assert job["state"] == "failed"
    assert job["error"]["reason"] in {"ARCHIVE_UNREADABLE", "ARCHIVE_EMPTY"}


async def test_bad_images_are_listed_and_spoil_no_other(api: Any, draw: Draw) -> None:
    files = {"a.jpg": draw(1), "b.jpg": b"no image", "c.jpg": draw(2)[:-300], "d.png": draw(3, "PNG")}
    job = await upload(api, zipped(files), ZIP)
    assert (job["state"], job["failed"], job["counts"]) == ("partial", 2, {"created": 2})
    assert {(one["item"], one["reason"]) for one in job["errors"]} == {
        ("b.jpg", "NOT_AN_IMAGE"),
        ("c.jpg", "IMAGE_TRUNCATED"),
    }
    assert await api.items() == 2


async def test_a_manifest_says_what_each_is(api: Any, draw: Draw) -> None:
    manifest = (
        "path,item_id,person,camera,modality,captured_at,coat\r\n"
        'x/1.jpg,"desk:1",Ann,3,infrared,2026-03-01T23:30:00+01:00,red\r\n'
        "x/2.jpg,,Bob,,,,\r\n"
    ).encode("utf-8-sig")
    job = await upload(api, zipped({"manifest.csv": manifest, "x/1.jpg": draw(1), "x/2.jpg": draw(2)}), ZIP)
    assert job["counts"] == {"created": 2}
    first = await api.ok("GET", "/v1/galleries/g/items/desk:1")
    assert (first["person"], first["camera"], first["modality"]) == ("Ann", "3", "infrared")
    assert first["captured_at"] == "2026-03-01T22:30:00+00:00"
    assert first["attributes"] == {"coat": "red"}
    second = await api.ok("GET", "/v1/galleries/g/items/x/2.jpg")
    assert (second["person"], second["attributes"]) == ("Bob", {})


async def test_lines_of_json(api: Any, draw: Draw) -> None:
    def line(item_id: str, **more: Any) -> bytes:
        image = base64.b64encode(draw(len(item_id))).decode()
        return json.dumps({"item_id": item_id, "image": image, **more}).encode()

    lines = [
        line("a", person="1", attributes={"hat": "yes"}),
        b"",
        b"{",
        b"[]",
        line("bb", modality="thermal"),
        b'{"item_id": "c", "image": "%%%"}',
        b'{"item_id": "d", "image": "aGVsbG8="}',
        line("e f"),
        line("ggg", captured_at="2026-03-01T10:00:00Z"),
    ]
    job = await upload(api, b"\n".join(lines), NDJSON)
    assert (job["state"], job["counts"], job["failed"]) == ("partial", {"created": 2}, 6)
    reasons = {one["item"]: one["reason"] for one in job["errors"]}
    assert sorted(reasons.values()) == sorted(
        [
            "MALFORMED_JSON",
            "INVALID_REQUEST",
            "INVALID_REQUEST",
            "MALFORMED_BASE64",
            "NOT_AN_IMAGE",
            "ITEM_ID_INVALID",
        ]
    )
    assert (await api.ok("GET", "/v1/galleries/g/items/a"))["attributes"] == {"hat": "yes"}
    assert await api.items() == 2


async def test_a_form_of_files(api: Any, draw: Draw) -> None:
    files = [("files", (f"infrared/p/c1_{n}.jpg", draw(n), "image/jpeg")) for n in range(3)]
    answer = await api.client.post(UPLOAD, files=files)
    assert answer.status_code == 202, answer.text
    job = await api.ended(answer.json())
    assert job["counts"] == {"created": 3}
    listed = (await api.ok("GET", "/v1/galleries/g/items"))["items"]
    assert {(one["modality"], one["person"], one["camera"]) for one in listed} == {("infrared", "p", "c1")}


async def test_the_same_key_gives_the_same_job(api: Any, draw: Draw) -> None:
    content = zipped({"a.jpg": draw(1)})
    first = await send(api, content, ZIP, **{"idempotency-key": "k"})
    again = await send(api, content, ZIP, **{"idempotency-key": "k"})
    assert first["job_id"] == again["job_id"]
    await api.ended(first)
    other = zipped({"a.jpg": draw(2)})
    found = await api.refused(
        "POST", UPLOAD, content=other, headers={"content-type": ZIP, "idempotency-key": "k"}
    )
    assert found[:2] == (422, "IDEMPOTENCY_CONFLICT")
    assert (await send(api, other, ZIP, **{"idempotency-key": "l"}))["job_id"] != first["job_id"]


async def test_a_job_is_seen_stopped_and_listed(api: Any, draw: Draw) -> None:
    api.made.engine.hold()
    begun = await send(api, zipped({f"{n}.jpg": draw(n) for n in range(9)}), ZIP)
    await asyncio.to_thread(api.made.engine.wait_begun)
    place = f"/v1/jobs/{begun['job_id']}"
    seen = await api.ok("GET", place)
    assert (seen["state"], seen["total"], seen["finished"], seen["kind"]) == ("running", 9, False, "upload")
    await api.ok("POST", f"{place}:cancel")
    ended = await api.ended(await api.ok("GET", place))
    assert (ended["state"], ended["error"]["reason"]) == ("cancelled", "CANCELLED")
    assert [one["job_id"] for one in (await api.ok("GET", "/v1/jobs"))["jobs"]] == [begun["job_id"]]
    api.made.engine.let_go()
    assert (await api.ok("POST", f"{place}:cancel"))["state"] == "cancelled"
    assert await api.items() == 0


async def test_more_jobs_than_may_be(begin: Any, draw: Draw) -> None:
    api = await begin(jobs=1)
    await api.gallery()
    api.made.engine.hold()
    begun = await send(api, zipped({"a.jpg": draw(1)}), ZIP)
    answer = await api.client.post(UPLOAD, content=b"x", headers={"content-type": ZIP})
    assert (answer.status_code, answer.json()["reason"]) == (429, "JOBS_FULL")
    assert int(answer.headers["retry-after"]) >= 1
    api.made.engine.let_go()
    assert (await api.ended(begun))["state"] == "succeeded"
    assert (await upload(api, zipped({"b.jpg": draw(2)}), ZIP))["state"] == "succeeded"


async def test_searches_go_on_during_an_upload(api: Any, draw: Draw) -> None:
    await api.put("first", draw(99))
    begun = await send(api, zipped({f"{n}.jpg": draw(n) for n in range(120)}), ZIP)
    asked = 0
    while not (await api.ok("GET", f"/v1/jobs/{begun['job_id']}"))["finished"]:
        hits = (await api.ok("POST", "/v1/galleries/g/search?top_k=1", content=draw(99)))["hits"]
        assert hits[0]["item_id"] == "first"
        asked += 1
    assert asked > 1
    assert await api.items() == 121


# ---- evaluations -------------------------------------------------------------
def by_hand(vectors: Any, persons: list[str], ask: list[int], found: list[int]) -> tuple[float, float]:
    """Rank by rank: Rank-1 and mAP of queries against a gallery."""
    first, precision = [], []
    for one in ask:
        order = sorted(found, key=lambda other: -float(np.dot(vectors[one], vectors[other])))
        right = [persons[other] == persons[one] for other in order]
        if not any(right):
            continue
        first.append(right[0])
        hits = [rank for rank, good in enumerate(right, start=1) if good]
        precision.append(float(np.mean([n / rank for n, rank in enumerate(hits, start=1)])))
    return float(np.mean(first)), float(np.mean(precision))


async def test_an_evaluation_agrees_with_counting_by_hand(api: Any, draw: Draw) -> None:
    vectors, persons = [], []
    for n in range(20):
        modality = "infrared" if n % 2 else "visible"
        await api.put(f"i/{n}", draw(n), modality=modality, person=f"p{n // 2 % 5}", camera=f"{n % 3}")
        vectors.append((await api.ok("POST", f"/v1/embed?modality={modality}", content=draw(n)))["embedding"])
        persons.append(f"p{n // 2 % 5}")
    await api.put("nobody", draw(50), modality="infrared")  # without a person: not counted
    answer = await api.client.post("/v1/evaluations", json={"gallery": "g"})
    assert answer.status_code == 202
    job = await api.ended(answer.json())
    assert job["state"] == "succeeded", job
    report = (await api.ok("GET", f"/v1/evaluations/{job['job_id']}"))["result"]
    rank_1, mean = by_hand(np.array(vectors), persons, list(range(1, 20, 2)), list(range(0, 20, 2)))
    assert report["rank"]["1"] == pytest.approx(rank_1)
    assert report["mAP"] == pytest.approx(mean, abs=1e-6)
    assert (report["queries"], report["gallery_items"], report["persons"]) == (10, 10, 5)
    assert report["space_id"] == api.made.service.space_id
    assert report["rank"]["1"] <= report["rank"]["5"] <= report["rank"]["10"] == report["rank"]["20"] == 1.0


async def test_an_evaluation_without_labels_says_what_is_missing(api: Any, draw: Draw) -> None:
    await api.put("a", draw(1))
    answer = await api.client.post("/v1/evaluations", json={"gallery": "g"})
    job = await api.ended(answer.json())
    assert (job["state"], job["error"]["reason"]) == ("failed", "EVALUATION_IMPOSSIBLE")
    assert "person" in job["error"]["message"]


async def test_an_upload_is_no_evaluation(api: Any, draw: Draw) -> None:
    job = await upload(api, zipped({"a.jpg": draw(1)}), ZIP)
    assert (await api.refused("GET", f"/v1/evaluations/{job['job_id']}"))[:2] == (404, "JOB_NOT_FOUND")
