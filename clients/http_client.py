"""The HTTP clients: connections, deadlines, keys, and what only HTTP offers: archives, jobs, evaluations.

The calls are in ``clients.http_calls`` and ``clients.http_jobs``, the behaviour around them in ``clients.base``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from clients import failures, http_calls, http_jobs
from clients.base import DEFAULT_TIMEOUT_S, AsyncClient, Client
from clients.call import USUAL, Choices, Progress
from clients.http_documents import centred_of, snapshot_of, trial_of
from clients.http_failures import FIRST_FAILURE, error_of
from clients.http_request import Reply, Request
from clients.replies import Evaluation, ItemFailure, Job
from clients.retry import Retry
from vireid.errors import DeadlineExceeded, ServerUnreachable, VireidError
from vireid.types import Centring, CentringTrial, Snapshot

DEFAULT_SERVER = "http://127.0.0.1:8080"
POLL_S = 0.25
CHUNK = 1024 * 1024

Watch = Callable[[Job], None]


def _options(server: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    return {"base_url": server, "headers": headers, "timeout": timeout_s, "trust_env": False}


def _arguments(request: Request, body: Any) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.path,
        "params": request.parameters,
        "content": body or None,
        "headers": request.headers,
    }


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def _async_chunks(path: Path) -> AsyncIterator[bytes]:
    chunks = _chunks(path)
    while (chunk := await asyncio.to_thread(next, chunks, b"")) != b"":
        yield chunk


def _reply_of(response: httpx.Response) -> Reply:
    if response.status_code >= FIRST_FAILURE:
        raise error_of(response.status_code, response.headers, response.content)
    return Reply(response.headers, response.content)


def _failure_of(error: httpx.HTTPError, server: str, timeout_s: float) -> VireidError:
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return DeadlineExceeded(f"no answer from {server} within {timeout_s:g} s", reason="DEADLINE_EXCEEDED")
    return ServerUnreachable(
        f"no vireid server answers at {server} ({error}); "
        "is `vireid serve` running, and is this its HTTP port?",
        metadata={"address": server},
    )


def _watch_of(progress: Progress | None) -> Watch | None:
    return None if progress is None else lambda job: progress(job.done, job.total)


def _check_succeeded(job: Job) -> None:
    if job.state != "succeeded":
        error = job.error or ItemFailure("", "", f"the {job.kind} has {job.state}")
        otherwise = failures.of_http_status(error.status)
        raise failures.rebuild(error.message, reason=error.reason, otherwise=otherwise)


class HttpClient(Client):
    """The service over HTTP, synchronously; one client may be shared by many threads.

    Args:
        server: ``http://host:port``.
        api_key: sent as a bearer token.
        timeout_s: longest silence within one attempt.
        retry: patience with a busy or restarting server.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(http_calls, retry)
        self._server = server
        self._timeout_s = timeout_s
        self._http = httpx.Client(**_options(server, api_key, timeout_s))

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def job(self, job_id: str) -> Job:
        """Say how far a job is."""
        return self._run(http_jobs.job(job_id))

    def wait(self, job_id: str, *, watch: Watch | None = None) -> Job:
        """Wait until a job has finished.

        Args:
            job_id: the job.
            watch: told of each look at it.
        """
        while not (found := self.job(job_id)).finished:
            if watch is not None:
                watch(found)
            time.sleep(POLL_S)
        if watch is not None:
            watch(found)
        return found

    def upload_archive(self, gallery: str, archive: Path) -> Job:
        """Send a .zip or .tar of images; the server unpacks it in a job.

        What the gallery holds already is not stored twice, so sending it again does no harm.
        """
        return self._run(http_jobs.upload_archive(gallery, archive))

    def cancel(self, job_id: str) -> Job:
        """Stop a job; what it stored stays."""
        return self._run(http_jobs.cancel(job_id))

    def start_evaluation(self, gallery: str, choices: Choices = USUAL) -> Job:
        """Begin to measure a labelled gallery; the main numbers will be the job's result."""
        return self._run(http_jobs.start_evaluation(gallery, choices))

    def report(self, job_id: str, kind: str = "json") -> str:
        """Give the report of an evaluation that has succeeded, as ``json``, ``csv`` or, where asked for, ``html``."""
        return self._run(http_jobs.report(job_id, kind))

    def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery and wait for the report; see ``Client.evaluate``."""
        done = self._finished(self.start_evaluation(gallery, choices), _watch_of(progress))
        kinds = ("json", "csv", "html") if choices.html else ("json", "csv")
        return Evaluation(*[self.report(done.job_id, kind) for kind in kinds])

    def start_snapshot(self, gallery: str, keep_days: int = 0) -> Job:
        """Begin to copy a gallery; the description of the copy will be the job's result."""
        return self._run(http_jobs.start_snapshot(gallery, keep_days))

    def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy; see ``Client.snapshot``."""
        return snapshot_of(self._finished(self.start_snapshot(gallery, keep_days)).result)

    def centre(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> Centring | None:
        """Centre a gallery, and wait until that is in use; see ``Client.centre``."""
        started = self._run(http_jobs.start_centring(gallery, strength, half))
        return centred_of(self._finished(started).result)

    def uncentre(self, gallery: str) -> Centring | None:
        """Go back to what was before a gallery's last centring; see ``Client.uncentre``."""
        started = self._run(http_jobs.start_return(gallery))
        return centred_of(self._finished(started).result)

    def try_centring(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> CentringTrial:
        """Measure what a centring would bring, and change nothing; see ``Client.try_centring``."""
        started = self._run(http_jobs.start_trial(gallery, strength, half))
        return trial_of(self._finished(started).result)

    def _finished(self, job: Job, watch: Watch | None = None) -> Job:
        """Wait for a job to succeed; who stops waiting stops it."""
        try:
            done = self.wait(job.job_id, watch=watch)
        except BaseException:  # cancelled, too
            with suppress(VireidError):
                self.cancel(job.job_id)
            raise
        _check_succeeded(done)
        return done

    def _send(self, request: Request) -> Reply:
        body = _chunks(request.body) if isinstance(request.body, Path) else request.body
        try:
            return _reply_of(self._http.request(**_arguments(request, body)))
        except httpx.HTTPError as error:
            raise _failure_of(error, self._server, self._timeout_s) from None


class AsyncHttpClient(AsyncClient):
    """The service over HTTP, asynchronously; belongs to the event loop that first uses it.

    Args:
        server: ``http://host:port``.
        api_key: sent as a bearer token.
        timeout_s: longest silence within one attempt.
        retry: patience with a busy or restarting server.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(http_calls, retry)
        self._server = server
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(**_options(server, api_key, timeout_s))

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def job(self, job_id: str) -> Job:
        """Say how far a job is."""
        return await self._run(http_jobs.job(job_id))

    async def wait(self, job_id: str, *, watch: Watch | None = None) -> Job:
        """Wait until a job has finished; ``watch`` is told of each look at it."""
        while not (found := await self.job(job_id)).finished:
            if watch is not None:
                watch(found)
            await asyncio.sleep(POLL_S)
        if watch is not None:
            watch(found)
        return found

    async def upload_archive(self, gallery: str, archive: Path) -> Job:
        """Send a .zip or .tar of images; the server unpacks it in a job."""
        return await self._run(http_jobs.upload_archive(gallery, archive))

    async def cancel(self, job_id: str) -> Job:
        """Stop a job; what it stored stays."""
        return await self._run(http_jobs.cancel(job_id))

    async def start_evaluation(self, gallery: str, choices: Choices = USUAL) -> Job:
        """Begin to measure a labelled gallery; the main numbers will be the job's result."""
        return await self._run(http_jobs.start_evaluation(gallery, choices))

    async def report(self, job_id: str, kind: str = "json") -> str:
        """Give the report of an evaluation that has succeeded, as ``json``, ``csv`` or, where asked for, ``html``."""
        return await self._run(http_jobs.report(job_id, kind))

    async def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery and wait for the report; see ``Client.evaluate``."""
        done = await self._finished(await self.start_evaluation(gallery, choices), _watch_of(progress))
        kinds = ("json", "csv", "html") if choices.html else ("json", "csv")
        return Evaluation(*[await self.report(done.job_id, kind) for kind in kinds])

    async def start_snapshot(self, gallery: str, keep_days: int = 0) -> Job:
        """Begin to copy a gallery; the description of the copy will be the job's result."""
        return await self._run(http_jobs.start_snapshot(gallery, keep_days))

    async def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy; see ``Client.snapshot``."""
        return snapshot_of((await self._finished(await self.start_snapshot(gallery, keep_days))).result)

    async def centre(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> Centring | None:
        """Centre a gallery, and wait until that is in use; see ``Client.centre``."""
        started = await self._run(http_jobs.start_centring(gallery, strength, half))
        return centred_of((await self._finished(started)).result)

    async def uncentre(self, gallery: str) -> Centring | None:
        """Go back to what was before a gallery's last centring; see ``Client.uncentre``."""
        started = await self._run(http_jobs.start_return(gallery))
        return centred_of((await self._finished(started)).result)

    async def try_centring(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> CentringTrial:
        """Measure what a centring would bring, and change nothing; see ``Client.try_centring``."""
        started = await self._run(http_jobs.start_trial(gallery, strength, half))
        return trial_of((await self._finished(started)).result)

    async def _finished(self, job: Job, watch: Watch | None = None) -> Job:
        """Wait for a job to succeed; who stops waiting stops it."""
        try:
            done = await self.wait(job.job_id, watch=watch)
        except BaseException:  # cancelled, too
            with suppress(VireidError):
                await self.cancel(job.job_id)
            raise
        _check_succeeded(done)
        return done

    async def _send(self, request: Request) -> Reply:
        body = _async_chunks(request.body) if isinstance(request.body, Path) else request.body
        try:
            return _reply_of(await self._http.request(**_arguments(request, body)))
        except httpx.HTTPError as error:
            raise _failure_of(error, self._server, self._timeout_s) from None
