"""Background jobs: states, refusals, cancel, drain."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from server import jobs
from server.jobs import Job, JobBoard, Once
from vireid.errors import (
    ArchiveError,
    IdempotencyConflict,
    JobNotFound,
    NotAnImage,
    Overloaded,
    Unavailable,
)


class Held:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.began, self.go, self.released = asyncio.Event(), asyncio.Event(), 0

    async def __call__(self, job: Job) -> Mapping[str, Any]:
        self.began.set()
        await self.go.wait()
        return {"answer": 42}

    def release(self) -> None:
        self.released += 1


def nothing() -> None: ...


async def ended(board: JobBoard, job: Job) -> Job:
    async with asyncio.timeout(10):
        while job.state not in jobs.FINAL:  # noqa: ASYNC110 - the board tells nobody
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    return board.get(job.job_id)


async def run(board: JobBoard, work: Callable[[Job], Awaitable[Mapping[str, Any]]]) -> Job:
    return await ended(board, board.start("upload", work, nothing))


async def test_a_job_that_succeeds() -> None:
    board, held = JobBoard(4), Held()
    job = board.start("upload", held, held.release)
    assert job.state == "queued"
    await held.began.wait()
    assert board.get(job.job_id).state == "running"
    assert job.finished_at is None
    held.go.set()
    assert (await ended(board, job)).state == "succeeded"
    assert job.result == {"answer": 42}
    assert job.finished_at is not None
    assert held.released == 1


async def test_some_items_refused_is_partial() -> None:
    async def work(job: Job) -> Mapping[str, Any]:
        job.total = 3
        job.count("created")
        job.count("created")
        job.refuse("bad.jpg", NotAnImage("no image"))
        return {}

    job = await run(JobBoard(4), work)
    assert (job.state, job.done, job.failed, job.counts) == ("partial", 3, 1, {"created": 2})
    assert [(e.item, e.reason) for e in job.errors] == [("bad.jpg", "NOT_AN_IMAGE")]


async def test_errors_are_counted_beyond_those_that_are_kept() -> None:
    async def work(job: Job) -> Mapping[str, Any]:
        for number in range(1000):
            job.refuse(str(number), NotAnImage("no image"))
        return {}

    job = await run(JobBoard(4), work)
    assert (job.failed, len(job.errors)) == (1000, jobs.KEPT_ERRORS)


async def test_a_refused_job_says_why() -> None:
    async def work(_: Job) -> Mapping[str, Any]:
        raise ArchiveError("two names", reason="ARCHIVE_NAME_TWICE")

    job = await run(JobBoard(4), work)
    assert job.state == "failed"
    assert job.error is not None
    assert (job.error.reason, job.error.message) == ("ARCHIVE_NAME_TWICE", "two names")


async def test_a_fault_inside_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def work(_: Job) -> Mapping[str, Any]:
        raise RuntimeError("/secret/path")

    job = await run(JobBoard(4), work)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.reason == "INTERNAL"
    assert "secret" not in job.error.message
    assert "/secret/path" in caplog.text


async def test_cancel_while_running() -> None:
    board, held = JobBoard(4), Held()
    job = board.start("upload", held, held.release)
    await held.began.wait()
    board.cancel(job.job_id)
    await ended(board, job)
    assert job.state == "cancelled"
    assert job.error is not None
    assert job.error.reason == "CANCELLED"
    assert held.released == 1
    assert board.cancel(job.job_id).state == "cancelled"  # again changes nothing


async def test_cancel_before_the_first_step() -> None:
    board, held = JobBoard(4), Held()
    job = board.start("upload", held, held.release)
    board.cancel(job.job_id)
    await ended(board, job)
    assert not held.began.is_set()
    assert (job.state, held.released) == ("cancelled", 1)
    assert job.finished_at is not None


async def test_a_full_board_refuses_and_lets_go() -> None:
    board, held, late = JobBoard(2), Held(), Held()
    first = [board.start("upload", held, held.release) for _ in range(2)]
    with pytest.raises(Overloaded) as caught:
        board.start("upload", late, late.release)
    assert caught.value.stable_reason == "JOBS_FULL"
    assert caught.value.retry_after_s > 0
    assert late.released == 1
    with pytest.raises(Overloaded):
        board.check_room()
    assert len(board.list()) == 2
    held.go.set()
    for job in first:
        await ended(board, job)
    board.check_room()


async def test_jobs_that_run_alone_wait_for_their_turn() -> None:
    board, first, second, third, other = JobBoard(9), Held(), Held(), Held(), Held()
    heavy = [board.start("evaluation", held, held.release, alone=True) for held in (first, second, third)]
    light = board.start("upload", other, other.release)
    await first.began.wait()
    await other.began.wait()
    assert [job.state for job in (*heavy, light)] == ["running", "queued", "queued", "running"]
    board.cancel(heavy[1].job_id)
    await ended(board, heavy[1])
    assert (heavy[1].state, second.released, second.began.is_set()) == ("cancelled", 1, False)
    assert heavy[2].state == "queued"
    first.go.set()
    await third.began.wait()
    assert [job.state for job in heavy] == ["succeeded", "cancelled", "running"]
    third.go.set()
    other.go.set()
    assert (await ended(board, heavy[2])).state == "succeeded"


async def test_waiting_for_a_job_no_longer_than_said() -> None:
    board, held = JobBoard(4), Held()
    job = board.start("upload", held, held.release)
    assert not await board.ended(job.job_id, 0.01)
    held.go.set()
    assert await board.ended(job.job_id, 10)
    assert (job.state, held.released) == ("succeeded", 1)
    assert await board.ended(job.job_id, 0)
    with pytest.raises(JobNotFound):
        await board.ended("nothing", 0)


async def test_the_same_request_again_is_the_same_job() -> None:
    board, held, again = JobBoard(1), Held(), Held()
    first = board.start("upload", held, held.release, Once("k", "abc"))
    assert board.start("upload", again, again.release, Once("k", "abc")) is first
    assert again.released == 1
    with pytest.raises(IdempotencyConflict):
        board.start("upload", again, again.release, Once("k", "other"))
    assert again.released == 2
    held.go.set()
    await ended(board, first)
    assert board.start("upload", again, again.release, Once("k", "abc")) is first
    assert len(board.list()) == 1


async def test_what_failed_or_was_cancelled_is_tried_again() -> None:
    board, held = JobBoard(1), Held()
    once = Once("k", "abc")

    async def fails(_job: Job) -> Mapping[str, Any]:
        raise ArchiveError("no archive")

    failed = await ended(board, board.start("upload", fails, nothing, once))
    assert failed.state == "failed"
    second = board.start("upload", held, held.release, once)
    assert second is not failed
    board.cancel(second.job_id)
    assert (await ended(board, second)).state == "cancelled"
    held.go.set()
    third = board.start("upload", held, held.release, once)
    assert (await ended(board, third)).state == "succeeded"
    assert board.start("upload", held, held.release, once) is third


async def test_draining_cancels_and_says_so() -> None:
    board, held = JobBoard(4), Held()
    job = board.start("upload", held, held.release)
    await held.began.wait()
    await board.drain()
    assert job.state == "cancelled"
    assert job.error is not None
    assert job.error.reason == "DRAINING"
    with pytest.raises(Unavailable):
        board.start("upload", held, held.release)


async def test_old_jobs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT_FINISHED", 3)
    board = JobBoard(4)

    async def work(_: Job) -> Mapping[str, Any]:
        return {}

    made = [await ended(board, board.start("upload", work, nothing, Once(str(n), "x"))) for n in range(6)]
    assert board.get(made[-1].job_id) is made[-1]
    with pytest.raises(JobNotFound, match="restart"):
        board.get(made[0].job_id)
    assert [job.job_id for job in board.list()] == [job.job_id for job in reversed(made[-4:])]
    assert board.start("upload", work, nothing, Once("0", "y")) is not made[0]
    await board.drain()
