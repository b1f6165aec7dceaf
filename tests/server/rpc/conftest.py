"""A gRPC server on a real port over a service that does what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from index.answers import Receipt
from server.answers import Embedded, ImageQuery, PutAnswer, SearchAnswer, SearchRequest, Timing
from server.auth import Authenticator
from server.jobs import JobBoard
from server.metrics import Metrics
from server.rpc import RpcServer, serve_rpc
from vireid.errors import NotAnImage, Unauthenticated
from vireid.types import GalleryInfo, Hit, Item, ItemMeta, Modality

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ITEM = Item("a", Modality.VISIBLE, ItemMeta(person="7", camera="1", captured_at=NOW), "ab" * 32, True, NOW)
TIMING = Timing(
    queue_s=0.001,
    decode_s=0.002,
    infer_s=0.003,
    search_s=0.004,
    total_s=0.02,
    batch_size=2,
    device="cpu/fake",
)


@dataclass
class ScriptedService:
    """Answers as told; remembers what it was asked."""

    space_id: str = "ab" * 32
    raises: BaseException | None = None
    takes_s: float = 0.0
    asked: list[Any] = field(default_factory=list)
    begun: int = 0
    cancelled: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def reached(self, counter: str, count: int) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: getattr(self, counter) == count)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, asked: Any) -> None:
        self.asked.append(asked)
        self.begun += 1
        await self._tell()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            await self._tell()
            raise
        finally:
            self._at_once -= 1
        if self.raises is not None:
            raise self.raises

    async def search(self, request: SearchRequest) -> SearchAnswer:
        await self._answer(request)
        return SearchAnswer((Hit(1, 0.5, ITEM),), Modality.INFRARED, 0.9, (), 3, 2, self.space_id, 4, TIMING)

    async def embed(self, query: ImageQuery, timeout_s: float | None = None) -> Embedded:
        await self._answer((query, timeout_s))
        if query.data.startswith(b"bad"):
            raise NotAnImage("these are no pixels")
        vector = np.full(4, query.data[0], dtype=np.float32)
        return Embedded(vector, Modality.VISIBLE, 1.0, timing=TIMING)

    async def put_item(
        self, gallery: str, item_id: str, query: ImageQuery, meta: ItemMeta, timeout_s: float | None = None,
        expires_at: datetime | None = None,
    ) -> PutAnswer:  # fmt: skip
        await self._answer((gallery, item_id, query, meta, timeout_s, expires_at))
        return PutAnswer(ITEM, "created", TIMING)

    async def get_item(self, gallery: str, item_id: str) -> Item:
        await self._answer((gallery, item_id))
        return ITEM

    async def list_items(self, gallery: str, where: Any, limit: int, cursor: str) -> tuple[list[Item], str]:
        await self._answer((gallery, where, limit, cursor))
        return [ITEM], "next"

    async def delete_items(self, gallery: str, ids: Any, where: Any, dry_run: bool) -> Any:
        await self._answer((gallery, ids, where, dry_run))
        return Receipt(items=1, images=1, vectors=1, version=5, snapshots=2, still_in=3)

    async def facets(self, gallery: str, where: Any = None) -> dict[str, dict[str, int]]:
        await self._answer((gallery, where))
        return {"cameras": {"c0": 3}, "modalities": {"visible": 2, "infrared": 1}, "hours": {"02": 1}}

    async def create_gallery(self, name: str, store_images: bool = True, retention_s: int = 0) -> GalleryInfo:
        await self._answer((name, store_images))
        return GalleryInfo(name, self.space_id, 4, 0, 1, store_images, retention_s=retention_s)

    async def retain(self, name: str, seconds: int) -> GalleryInfo:
        await self._answer((name, seconds))
        return GalleryInfo(name, self.space_id, 4, 0, 2, True, retention_s=seconds)

    async def get_gallery(self, name: str) -> GalleryInfo:
        await self._answer(name)
        return GalleryInfo(name, self.space_id, 4, 0, 1, True)

    async def list_galleries(self) -> list[GalleryInfo]:
        await self._answer(None)
        return [GalleryInfo("g", self.space_id, 4, 0, 1, True, "failed", "why")]

    async def delete_gallery(self, name: str) -> Any:
        await self._answer(name)
        return Receipt(items=1, images=1, vectors=1, version=5, snapshots=2, still_in=3)


class OneKey(Authenticator):
    """Takes one key, or anyone."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def check(self, key: str | None) -> None:
        if self.key is not None and key != self.key:
            raise Unauthenticated("no API key, or a wrong one; send authorization: Bearer KEY")


@dataclass
class Running:
    """A started server, and a channel to it."""

    service: ScriptedService
    rpc: RpcServer
    channel: Any
    metrics: Metrics

    def method(self, path: str, request: Any, reply: Any) -> Callable[..., Awaitable[Any]]:
        call: Callable[..., Awaitable[Any]] = self.channel.unary_unary(
            path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )
        return call


@pytest.fixture
def serving() -> Callable[..., Any]:
    @asynccontextmanager
    async def start(key: str | None = None, host: str = "127.0.0.1") -> AsyncIterator[Running]:
        service = ScriptedService()
        settings: Any = SimpleNamespace(host=host, grpc_port=0, max_upload_bytes=7)
        server: Any = service
        metrics = Metrics()
        rpc = serve_rpc(server, JobBoard(4), settings, OneKey(key), metrics, "test")
        await rpc.start()
        options = (("grpc.max_send_message_length", -1),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}", options=options) as channel:
            try:
                yield Running(service, rpc, channel, metrics)
            finally:
                await rpc.stop(0.0)

    return start
