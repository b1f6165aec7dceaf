"""A whole server in this process, on real ports, in a thread of its own; and every client of it."""

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from clients.grpc_client import AsyncGrpcClient, GrpcClient
from clients.http_client import AsyncHttpClient, HttpClient
from clients.retry import NEVER
from index.store import GalleryStore
from server.admission import Admission
from server.auth import Authenticator, digest
from server.batcher import Batcher
from server.http import create_app
from server.jobs import JobBoard
from server.metrics import Metrics
from server.rpc import RpcServer, serve_rpc
from server.service import RetrievalService
from server.settings import ServerSettings
from vireid.engines.choice import alone
from vireid.engines.fake import FakeEngine
from vireid.images.preprocess import Preprocess

KINDS = ("grpc", "grpc-async", "http", "http-async")


class SlowEngine(FakeEngine):
    """The fake engine, as slow as a test wants it."""

    takes_s = 0.0

    def embed(self, images: Any, modality: Any) -> Any:
        time.sleep(self.takes_s)
        return super().embed(images, modality)


@dataclass
class Live:
    """A running server."""

    http: str
    grpc: str
    engine: SlowEngine
    service: RetrievalService
    key: str | None

    def connect(self, kind: str, **options: Any) -> "Caller":
        options = {"retry": NEVER, "api_key": self.key, **options}
        made: dict[str, Callable[[], Any]] = {
            "grpc": lambda: GrpcClient(self.grpc, **options),
            "grpc-async": lambda: AsyncGrpcClient(self.grpc, **options),
            "http": lambda: HttpClient(self.http, **options),
            "http-async": lambda: AsyncHttpClient(self.http, **options),
        }
        return Caller(kind, made[kind]())


@dataclass
class Caller:
    """A client, called the same way whether it is to be awaited or not."""

    kind: str
    client: Any
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        answer = getattr(self.client, method)(*arguments, **options)
        return self.finish(answer)

    def finish(self, answer: Any) -> Any:
        return self.runner.run(answer) if asyncio.iscoroutine(answer) else answer

    def close(self) -> None:
        self.finish(self.client.close())
        self.runner.close()


@contextmanager
def running(
    folder: Path, *, key: str | None = None, queue_limit: int = 64, workers: int = 2
) -> Iterator[Live]:
    engine, metrics, board = SlowEngine(), Metrics(), JobBoard(8)
    settings = ServerSettings(bundle="fake", data=folder, http_port=0, grpc_port=0, max_upload_bytes=2**24)
    keys = Authenticator([] if key is None else [digest(key)])
    service = RetrievalService(
        manifest=None,
        choice=alone("fake", "the test's own", engine),
        preprocess=Preprocess(*engine.input_size),
        batcher=Batcher([engine] * workers, 4),
        admission=Admission(queue_limit, workers, metrics),
        store=GalleryStore(folder, engine.space_id, engine.dim, "exact"),
        metrics=metrics,
        timeout_s=10.0,
    )
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    started, ports = threading.Event(), []
    stop: list[Callable[[], None]] = []

    async def serve() -> None:
        app = create_app(
            service=service,
            board=board,
            metrics=metrics,
            authenticator=keys,
            max_upload_bytes=settings.max_upload_bytes,
            hosts=None,
            version="test",
        )
        http = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        rpc: RpcServer = serve_rpc(service, board, settings, keys, metrics, "test")
        ports.append(rpc.port)
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(end.set))
        serving = asyncio.create_task(http.serve([listening]))
        await rpc.start()
        started.set()
        await end.wait()
        http.should_exit = True
        await asyncio.gather(serving, rpc.stop(0.5))

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="live-server")
    thread.start()
    assert started.wait(20)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield Live(address, f"127.0.0.1:{ports[0]}", engine, service, key)
    finally:
        stop[0]()
        thread.join(20)
        service.close()
        listening.close()


def picture(seed: int, kind: str = "JPEG") -> bytes:
    """Draw a crop; each seed another."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize((64, 128), Image.Resampling.BILINEAR).save(out, kind)
    return out.getvalue()


# a file's own: what another file left in it would be found
@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live")) as server:
        yield server


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, live: Live) -> Iterator[Caller]:
    caller = live.connect(request.param)
    yield caller
    caller.close()


@pytest.fixture(scope="session")
def draw() -> Callable[..., bytes]:
    return picture


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    return lambda **options: running(tmp_path / "data", **options)


@pytest.fixture
def people(tmp_path: Path, draw: Callable[..., bytes]) -> Path:
    """Four people by day, in two cameras, and by night; each looks the same at night."""
    root = tmp_path / "people"
    for person in range(4):
        for modality, camera in (("visible", "c1"), ("visible", "c2"), ("infrared", "c3")):
            place = root / modality / f"p{person}" / f"{camera}_0.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(draw(person * 10 + len(camera)))
    return root


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Name what temporary folders and processes a benchmark left; none of its folders are elsewhere."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def found() -> list[str]:
        folders = [str(path) for path in scratch.iterdir()]
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = command.read_bytes().decode("utf-8", "replace")
            except OSError:  # it ended meanwhile
                continue
            if str(scratch) in words:
                folders.append(words.replace("\0", " "))
        return folders

    yield found
    assert found() == []
