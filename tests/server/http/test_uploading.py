"""Uploads, jobs and evaluations over HTTP."""

import asyncio
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from server.http import schemas

Draw = Callable[..., bytes]
UPLOAD = "/v1/galleries/g/items:upload"
ZIP = {"content-type": "application/zip"}


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


async def finished(api: Any, answer: Any) -> schemas.Job:
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job_id']}"
    return schemas.Job.model_validate(await api.ended(answer.json()))


async def test_an_archive_becomes_items(api: Any, draw: Draw) -> None:
    data = zipped({f"visible/p{n}/c1_0.jpg": draw(n) for n in range(5)} | {"bad.jpg": b"no image"})
    job = await finished(api, await api("POST", UPLOAD, content=data, headers=ZIP))
    assert (job.kind, job.state, job.counts, job.failed) == ("upload", "partial", {"created": 5}, 1)
    assert (job.errors[0].item, job.errors[0].reason) == ("bad.jpg", "NOT_AN_IMAGE")
    assert (job.done, job.total, job.error) == (6, 6, None)
    assert await api.items() == 5
    listed = schemas.Jobs.model_validate((await api("GET", "/v1/jobs")).json())
    assert [one.job_id for one in listed.jobs] == [job.job_id]


async def test_a_form_becomes_items(api: Any, draw: Draw) -> None:
    files = [("files", (f"p{n}.jpg", draw(n), "image/jpeg")) for n in range(4)]
    job = await finished(api, await api("POST", UPLOAD, files=files))
    assert (job.state, job.counts) == ("succeeded", {"created": 4})
    assert (await api("GET", "/v1/galleries/g/items/p3.jpg")).status_code == 200
    no_file = await api.refused("POST", UPLOAD, data={"files": "text"}, files={"x": ("a.jpg", draw(1))})
    assert no_file[:2] == (422, "INVALID_REQUEST")
    many = [("files", (f"{n}.jpg", b"x")) for n in range(1001)]
    assert (await api.refused("POST", UPLOAD, files=many))[0] == 400
    assert await api.items() == 4


async def test_lines_become_items(api: Any, draw: Draw) -> None:
    import base64

    line = json.dumps({"item_id": "a", "image": base64.b64encode(draw(1)).decode(), "camera": "c1"})
    for kind in ("application/x-ndjson", "application/jsonl; charset=utf-8"):
        job = await finished(
            api, await api("POST", UPLOAD, content=line.encode(), headers={"content-type": kind})
        )
        assert job.state == "succeeded"
    assert await api.items() == 1


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.jpg": b"1", "../b.jpg": b"2"}, "ARCHIVE_PATH_ESCAPES"),
        ({"a.jpg": b"1", "A.jpg": b"2"}, "ARCHIVE_NAME_TWICE"),
        ({"a.jpg": b"1", "b.zip": b"2"}, "ARCHIVE_NESTED"),
        ({}, "ARCHIVE_EMPTY"),
    ],
)
async def test_an_unsafe_archive_fails_whole(
    api: Any, draw: Draw, files: dict[str, bytes], reason: str
) -> None:
    data = zipped({f"{n}.jpg": draw(n) for n in range(3)} | files if files else {})
    job = await finished(api, await api("POST", UPLOAD, content=data, headers=ZIP))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.reason == reason
    assert await api.items() == 0


async def test_the_same_upload_with_the_same_key_is_one_job(api: Any, draw: Draw) -> None:
    data = zipped({"a.jpg": draw(1)})
    headers = {**ZIP, "idempotency-key": "k1"}
    first = await finished(api, await api("POST", UPLOAD, content=data, headers=headers))
    again = await finished(api, await api("POST", UPLOAD, content=data, headers=headers))
    assert again == first
    other = zipped({"b.jpg": draw(2)})
    told = await api.refused("POST", UPLOAD, content=other, headers=headers)
    assert told[:2] == (422, "IDEMPOTENCY_CONFLICT")
    files = [("files", ("c.jpg", draw(3)))]
    key = {"idempotency-key": "k2"}
    forms = [await finished(api, await api("POST", UPLOAD, files=files, headers=key)) for _ in range(2)]
    assert forms[0] == forms[1]
    without = await finished(api, await api("POST", UPLOAD, content=data, headers=ZIP))
    assert (without.job_id != first.job_id, without.counts) == (True, {"unchanged": 1})
    assert (await api.refused("POST", UPLOAD, content=data, headers={**ZIP, "idempotency-key": "k" * 201}))[
        0
    ] == 422


async def test_too_many_jobs_and_cancelling_them(begin: Callable[..., Any], draw: Draw) -> None:
    api = await begin(jobs=2)
    await api.gallery()
    api.made.engine.hold()
    data = zipped({"a.jpg": draw(1)})
    started = [(await api("POST", UPLOAD, content=data, headers=ZIP)).json() for _ in range(2)]
    answer = await api("POST", UPLOAD, content=data, headers=ZIP)
    assert (answer.status_code, answer.json()["reason"]) == (429, "JOBS_FULL")
    assert int(answer.headers["retry-after"]) >= 1
    for job in started:
        told = await api("POST", f"/v1/jobs/{job['job_id']}:cancel")
        assert told.status_code == 200
        ended = schemas.Job.model_validate(await api.ended(told.json()))
        assert (ended.state, ended.finished) == ("cancelled", True)
        assert ended.error is not None
        assert ended.error.reason == "CANCELLED"
    assert await api.items() == 0
    api.made.engine.let_go()
    assert (await finished(api, await api("POST", UPLOAD, content=data, headers=ZIP))).state == "succeeded"


async def test_an_upload_into_a_gallery_that_goes_away(api: Any, draw: Draw) -> None:
    api.made.engine.hold()
    answer = await api("POST", UPLOAD, content=zipped({"a.jpg": draw(1)}), headers=ZIP)
    await asyncio.to_thread(api.made.engine.wait_begun)
    await api.ok("DELETE", "/v1/galleries/g")
    api.made.engine.let_go()
    job = await finished(api, answer)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.reason == "GALLERY_NOT_FOUND"


async def test_an_evaluation(api: Any, draw: Draw) -> None:
    for person in range(5):
        for modality, camera in (("visible", "c1"), ("infrared", "c3")):
            await api.put(
                f"{modality}-{person}", draw(person), modality=modality, person=f"p{person}", camera=camera
            )
    answer = await api("POST", "/v1/evaluations", json={"gallery": "g"})
    job = await finished(api, answer)
    assert (job.kind, job.state) == ("evaluation", "succeeded")
    report = json.loads((await api("GET", f"/v1/evaluations/{job.job_id}")).content)["result"]
    assert (
        report["rank"]["1"] == report["mAP"] == pytest.approx(1.0)
    )  # the same pictures, by day and by night
    assert (report["n_valid"], report["persons"]) == (5, 5)
    upload = await finished(api, await api("POST", UPLOAD, content=zipped({"a.jpg": draw(1)}), headers=ZIP))
    told = await api.refused("GET", f"/v1/evaluations/{upload.job_id}")
    assert told[:2] == (404, "JOB_NOT_FOUND")


async def test_an_evaluation_of_nothing(api: Any) -> None:
    job = await finished(api, await api("POST", "/v1/evaluations", json={"gallery": "g"}))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.reason == "EVALUATION_IMPOSSIBLE"
