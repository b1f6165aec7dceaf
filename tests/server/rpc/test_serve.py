"""Health, reflection, keys, ports."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from clients.rpc_failures import error_of
from server.jobs import JobBoard
from server.metrics import Metrics
from server.rpc import serve_rpc
from vireid.errors import SettingsError
from vireid.proto import retrieval_pb2 as pb

GET = ("/vireid.v1.GalleryService/GetGallery", pb.GetGalleryRequest, pb.Gallery)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    "name",
    [
        "",
        *(
            f"vireid.v1.{word}Service"
            for word in ("Retrieval", "Gallery", "Snapshot", "Centring", "Evaluation", "Info")
        ),
    ],
)
async def test_health_of_each_service(serving: Any, name: str) -> None:
    async with serving() as running:
        reply = await health_pb2_grpc.HealthStub(running.channel).Check(
            health_pb2.HealthCheckRequest(service=name)
        )
    assert reply.status == SERVING


async def test_health_of_an_unknown_service(serving: Any) -> None:
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(running.channel).Check(
                health_pb2.HealthCheckRequest(service="vireid.v1.Teleport")
            )
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watchers_hear_of_the_end_before_it_comes(serving: Any) -> None:
    async with serving() as running:
        watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest(service=""))
        heard = [(await watch.read()).status]
        await running.rpc.drain()
        heard.append((await watch.read()).status)
        still = await running.method(*GET)(pb.GetGalleryRequest(name="g"), timeout=5)
        watch.cancel()
    assert heard == [SERVING, NOT_SERVING]
    assert still.name == "g"


async def test_stopping_lets_calls_in_flight_end(serving: Any) -> None:
    async with serving() as running:
        running.service.takes_s = 0.2
        call = asyncio.ensure_future(running.method(*GET)(pb.GetGalleryRequest(name="g"), timeout=5))
        await running.service.reached("begun", 1)
        await running.rpc.stop(5.0)
        assert (await call).name == "g"


async def test_reflection_names_the_services(serving: Any) -> None:
    async with serving() as running:
        assert await _reflected(running.channel) >= {
            "vireid.v1.RetrievalService", "vireid.v1.GalleryService", "vireid.v1.EvaluationService",
            "grpc.health.v1.Health",
        }  # fmt: skip


async def test_no_reflection_to_the_outside(serving: Any) -> None:
    async with serving(host="0.0.0.0") as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _reflected(running.channel)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("metadata", "let_in"),
    [
        ((), False),
        ((("authorization", "Bearer good"),), True),
        ((("authorization", "bearer good"),), True),
        ((("x-api-key", "good"),), True),
        ((("authorization", "Bearer bad"),), False),
        ((("authorization", "Basic good"),), False),
        ((("authorization", "good"),), False),
        ((("x-api-key", ""),), False),
    ],
)
async def test_the_key(serving: Any, metadata: Any, let_in: bool) -> None:
    async with serving(key="good") as running:
        call = running.method(*GET)(pb.GetGalleryRequest(name="g"), metadata=metadata, timeout=5)
        if let_in:
            assert (await call).name == "g"
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert error_of(caught.value, "here").stable_reason == "NO_CREDENTIALS"
        assert running.service.asked == []


async def test_health_is_open_and_reflection_is_not(serving: Any) -> None:
    async with serving(key="good") as running:
        reply = await health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
        assert reply.status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _reflected(running.channel)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_taken_port_is_an_error(serving: Any) -> None:
    async with serving() as running:
        settings: Any = SimpleNamespace(host="127.0.0.1", grpc_port=running.rpc.port)
        service: Any = running.service
        open_door: Any = SimpleNamespace(check=lambda key: None)
        with pytest.raises(SettingsError, match=str(running.rpc.port)) as caught:
            serve_rpc(service, JobBoard(4), settings, open_door, Metrics(), "test")
    assert caught.value.stable_reason == "PORT_TAKEN"


async def _reflected(channel: Any) -> set[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return {service.name async for reply in stream for service in reply.list_services_response.service}
