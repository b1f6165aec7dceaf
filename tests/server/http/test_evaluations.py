"""Evaluations as a caller over HTTP meets them: the job, its reports, what is refused."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server import evaluations, illustrated

Draw = Callable[..., bytes]
PLACE = "/v1/evaluations"


@pytest.fixture
async def yard(api: Any, draw: Draw) -> str:
    for person in range(5):
        for modality, camera, seed in (
            ("visible", "1", person),
            ("visible", "2", person + 50),
            ("infrared", "3", person + 90),
        ):
            name = f"{modality}-{camera}-{person}"
            await api.put(name, draw(seed), modality=modality, person=f"p{person}", camera=camera)
    return "g"


@pytest.fixture
async def held(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[threading.Event]:
    """The real work, which begins once it is let go."""
    go, real = threading.Event(), evaluations.measure

    def slowly(protocol: Any, make: Any, advance: Callable[[int], None]) -> Any:
        def told(queries: int) -> None:
            assert go.wait(20)
            advance(queries)

        return real(protocol, make, advance=told)

    monkeypatch.setattr(evaluations, "measure", slowly)
    yield go
    go.set()


async def evaluated(api: Any, **body: Any) -> tuple[dict[str, Any], str]:
    answer = await api("POST", PLACE, json={"gallery": "g", **body})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['job_id']}"
    return await api.ended(job), f"{PLACE}/{job['job_id']}"


async def test_the_report_in_each_form(api: Any, yard: str) -> None:
    job, place = await evaluated(api, rule="market", cmc="image")
    assert (job["state"], job["done"], job["total"]) == ("succeeded", 5, 5)
    found = await api("GET", f"{place}/report.json")
    assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
    report = found.json()
    for name in ("mAP", "mINP"):
        assert report["mean"][name] == job["result"][name]
    assert report["cmc"][0] == job["result"]["rank"]["1"]
    assert report["galleries"]["gallery"] == {"name": "g", "version": job["result"]["gallery_version"]}
    assert report["sources"][0]["space_id"] == api.made.service.space_id
    assert len(report["sources"][0]["gallery"]["sha256"]) == len(report["code"]["sources_sha256"]) == 64
    table = await api("GET", f"{place}/report.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert (row["protocol"], row["n_query"], row["n_gallery"]) == ("gallery/infrared-to-visible", "5", "10")
    assert float(row["mAP"]) == report["mean"]["mAP"]


async def test_a_second_run_gives_the_same_bytes(api: Any, yard: str) -> None:
    found = []
    for _ in range(2):
        _, place = await evaluated(api, rerank={"candidates": 6, "k1": 4, "k2": 2})
        found.append([(await api("GET", f"{place}/report.{kind}")).content for kind in ("json", "csv")])
    assert found[0] == found[1]
    assert json.loads(found[0][0])["protocol"]["rerank"]["candidates"] == 6


async def test_the_report_that_is_drawn(api: Any, yard: str) -> None:
    job, place = await evaluated(api, html=True)
    assert (job["state"], job["done"], job["total"]) == ("succeeded", 10, 10), job  # looked at twice
    found = await api("GET", f"{place}/report.html")
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    policy = found.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert "sandbox" in policy[0]
    text = found.text
    assert text.count("data:image/jpeg") > 10  # the gallery's own thumbnails
    assert "gallery g" in text
    assert api.made.service.space_id in text
    _, again = await evaluated(api, html=True)
    assert (await api("GET", f"{again}/report.html")).content == found.content
    _, plain = await evaluated(api)
    status, reason, told = await api.refused("GET", f"{plain}/report.html")
    assert (status, reason) == (409, "REPORT_NOT_ASKED_FOR")
    assert "html" in told["detail"]
    assert (await api("GET", f"{plain}/report.json")).content == (
        await api("GET", f"{again}/report.json")
    ).content


async def test_names_are_words_and_never_markup(api: Any, draw: Draw) -> None:
    bad = "<script>alert(1)</script>"
    for n, modality in enumerate(("visible", "infrared", "visible")):
        await api.put(
            f"x{n}", draw(n), modality=modality, person=bad if n < 2 else "other", camera=f"{bad}{n}"
        )
    job, place = await evaluated(api, html=True)
    assert job["state"] == "succeeded", job
    text = (await api("GET", f"{place}/report.html")).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


async def test_a_server_that_cannot_draw(api: Any, yard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(illustrated, "NEEDED", ("no_such_module", "numpy"))
    status, reason, told = await api.refused("POST", PLACE, json={"gallery": "g", "html": True})
    assert (status, reason) == (409, "MISSING_EXTRA")
    assert "vireid[evaluation]" in told["detail"]
    assert "no_such_module" in told["detail"]
    assert api.made.board.list() == []
    job, _ = await evaluated(api)
    assert job["state"] == "succeeded"


async def test_another_gallery_asks(api: Any, yard: str, draw: Draw) -> None:
    await api.gallery("night")
    for person in range(5):
        await api.put(f"n{person}", draw(person), "night", modality="visible", person=f"p{person}")
    job, place = await evaluated(api, query_gallery="night", query_modality="visible")
    assert job["result"]["rank"]["1"] == 1.0  # the same pictures
    report = (await api("GET", f"{place}/report.json")).json()
    assert report["galleries"]["query"] == {"name": "night", "version": 6 - 1}


async def test_a_report_that_is_not_there(api: Any, yard: str, held: threading.Event, draw: Draw) -> None:
    job = (await api("POST", PLACE, json={"gallery": "g"})).json()
    place = f"{PLACE}/{job['job_id']}"
    early = await api.refused("GET", f"{place}/report.json")
    assert early[:2] == (409, "EVALUATION_NOT_DONE")
    await api.ok("POST", f"/v1/jobs/{job['job_id']}:cancel")
    held.set()
    assert (await api.ended(job))["state"] == "cancelled"
    assert (await api.refused("GET", f"{place}/report.csv"))[:2] == (409, "EVALUATION_CANCELLED")
    await api.gallery("bare")
    failed, place = await evaluated(api, gallery="bare")
    assert (failed["state"], failed["error"]["reason"]) == ("failed", "EVALUATION_IMPOSSIBLE")
    status, reason, told = await api.refused("GET", f"{place}/report.json")
    assert (status, reason) == (409, "EVALUATION_FAILED")
    assert "enrol items with a person" in told["detail"]


async def test_a_report_of_what_is_no_evaluation(api: Any) -> None:
    for kind in ("json", "csv", "html"):
        assert (await api.refused("GET", f"{PLACE}/none/report.{kind}"))[:2] == (404, "JOB_NOT_FOUND")
    assert (await api.refused("GET", f"{PLACE}/none/report.exe"))[0] == 404


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"gallery": "nobody"}, 404, "GALLERY_NOT_FOUND", ""),
    ({"query_gallery": "nobody"}, 404, "GALLERY_NOT_FOUND", ""),
    ({"rule": "whim"}, 422, "INVALID_REQUEST", "rule"),
    ({"cmc": "whim"}, 422, "INVALID_REQUEST", "cmc"),
    ({"gallery_modality": "auto"}, 422, "INVALID_REQUEST", "gallery_modality"),
    ({"rerank": {"candidates": 0}}, 422, "INVALID_REQUEST", "rerank.candidates"),
    ({"rerank": {"candidates": 1001}}, 422, "INVALID_REQUEST", "rerank.candidates"),
    ({"rerank": {"candidates": 5, "k1": 2, "k2": 3}}, 422, "INVALID_REQUEST", "rerank"),
    ({"rerank": {"candidates": 5, "weight": 2.0}}, 422, "INVALID_REQUEST", "rerank"),
    ({"rerank": {"neighbours": 5}}, 422, "UNKNOWN_FIELD", ""),
    ({"shots": 10}, 422, "UNKNOWN_FIELD", ""),
]


@pytest.mark.parametrize(("body", "status", "reason", "field"), BAD, ids=[str(one[0]) for one in BAD])
async def test_refusals_start_no_job(
    api: Any, body: dict[str, Any], status: int, reason: str, field: str
) -> None:
    told = await api.refused("POST", PLACE, json={"gallery": "g", **body})
    assert told[:2] == (status, reason)
    if field:
        assert told[2]["errors"][0]["field"] == field
    assert api.made.board.list() == []


async def test_one_at_a_time(api: Any, yard: str, held: threading.Event) -> None:
    jobs = [(await api("POST", PLACE, json={"gallery": "g"})).json() for _ in range(3)]
    first, *others = [f"/v1/jobs/{job['job_id']}" for job in jobs]
    async with asyncio.timeout(20):
        while (await api.ok("GET", first))["total"] == 0:  # noqa: ASYNC110 - asks as a caller does
            await asyncio.sleep(0.005)
    assert [(await api.ok("GET", path))["state"] for path in (first, *others)] == [
        "running",
        "queued",
        "queued",
    ]
    held.set()
    assert {(await api.ended(job))["state"] for job in jobs} == {"succeeded"}
