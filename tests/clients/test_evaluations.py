"""Evaluations through every client, over both wires: the same report, the same errors, and an end where one is asked for."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from clients import http_client
from clients.call import Choices
from server import evaluations
from server.rpc import evaluations as rpc_evaluations
from vireid import errors
from vireid.errors import VireidError
from vireid.evaluation import evaluate
from vireid.types import ItemMeta, Modality

KINDS = ("grpc", "grpc-async", "http", "http-async")
PEOPLE, WAIT_S = 6, 20.0


@pytest.fixture(scope="module")
def yard(live: Any, draw: Callable[..., bytes]) -> str:
    """Six people by day and by night, alike enough to be found and mistaken; and galleries that cannot be measured."""
    caller = live.connect("http")
    for name in ("yard", "night", "bare", "strangers"):
        caller("create_gallery", name)
    for person in range(PEOPLE):
        for gallery, modality, camera, seed in (
            ("yard", Modality.VISIBLE, "1", person),
            ("yard", Modality.VISIBLE, "2", person + 100),
            ("yard", Modality.INFRARED, "3", person + 200),
            ("night", Modality.INFRARED, "6", person),
        ):
            meta = ItemMeta(person=f"p{person}", camera=camera)
            caller("put_item", gallery, f"{camera}/{person}", draw(seed), modality=modality, meta=meta)
    caller("put_item", "bare", "a", draw(1), modality=Modality.VISIBLE)
    for item, modality in (("a", Modality.VISIBLE), ("b", Modality.INFRARED)):
        caller("put_item", "strangers", item, draw(1), modality=modality, meta=ItemMeta(person=item))
    caller.close()
    return "yard"


@pytest.fixture
def everyone(live: Any) -> Iterator[list[Any]]:
    callers = [live.connect(kind) for kind in KINDS]
    yield callers
    for caller in callers:
        caller.close()


CHOICES = {
    "usual": Choices(),
    "market by image": Choices(rule="market", cmc="image"),
    "sysu": Choices(rule="sysu"),
    "turned": Choices(Modality.VISIBLE, Modality.INFRARED),
    "across cameras": Choices(Modality.VISIBLE, Modality.VISIBLE, rule="market"),
    "another gallery asks": Choices(query_gallery="night"),
    "re-ranked": Choices(rerank=5),
    "drawn": Choices(html=True),
    "re-ranked in every way": Choices(rerank=8, k1=5, k2=2, weight=0.35),
}


@pytest.mark.parametrize("case", CHOICES)
def test_every_client_gets_the_same_bytes(case: str, everyone: list[Any], yard: str) -> None:
    first, *others = [caller("evaluate", yard, CHOICES[case]) for caller in everyone]
    assert all(other == first for other in others)
    assert 0 < first.report["mean"]["mAP"] <= 1
    assert first.report["galleries"]["gallery"]["name"] == yard
    assert first.csv.count("\n") == 2
    assert first.html.startswith("<!doctype html>" if CHOICES[case].html else "")
    assert bool(first.html) == CHOICES[case].html


def test_the_choices_arrive(client: Any, yard: str) -> None:
    report = client("evaluate", yard, CHOICES["re-ranked in every way"]).report
    assert report["protocol"]["rerank"] == {
        "method": "k-reciprocal", "candidates": 8, "k1": 5, "k2": 2, "weight": 0.35,
    }  # fmt: skip
    report = client("evaluate", yard, CHOICES["market by image"]).report
    assert (report["protocol"]["rule"], report["protocol"]["cmc"]) == ("market", "image")
    report = client("evaluate", yard, CHOICES["another gallery asks"]).report
    assert report["galleries"]["query"]["name"] == "night"
    assert report["mean"]["rank1"] == pytest.approx(1.0)  # the same pictures
    turned = client("evaluate", yard, CHOICES["turned"]).report
    assert turned["trials"][0]["n_query"] == 2 * PEOPLE


FAILURES: dict[str, tuple[str, Choices, type[VireidError], str]] = {
    "no such gallery": ("nobody", Choices(), errors.GalleryNotFound, "GALLERY_NOT_FOUND"),
    "no such asking gallery": (
        "yard", Choices(query_gallery="nobody"), errors.GalleryNotFound, "GALLERY_NOT_FOUND",
    ),
    "an unknown rule": ("yard", Choices(rule="whim"), errors.InvalidRequest, "INVALID_REQUEST"),
    "an unknown level": ("yard", Choices(cmc="whim"), errors.InvalidRequest, "INVALID_REQUEST"),
    "too many candidates": ("yard", Choices(rerank=5000), errors.InvalidRequest, "INVALID_REQUEST"),
    "impossible neighbours": ("yard", Choices(rerank=5, k1=1, k2=3), errors.InvalidRequest, "INVALID_REQUEST"),
    "nobody is labelled": ("bare", Choices(), errors.EvaluationError, "EVALUATION_IMPOSSIBLE"),
    "nobody is on both sides": ("strangers", Choices(), errors.EvaluationError, "EVALUATION_IMPOSSIBLE"),
    "items that find themselves": (
        "yard", Choices(Modality.VISIBLE, Modality.VISIBLE), errors.EvaluationError, "EVALUATION_IMPOSSIBLE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_failure(case: str, client: Any, yard: str) -> None:
    gallery, choices, kind, reason = FAILURES[case]
    with pytest.raises(VireidError) as caught:
        client("evaluate", gallery, choices)
    assert (type(caught.value), caught.value.stable_reason) == (kind, reason)
    assert len(caught.value.message) > 15


# ---- progress and leaving ------------------------------------------------------
@dataclass
class Held:
    """The server's real work, one query at a time, which waits after each until it is let go."""

    began: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    blocks: int = 0

    def measure(self, protocol: Any, make: Any, advance: Callable[[int], None]) -> Any:
        def slowly(queries: int) -> None:
            self.blocks += 1
            advance(queries)
            self.began.set()
            assert self.go.wait(WAIT_S)
            time.sleep(0.1)  # longer than a progress message is away

        try:
            return MEASURE(protocol, make, advance=slowly)
        finally:
            self.over.set()


MEASURE = evaluations.measure


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr(evaluations, "measure", held.measure)
    monkeypatch.setattr(evaluate, "_BLOCK", 1)
    monkeypatch.setattr(http_client, "POLL_S", 0.03)
    monkeypatch.setattr(rpc_evaluations, "EVERY_S", 0.03)
    yield held
    held.go.set()


def test_progress_is_true(client: Any, yard: str, held: Held) -> None:
    held.go.set()
    told: list[tuple[int, int]] = []
    client("evaluate", yard, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (PEOPLE, PEOPLE)
    assert told == sorted(told)
    assert len(set(told)) >= PEOPLE - 1  # it was told as it went on
    assert {total for done, total in told if done} == {PEOPLE}


def test_what_the_progress_raises_ends_the_work(client: Any, yard: str, held: Held) -> None:
    class Enough(Exception):
        pass

    def until_the_first(done: int, total: int) -> None:
        if done:
            held.go.set()
            raise Enough

    with pytest.raises(Enough):
        client("evaluate", yard, progress=until_the_first)
    assert held.over.wait(WAIT_S)
    assert held.blocks < PEOPLE


@pytest.mark.parametrize("kind", ["grpc-async", "http-async"])
def test_a_caller_who_leaves_ends_the_work(kind: str, live: Any, yard: str, held: Held) -> None:
    caller = live.connect(kind)

    async def leave() -> None:
        known = asyncio.Event()
        asking = asyncio.ensure_future(caller.client.evaluate(yard, progress=lambda *_: known.set()))
        async with asyncio.timeout(WAIT_S):
            await known.wait()
        assert await asyncio.to_thread(held.began.wait, WAIT_S)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        held.go.set()
        assert await asyncio.to_thread(held.over.wait, WAIT_S)

    caller.runner.run(leave())
    caller.close()
    assert held.blocks < PEOPLE


def test_somebody_else_cancels_the_job(client: Any, live: Any, yard: str, held: Held) -> None:
    def cancel() -> None:
        assert held.began.wait(WAIT_S)
        other = live.connect("http")
        (job_id,) = (
            job["job_id"] for job in json.loads(_get(live, "/v1/jobs"))["jobs"] if job["state"] == "running"
        )
        other("cancel", job_id)
        other.close()
        held.go.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(errors.Cancelled) as caught:
        client("evaluate", yard)
    thread.join(WAIT_S)
    assert caught.value.stable_reason == "CANCELLED"
    assert "of 6" in caught.value.message


def _get(live: Any, path: str) -> bytes:
    return httpx.get(live.http + path, trust_env=False).content


def test_a_report_before_the_end(live: Any, yard: str, held: Held) -> None:
    caller = live.connect("http")
    started = caller("start_evaluation", yard)
    assert held.began.wait(WAIT_S)
    with pytest.raises(errors.FailedPrecondition) as caught:
        caller("report", started.job_id)
    assert caught.value.stable_reason == "EVALUATION_NOT_DONE"
    held.go.set()
    assert caller("wait", started.job_id).state == "succeeded"
    assert json.loads(caller("report", started.job_id))["format"] == 1
    caller.close()


def test_the_server_leaves(start: Callable[..., Any], draw: Callable[..., bytes]) -> None:
    with start() as gone:
        callers = [gone.connect(kind) for kind in KINDS]
    for caller in callers:
        with pytest.raises(errors.ServerUnreachable):
            caller("evaluate", "yard")
        caller.close()
