"""Background jobs: progress, errors by item, cancel. Held in memory: a restart forgets them, never what they stored.

Knows no uploads and no evaluations; runs what it is handed.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vireid.errors import Cancelled, IdempotencyConflict, JobNotFound, Overloaded, Unavailable, VireidError

log = logging.getLogger(__name__)

KEPT_FINISHED = 200
KEPT_ERRORS = 100
FINAL = frozenset({"succeeded", "partial", "failed", "cancelled"})
UNDONE = frozenset({"failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why one item of a job was refused."""

    item: str
    reason: str
    message: str


@dataclass(slots=True)
class Job:
    """One piece of background work; its own coroutine writes to it.

    Attributes:
        job_id: unguessable.
        kind: ``upload``, ``evaluation``, ``snapshot`` or ``centring``.
        state: queued, running, succeeded, partial (some items refused), failed or cancelled.
        done: items finished, refused ones too.
        total: items there are, 0 while unknown.
        counts: outcomes by word.
        failed: items refused.
        errors: the first hundred refusals.
        error: why the whole job failed.
        cause: the error that is told in ``error``, where one was raised.
        result: what it produced, in words that JSON has.
        value: the same as a value, where there is one.
        documents: larger things it produced, by file name.
    """

    job_id: str
    kind: str
    state: str = "queued"
    done: int = 0
    total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    errors: list[ItemError] = field(default_factory=list)
    error: ItemError | None = None
    cause: VireidError | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    documents: dict[str, bytes] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None

    @property
    def failure(self) -> VireidError:
        """The error that ended it, the same as its call would have raised."""
        if self.cause is not None:
            return self.cause
        reason, message = (self.error.reason, self.error.message) if self.error else ("", "the job failed")
        if reason == Unavailable.reason:
            return Unavailable(message, retry_after_s=1.0)
        return Cancelled(message) if self.state == "cancelled" else VireidError(message)

    def count(self, outcome: str) -> None:
        """Note an item's outcome."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        self.done += 1

    def refuse(self, item: str, error: VireidError) -> None:
        """Note an item's refusal."""
        self.failed += 1
        self.done += 1
        if len(self.errors) < KEPT_ERRORS:
            self.errors.append(ItemError(item, error.stable_reason, error.message))


Work = Callable[[Job], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a request that is sent again the same one.

    Attributes:
        key: chosen by the caller.
        fingerprint: of all that was sent.
    """

    key: str
    fingerprint: str


class JobBoard:
    """Starts, shows and cancels jobs; used on one event loop.

    Args:
        limit: jobs that may run or wait at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._once: dict[str, tuple[Once, Job]] = {}
        self._draining = False
        self._alone = asyncio.Lock()

    def check_room(self) -> None:
        """Refuse a further job, before its upload is read.

        Raises:
            Overloaded: too many jobs are at work.
            Unavailable: the server drains.
        """
        if self._draining:
            raise Unavailable("the server is shutting down; ask another one", retry_after_s=1.0)
        if len(self._tasks) >= self._limit:
            raise Overloaded(
                f"{len(self._tasks)} jobs are at work, {self._limit} may be; wait for one to end",
                retry_after_s=5.0,
                reason="JOBS_FULL",
            )

    def start(
        self,
        kind: str,
        work: Work,
        release: Callable[[], None],
        once: Once | None = None,
        *,
        alone: bool = False,
    ) -> Job:
        """Begin a job.

        Args:
            kind: a word for lists.
            work: the coroutine; it gets the job to write progress to and returns its result.
            release: called when the job ended, or was refused, whether it ever began or not.
            once: known for as long as the job is; the very same request again gets the job it began, unless that
                failed or was cancelled.
            alone: stays queued while another such job runs, for work that takes much memory or a whole core.

        Raises:
            IdempotencyConflict: the key came with another request.
            Overloaded: too many jobs are at work.
            Unavailable: the server drains.
        """
        try:
            before = self._repeated(once)
            if before is None:
                self.check_room()
        except VireidError:
            release()
            raise
        if before is not None:
            release()
            return before
        self._forget_old()
        job = Job(secrets.token_urlsafe(12), kind)
        self._jobs[job.job_id] = job
        if once is not None:
            self._once[once.key] = (once, job)
        task = asyncio.create_task(self._run(job, work, self._alone if alone else nullcontext()))
        self._tasks[job.job_id] = task

        def ended(_: object) -> None:
            del self._tasks[job.job_id]
            if job.state not in FINAL:  # cancelled before its first step
                self._stopped(job)
            release()

        task.add_done_callback(ended)
        return job

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFound: no such job, or the server was restarted since.
        """
        if job_id not in self._jobs:
            raise JobNotFound(f"there is no job {job_id!r}; jobs are forgotten when the server restarts")
        return self._jobs[job_id]

    def list(self) -> list[Job]:
        """Return all jobs, the newest first."""
        return list(reversed(self._jobs.values()))

    def cancel(self, job_id: str) -> Job:
        """Stop a job; what it stored stays."""
        job = self.get(job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            task.cancel()
        return job

    async def ended(self, job_id: str, within_s: float | None = None) -> bool:
        """Wait for a job to end, but no longer than said; whether it has."""
        task = self._tasks.get(job_id)
        if task is not None:
            await asyncio.wait({task}, timeout=within_s)
        return self.get(job_id).state in FINAL

    async def drain(self) -> None:
        """Take no more, cancel what is at work, and wait for it to end."""
        self._draining = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Work, turn: AbstractAsyncContextManager[None]) -> None:
        try:
            async with turn:
                job.state = "running"
                job.result = await work(job)
            job.state = "partial" if job.failed else "succeeded"
        except asyncio.CancelledError:
            self._stopped(job)
        except VireidError as error:
            job.state, job.cause = "failed", error
            job.error = ItemError("", error.stable_reason, error.message)
            log.warning(
                "job %s (%s) failed: %s [%s]", job.job_id, job.kind, error.message, error.stable_reason
            )
        except Exception:
            log.exception("job %s (%s) failed", job.job_id, job.kind)
            job.state = "failed"
            job.error = ItemError("", "INTERNAL", "the job failed inside; the server's log tells more")
        finally:
            job.finished_at = datetime.now(UTC)

    def _repeated(self, once: Once | None) -> Job | None:
        if once is None or once.key not in self._once:
            return None
        before, job = self._once[once.key]
        if job.state in UNDONE:  # whoever asks again after a failure wants it tried again
            return None
        if before != once:
            raise IdempotencyConflict(
                f"the idempotency key {once.key[:80]!r} came with other content before; choose another",
                field="idempotency-key",
            )
        return job

    def _stopped(self, job: Job) -> None:
        job.state = "cancelled"
        job.finished_at = datetime.now(UTC)
        why = "the server was shut down" if self._draining else "it was asked to stop"
        reason = "DRAINING" if self._draining else "CANCELLED"
        job.error = ItemError(
            "",
            reason,
            f"{why} after {job.done} of {job.total or 'an unknown number of'} items; what was stored stays",
        )

    def _forget_old(self) -> None:
        finished = [key for key, job in self._jobs.items() if job.state in FINAL]
        for key in finished[: max(0, len(finished) - KEPT_FINISHED)]:
            del self._jobs[key]
        self._once = {key: kept for key, kept in self._once.items() if kept[1].job_id in self._jobs}
