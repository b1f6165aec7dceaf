"""A whole server in this process: what it does with what runs when SIGTERM comes, and whom it answers."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from server.app import Server
from server.jobs import Job
from server.settings import ServerSettings
from vireid.proto import retrieval_pb2 as pb
from vireid.types import GalleryInfo

LIST = "/vireid.v1.GalleryService/ListGalleries"
PATIENCE_S = 30.0
KEY = "a-key-that-nobody-guesses"

Open = Callable[..., Server]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def make(**more: Any) -> Server:
        plain = {"bundle": "fake", "data": tmp_path / "data", "http_port": 0, "grpc_port": 0, "workers": 1}
        return Server(ServerSettings.model_validate({**plain, **more}))

    return make


def told_to_end() -> None:
    signal.raise_signal(signal.SIGTERM)


async def test_a_job_that_runs_is_cancelled_and_says_why(opened: Open) -> None:
    server = opened()
    released: list[bool] = []
    jobs: list[Job] = []
    began = asyncio.Event()

    async def endless(job: Job) -> Mapping[str, Any]:
        job.total = 9
        job.count("created")
        began.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    async def ready(running: Server) -> None:
        jobs.append(running.board.start("upload", endless, lambda: released.append(True)))
        await began.wait()
        told_to_end()

    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    (job,) = jobs
    assert job.state == "cancelled"
    assert job.finished_at is not None
    assert job.error is not None
    assert job.error.reason == "DRAINING"
    assert job.error.message.startswith("the server was shut down after 1 of 9 items")
    assert released == [True]


@pytest.mark.parametrize(("takes_s", "drain_s", "answered"), [(0.6, 20.0, True), (PATIENCE_S, 1.0, False)])
async def test_what_runs_may_take_as_long_as_the_settings_say(
    opened: Open, takes_s: float, drain_s: float, answered: bool
) -> None:
    server = opened(drain_s=drain_s)
    both = asyncio.Semaphore(0)
    calls: list[asyncio.Task[Any]] = []
    left = 0.0

    async def slow() -> list[GalleryInfo]:
        both.release()
        await asyncio.sleep(takes_s)
        return []

    async def over_http(address: str) -> int:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            return (await client.get(f"{address}/v1/galleries")).status_code

    async def over_grpc(address: str) -> int:
        async with grpc.aio.insecure_channel(address) as channel:
            ask = channel.unary_unary(
                LIST, pb.ListGalleriesRequest.SerializeToString, pb.ListGalleriesResponse.FromString
            )
            await ask(pb.ListGalleriesRequest(), timeout=PATIENCE_S)
            return 0

    async def ready(running: Server) -> None:
        nonlocal left
        running.service.list_galleries = slow  # type: ignore[method-assign]
        calls.append(asyncio.create_task(over_http(running.http_address)))
        calls.append(asyncio.create_task(over_grpc(running.grpc_address)))
        for _ in calls:
            await both.acquire()
        left = time.monotonic()
        told_to_end()

    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    took_s = time.monotonic() - left
    found = await asyncio.gather(*calls, return_exceptions=True)
    if answered:
        assert found == [200, 0]
        assert 0.5 < took_s < 10
    else:
        by_http, by_grpc = found
        assert isinstance(by_http, httpx.RemoteProtocolError) or by_http == 500
        assert isinstance(by_grpc, grpc.aio.AioRpcError)
        assert 0.9 < took_s < 6


@pytest.mark.parametrize(
    ("host", "more", "asked", "status"),
    [
        ("127.0.0.1", {}, "rebound.example", 421),
        ("127.0.0.1", {}, "rebound.example:80", 421),
        ("127.0.0.1", {}, "localhost", 200),
        ("127.0.0.2", {}, "127.0.0.2", 200),
        ("127.0.0.1", {}, "127.0.0.2", 421),
        ("0.0.0.0", {"api_keys": KEY}, "reid.example", 200),
    ],
)
async def test_a_server_of_this_machine_answers_to_its_own_names_only(
    opened: Open, host: str, more: dict[str, str], asked: str, status: int
) -> None:
    """A page elsewhere whose name was bound to 127.0.0.1 must not read a server that asks for no key."""
    server = opened(host=host, **more)
    found: list[httpx.Response] = []

    async def ready(running: Server) -> None:
        address = running.http_address.replace("0.0.0.0", "127.0.0.1")
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            found.append(await client.get(f"{address}/livez", headers={"host": asked}))
        told_to_end()

    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    (answer,) = found
    assert answer.status_code == status
    assert answer.json().get("reason") == ("HOST_NOT_ALLOWED" if status == 421 else None)
