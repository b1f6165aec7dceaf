"""Centrings through every client, over both wires: tried, put in use, taken back, and refused in the same words."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from clients import http_client, http_documents
from clients.replies import ItemRef, Job
from index import centring
from index.gallery import Gallery
from index.rows import Enrolment
from server import recentring
from tests.clients.conftest import KINDS, Live
from vireid.errors import (
    DataLoss,
    FailedPrecondition,
    GalleryNotFound,
    InvalidRequest,
    StorageError,
    VireidError,
)
from vireid.types import ItemMeta, Modality

PEOPLE, WAIT_S = 40, 20.0


def enrolled(live: Live, name: str, kinds: tuple[Modality, ...] = tuple(Modality)) -> Gallery:
    """Forty people, each at one of ten places of the space, whose modalities lean apart."""
    gallery = live.service.gallery(name)
    dim = live.engine.dim
    random = np.random.default_rng(7)
    rows, people = [], random.standard_normal((PEOPLE, dim))
    for person in range(PEOPLE):
        for kind in kinds:
            row = people[person] + random.standard_normal(dim) + 6 * np.eye(dim)[int(kind)]
            rows.append((person, kind, (row / np.linalg.norm(row)).astype(np.float32)))
    gallery.enroll(
        [
            Enrolment(f"{kind.word}-{person}", kind, ItemMeta(person=f"p{person}"), f"{at:064x}", row)
            for at, (person, kind, row) in enumerate(rows)
        ]
    )
    return gallery


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for the next look at a job."""
    monkeypatch.setattr(http_client, "POLL_S", 0.02)


@pytest.fixture
def yard(client: Any, live: Live) -> Iterator[Gallery]:
    client("create_gallery", "yard")
    yield enrolled(live, "yard")
    client("delete_gallery", "yard")


def test_it_is_put_in_use_and_taken_back_step_by_step(client: Any, yard: Gallery) -> None:
    plain = client("search", "yard", ItemRef("visible-5"), top_k=80)
    first = client("centre", "yard")
    assert first == client("get_gallery", "yard").centring == yard.info().centring
    assert (first.strength, first.visible, first.infrared) == (1.0, PEOPLE, PEOPLE)
    centred = client("search", "yard", ItemRef("visible-5"), top_k=80)
    assert centred.centring == first.version
    second = client("centre", "yard", strength=0.25)
    assert (second.strength, second.version) == (0.25, first.version + 1)
    back = client("uncentre", "yard")
    assert back == first
    again = client("search", "yard", ItemRef("visible-5"), top_k=80)
    assert (again.hits, again.centring) == (centred.hits, first.version)
    assert client("uncentre", "yard") is None
    assert client("get_gallery", "yard").centring is None
    assert client("search", "yard", ItemRef("visible-5"), top_k=80).hits == plain.hits


def test_a_trial_tells_what_the_command_line_measures_and_changes_nothing(client: Any, yard: Gallery) -> None:
    before = client("get_gallery", "yard")
    found = client("try_centring", "yard", strength=0.8)
    assert client("get_gallery", "yard") == before
    assert found.before is None
    assert (found.after.strength, found.after.visible, found.after.version) == (0.8, PEOPLE, 0)
    assert found.after.since is None

    means = centring.learn(yard.records)
    new = means.centres(0.8)
    nobody = np.empty((0, before.dim), np.float32)
    of = centring.sample(yard.records, nobody, np.empty(0, np.int64), [])
    measured = {one.asks: one for one in centring.crossings(of, means, None, new)}
    assert {one.asks for one in found.across} == set(measured) == set(Modality)
    for one in found.across:
        there = measured[one.asks]
        assert one.queries == there.after.n_valid == PEOPLE
        assert one.mean_ap == (there.before.mean_ap, there.after.mean_ap)
        assert one.rank1 == (there.before.rank(1), there.after.rank(1))
        assert one.mean_ap[1] > one.mean_ap[0]  # what leans apart is brought together
    gap = centring.gap(of, new)
    assert (found.gap[1].within_visible, found.gap[1].within_infrared) == gap.within
    assert (found.gap[1].across, found.gap[1].mixed, found.gap[1].chance) == (
        gap.across,
        gap.mixed,
        gap.chance,
    )
    assert found.gap[0].mixed < found.gap[1].mixed

    client("centre", "yard")
    assert client("try_centring", "yard", strength=0.8).before == yard.info().centring


def test_every_client_is_told_the_same(live: Live, yard: Gallery) -> None:
    callers = [live.connect(kind) for kind in KINDS]
    first, *others = [caller("try_centring", "yard") for caller in callers]
    assert all(other == first for other in others)
    yard.centre(centring.learn(yard.records).centres())
    first, *others = [caller("try_centring", "yard", strength=0.5, half=True) for caller in callers]
    assert all(other == first for other in others)
    assert first.before is not None
    for caller in callers:
        caller.close()


def test_half_of_a_gallery(client: Any, live: Live) -> None:
    client("create_gallery", "day")
    gallery = enrolled(live, "day", (Modality.VISIBLE,))
    for method in ("centre", "try_centring"):
        with pytest.raises(FailedPrecondition, match="40 visible and 0 infrared vectors") as caught:
            client(method, "day")
        assert caught.value.stable_reason == "TOO_FEW_TO_CENTRE"
    assert gallery.info().centring is None
    tried = client("try_centring", "day", half=True)
    assert tried.across == ()  # nobody to find
    assert (tried.gap[0].within_infrared, tried.gap[0].across, tried.gap[0].mixed) == (None, None, None)
    assert -1 <= tried.gap[0].within_visible <= 1
    told = client("centre", "day", half=True)
    assert (told.visible, told.infrared) == (PEOPLE, 0)
    client("delete_gallery", "day")


FAILURES: dict[str, tuple[str, dict[str, Any], type[VireidError], str]] = {
    "nothing": ("centre", {"strength": 0.0}, InvalidRequest, "INVALID_REQUEST"),
    "too much": ("centre", {"strength": 1.5}, InvalidRequest, "INVALID_REQUEST"),
    "too much, tried": ("try_centring", {"strength": 1.5}, InvalidRequest, "INVALID_REQUEST"),
    "nothing to go back from": ("uncentre", {}, FailedPrecondition, "NOT_CENTRED"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failure(case: str, client: Any, yard: Gallery) -> None:
    method, options, kind, reason = FAILURES[case]
    with pytest.raises(VireidError) as caught:
        client(method, "yard", **options)
    assert (type(caught.value), caught.value.stable_reason) == (kind, reason)
    assert getattr(caught.value, "field", "strength") == "strength"
    assert yard.info().centring is None


@pytest.mark.parametrize("method", ["centre", "uncentre", "try_centring"])
def test_no_such_gallery(client: Any, method: str) -> None:
    with pytest.raises(GalleryNotFound):
        client(method, "nowhere")


@pytest.mark.parametrize("method", ["centre", "uncentre", "try_centring"])
def test_a_gallery_that_is_deleted_meanwhile_is_not_found(
    client: Any, live: Live, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client("create_gallery", "gone")
    gallery = enrolled(live, "gone")
    gallery.centre(centring.learn(gallery.records).centres())
    check, other = recentring._check, live.connect("http")

    def deleted(left: threading.Event) -> None:
        other("delete_gallery", "gone")
        check(left)

    monkeypatch.setattr(recentring, "_check", deleted)
    with pytest.raises(GalleryNotFound, match="'gone' was closed or deleted"):
        client(method, "gone")
    other.close()


def test_a_disk_that_refuses_is_told(client: Any, yard: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Gallery, "centre", full)
    with pytest.raises(StorageError, match="full"):
        client("centre", "yard")
    assert client("get_gallery", "yard").centring is None


def test_what_went_wrong_inside_is_logged_and_not_told(
    client: Any, yard: Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def damaged(*_: Any) -> None:
        raise DataLoss("/srv/secret/gallery.sqlite: item 'a' does not match its checksum")

    monkeypatch.setattr(Gallery, "centre", damaged)
    with pytest.raises(DataLoss) as caught:
        client("centre", "yard")
    assert "secret" not in caught.value.message
    assert "log tells more" in caught.value.message
    assert "/srv/secret/gallery.sqlite" in caplog.text


# ---- leaving -------------------------------------------------------------------------
class Held:
    """A step of the server's work, which waits until it is let go."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.began, self.go, self.over = threading.Event(), threading.Event(), threading.Event()
        self._work = work

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.began.set()
        assert self.go.wait(WAIT_S)
        try:
            return self._work(*arguments, **options)
        finally:
            self.over.set()


@pytest.fixture
def unwatched(live: Live) -> Iterator[Gallery]:
    """The same gallery, made and removed by nobody who is watched."""
    caller = live.connect("http")
    caller("create_gallery", "yard")
    yield enrolled(live, "yard")
    caller("delete_gallery", "yard")
    caller.close()


def leave(caller: Any, held: Held, method: str) -> None:
    """Stop waiting while the server is at that step, and the client knows of the job."""
    known = asyncio.Event()
    if caller.kind == "grpc-async":
        known.set()  # the call itself is what is left
    else:
        look = caller.client.job

        def watched(job_id: str) -> Any:
            known.set()
            return look(job_id)

        caller.client.job = watched

    async def left() -> None:
        asking = asyncio.ensure_future(getattr(caller.client, method)("yard"))
        async with asyncio.timeout(WAIT_S):
            await known.wait()
        assert await asyncio.to_thread(held.began.wait, WAIT_S)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    caller.runner.run(left())


@pytest.mark.parametrize("kind", ["grpc-async", "http-async"])
@pytest.mark.parametrize("method", ["centre", "try_centring"])
def test_who_leaves_while_vectors_are_read_changes_nothing(
    live: Live, unwatched: Gallery, kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = live.connect(kind)
    held = Held(centring.learn)
    monkeypatch.setattr(recentring.centring, "learn", held)
    check = recentring._check

    def late(left: threading.Event) -> None:
        assert left.wait(WAIT_S)  # a call that is left is heard of by and by
        check(left)

    monkeypatch.setattr(recentring, "_check", late)
    leave(caller, held, method)
    job = _running(live)
    held.go.set()
    assert _ended(live, job).state == "cancelled"
    assert held.over.is_set()
    assert unwatched.info().centring is None
    caller.close()


@pytest.mark.parametrize("kind", ["grpc-async", "http-async"])
def test_a_change_that_has_begun_is_carried_through_and_says_so(
    live: Live, unwatched: Gallery, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = live.connect(kind)
    held = Held(unwatched.centre)
    monkeypatch.setattr(Gallery, "centre", lambda _, centres: held(centres))
    leave(caller, held, "centre")
    # others are answered meanwhile, by the vectors as they came
    assert caller("search", "yard", ItemRef("visible-1")).centring == 0
    job = _running(live)
    held.go.set()
    done = _ended(live, job)
    assert done.state == "succeeded"
    assert http_documents.centred_of(done.result) == caller("get_gallery", "yard").centring
    assert unwatched.info().centring is not None
    caller.close()


def _running(live: Live) -> str:
    """The one centring that is at work."""
    jobs = httpx.get(f"{live.http}/v1/jobs", trust_env=False).json()["jobs"]
    (found,) = (job["job_id"] for job in jobs if not job["finished"])
    return str(found)


def _ended(live: Live, job_id: str) -> Job:
    caller = live.connect("http")
    job: Job = caller("wait", job_id)
    caller.close()
    return job
