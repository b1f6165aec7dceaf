"""The real HTTP app over a real service, called in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from server.auth import Authenticator, digest
from server.http import create_app
from server.http.envelope import LOOPBACK_HOSTS
from server.http.problem import PROBLEM

PATIENCE_S = 20.0
MAX_UPLOAD = 2**20


@dataclass
class Api:
    """An app, and a client of it."""

    client: httpx.AsyncClient
    made: Any
    app: Any

    async def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.client.request(method, path, **more)

    async def ok(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """Ask, expect it to go well, and give the JSON."""
        answer = await self.client.request(method, path, **more)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        return orjson.loads(answer.content)

    async def refused(self, method: str, path: str, **more: Any) -> tuple[int, str, dict[str, Any]]:
        """Ask, expect a well-formed problem, and give its status, reason and whole body."""
        answer = await self.client.request(method, path, **more)
        assert answer.headers["content-type"] == PROBLEM, answer.text
        body = orjson.loads(answer.content)
        assert body["status"] == answer.status_code >= 400
        assert body["instance"] == answer.headers["x-request-id"]
        assert body["type"] == "urn:vireid:problem:" + body["reason"].lower().replace("_", "-")
        assert body["title"]
        assert len(body["detail"]) > 10
        return answer.status_code, body["reason"], body

    async def gallery(self, name: str = "g", **more: Any) -> str:
        await self.ok("POST", "/v1/galleries", 201, json={"name": name, **more})
        return name

    async def put(self, item_id: str, data: bytes, gallery: str = "g", **query: Any) -> Any:
        path = f"/v1/galleries/{gallery}/items/{item_id}"
        answer = await self.client.put(path, content=data, params=query)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        """Follow a job to its end."""
        async with asyncio.timeout(PATIENCE_S):
            while not job["finished"]:
                await asyncio.sleep(0.005)
                job = await self.ok("GET", f"/v1/jobs/{job['job_id']}")
        return job

    async def items(self, gallery: str = "g") -> int:
        count: int = (await self.ok("GET", f"/v1/galleries/{gallery}"))["items"]
        return count


Begin = Callable[..., Any]


@pytest.fixture
async def begin(make: Callable[..., Any]) -> AsyncIterator[Begin]:
    """Start apps; their jobs are ended with them."""
    async with AsyncExitStack() as stack:

        async def start(
            key: str | None = None, max_upload_bytes: int = 2**22, hosts: Any = LOOPBACK_HOSTS, **more: Any
        ) -> Api:
            made = make(**more)
            app = create_app(
                service=made.service,
                board=made.board,
                metrics=made.metrics,
                authenticator=Authenticator([] if key is None else [digest(key)]),
                max_upload_bytes=max_upload_bytes,
                hosts=hosts,
                version="1.2.3",
            )
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            await stack.enter_async_context(client)

            async def drain() -> None:
                made.engine.let_go()
                await made.board.drain()

            stack.push_async_callback(drain)
            return Api(client, made, app)

        yield start


@pytest.fixture
async def api(begin: Begin) -> Api:
    """An app with one empty gallery, ``g``."""
    started: Api = await begin()
    await started.gallery()
    return started


@pytest.fixture
def start(begin: Callable[..., Any]) -> Callable[..., Any]:
    """Start an app with one empty gallery, ``yard``."""

    async def build(**more: Any) -> Any:
        api = await begin(max_upload_bytes=MAX_UPLOAD, **more)
        await api.made.service.create_gallery("yard")
        return api

    return build


@pytest.fixture
async def http(start: Callable[..., Any]) -> Any:
    return await start()
