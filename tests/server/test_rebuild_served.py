"""A server whose engine changes while it runs: no request is lost."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.grpc_client import AsyncGrpcClient
from clients.server_info import ServerInfo
from server import app, rebuild
from server.app import Server
from server.settings import ServerSettings
from tests.server.plan_parts import LACKING, PATIENCE_S, script, with_plans
from tests.server.test_app import picture
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine
from vireid.engines.base import EngineInfo
from vireid.engines.tensorrt import Choices
from vireid.errors import EngineError

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return with_plans(tmp_path)


class OnCuda:
    """The model, as if it ran from a plan; counts its batches."""

    def __init__(self, bundle: Bundle) -> None:
        self._engine = open_engine(bundle, "cpu")
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @property
    def info(self) -> EngineInfo:
        return replace(self._engine.info, device="cuda:0", runtime="tensorrt 11.4", precision="fp16")

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        return self._engine.embed(images, modality)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The build waits until this file is there."""
    return tmp_path / "gate"


@pytest.fixture
def serve(
    tmp_path: Path, bundle: Bundle, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Server, OnCuda]]:
    def make(ending: str = "", wish: str = "tensorrt-fp16") -> tuple[Server, OnCuda]:
        built = OnCuda(bundle)
        waiting = f"""
            import pathlib, sys, time
            print('{{"stage": "building", "done": 0.4}}', flush=True)
            last = time.monotonic() + {2 * PATIENCE_S}  # should nobody be left to end it
            while not pathlib.Path({str(gate)!r}).exists() and time.monotonic() < last:
                time.sleep(0.01)
            {ending}
        """

        def command(_bundle: Bundle, _part: EnginePart, _choices: Choices) -> Sequence[str]:
            return script(waiting)

        monkeypatch.setattr(rebuild, "missing", lambda *_: LACKING)
        monkeypatch.setattr(rebuild, "command", command)

        def opened(*_: Any) -> OnCuda:
            if not gate.exists():
                raise EngineError("the plan is not here", reason="PLAN_MISSING")
            return built

        monkeypatch.setattr(app.tensorrt, "open_engine", opened)
        settings = {
            "bundle": str(bundle.path),
            "engine": wish,
            "data": tmp_path / "data",
            "http_port": 0,
            "grpc_port": 0,
            "workers": 2,
        }
        return Server(ServerSettings.model_validate(settings)), built

    return make


async def over_grpc(address: str) -> tuple[ServerInfo, int]:
    """Ask a server over gRPC what it runs, and how its health is."""
    client = AsyncGrpcClient(address)
    info = await client.info()
    await client.close()
    async with grpc.aio.insecure_channel(address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    return info, health.status


async def until(asked: Callable[[], Any], expected: Callable[[Any], bool]) -> Any:
    """Ask again and again, over HTTP, until what is expected is said."""
    for _ in range(round(PATIENCE_S / 0.02)):
        if expected(found := await asked()):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def test_requests_are_answered_before_during_and_after_the_switch(
    serve: Callable[..., tuple[Server, OnCuda]], gate: Path
) -> None:
    server, built = serve()
    statuses: list[int] = []
    vectors: list[list[float]] = []
    seen: dict[str, Any] = {}

    async def ready(running: Server) -> None:
        async with httpx.AsyncClient(base_url=running.http_address, timeout=PATIENCE_S) as client:

            async def info() -> Any:
                return (await client.get("/v1/info")).json()["engine"]

            over = asyncio.Event()

            async def ask() -> None:
                while not over.is_set():
                    answer = await client.post(
                        "/v1/embed", content=picture(1), headers={"content-type": "image/jpeg"}
                    )
                    statuses.append(answer.status_code)
                    vectors.append(answer.json().get("embedding", answer.json()))

            asking = [asyncio.create_task(ask()) for _ in range(4)]
            seen["before"] = await until(info, lambda one: one["building"]["done"] == 0.4)
            seen["ready"] = (await client.get("/readyz")).json()
            seen["over grpc"] = await over_grpc(running.grpc_address)
            await asyncio.to_thread(gate.touch)
            seen["after"] = await until(info, lambda one: one["building"]["state"] != "building_engine")
            await until(lambda: asyncio.sleep(0, len(built.batches)), lambda count: bool(count >= 5))
            over.set()
            await asyncio.gather(*asking)
            seen["ready after"] = (await client.get("/readyz")).json()
            seen["over grpc after"] = await over_grpc(running.grpc_address)
            seen["metrics"] = (await client.get("/metrics")).text
        signal.raise_signal(signal.SIGTERM)

    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    assert set(statuses) == {200}, vectors[-1]
    assert seen["before"]["name"] == "onnxruntime-fp32"
    assert seen["before"]["device"] == "cpu"
    assert seen["before"]["building"]["state"] == "building_engine"
    assert seen["before"]["building"]["engine"] == "tensorrt-fp16"
    assert seen["ready"]["ready"] is True
    assert seen["ready"]["engine"] == "building_engine"
    info, health = seen["over grpc"]
    assert (info.engine.name, info.engine.building.state) == ("onnxruntime-fp32", "building_engine")
    assert info.engine.building.done == 0.4
    assert health == SERVING  # which it does, by another engine
    info, health = seen["over grpc after"]
    assert (info.engine.name, info.engine.building.state) == ("tensorrt-fp16", "switched")
    assert health == SERVING
    assert seen["after"]["building"]["state"] == "switched"
    assert (seen["after"]["name"], seen["after"]["device"]) == ("tensorrt-fp16", "cuda:0")
    assert seen["after"]["runtime"] == "tensorrt 11.4"
    assert {
        "name": "onnxruntime-fp32",
        "reason": "stood in until the plan of tensorrt-fp16 was built",
    } in seen["after"]["not_taken"]
    assert seen["ready after"]["engine"] == "ok"
    assert 'engine="tensorrt-fp16"' in seen["metrics"]


async def test_a_failed_build_is_told_and_the_engine_stays(
    serve: Callable[..., tuple[Server, OnCuda]], gate: Path
) -> None:
    server, built = serve("sys.exit('out of memory on the device')")
    seen: dict[str, Any] = {}

    async def ready(running: Server) -> None:
        await asyncio.to_thread(gate.touch)
        async with httpx.AsyncClient(base_url=running.http_address, timeout=PATIENCE_S) as client:

            async def info() -> Any:
                return (await client.get("/v1/info")).json()["engine"]

            seen["after"] = await until(info, lambda one: one["building"]["state"] != "building_engine")
            seen["ready"] = (await client.get("/readyz")).json()
        signal.raise_signal(signal.SIGTERM)

    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    assert seen["after"]["building"]["state"] == "build_failed"
    assert "out of memory on the device" in seen["after"]["building"]["reason"]
    assert seen["after"]["name"] == "onnxruntime-fp32"
    assert seen["ready"] == {**seen["ready"], "ready": True, "engine": "build_failed"}
    assert built.batches == []


async def test_a_server_that_ends_ends_its_build(serve: Callable[..., tuple[Server, OnCuda]]) -> None:
    server, built = serve()

    async def ready(running: Server) -> None:
        async def done() -> float:
            assert running._rebuild is not None
            return running._rebuild.told.done

        await until(done, lambda part: part == 0.4)
        signal.raise_signal(signal.SIGTERM)

    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    assert time.monotonic() - began < 15
    assert built.batches == []
    assert server._rebuild is not None
    assert server._rebuild._child is not None
    assert server._rebuild._child.poll() is not None


def test_batches_grow_with_the_engine_that_takes_over(serve: Callable[..., tuple[Server, OnCuda]]) -> None:
    server, built = serve()
    assert server._batcher._max_batch == app.LARGEST_BATCH["cpu"]
    assert server._take(built) == ""  # type: ignore[arg-type]
    assert server._batcher._max_batch == app.LARGEST_BATCH["cuda"]
    server.service.close()
    server._socket.close()


async def test_auto_takes_the_new_engine_only_if_it_is_faster(
    serve: Callable[..., tuple[Server, OnCuda]], gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, built = serve(wish="auto")
    monkeypatch.setattr(rebuild.tuning, "seconds_an_image", lambda engines: [0.002, 0.003][: len(engines)])
    seen: dict[str, Any] = {}

    async def ready(running: Server) -> None:
        await asyncio.to_thread(gate.touch)
        async with httpx.AsyncClient(base_url=running.http_address, timeout=PATIENCE_S) as client:

            async def info() -> Any:
                return (await client.get("/v1/info")).json()["engine"]

            seen["after"] = await until(info, lambda one: one["building"]["state"] != "building_engine")
        signal.raise_signal(signal.SIGTERM)

    async with asyncio.timeout(PATIENCE_S):
        await server.run(ready)
    assert seen["after"]["building"]["state"] == "not_taken"
    assert seen["after"]["building"]["reason"] == "3 ms an image here; onnxruntime-fp32 takes 2 ms"
    assert seen["after"]["name"] == "onnxruntime-fp32"
    assert built.batches == []
