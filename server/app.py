"""The composition root: settings to a running server, HTTP and gRPC in one process on one loop."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import uvicorn

from index.backends import APPROXIMATE, BACKENDS
from index.expiry import Expiry
from index.store import GalleryStore
from server import rebuild
from server.admission import Admission
from server.auth import Authenticator, authenticator, is_loopback
from server.batcher import Batcher
from server.http import create_app
from server.http.envelope import LOOPBACK_HOSTS
from server.jobs import JobBoard
from server.metrics import Metrics
from server.rebuild import Rebuild
from server.rpc.serve import RpcServer, serve_rpc
from server.service import RetrievalService
from server.settings import ServerSettings
from vireid import bundle as bundles
from vireid.engines import tensorrt
from vireid.engines.base import Engine
from vireid.engines.choice import AUTO, Choice, alone
from vireid.engines.fake import FakeEngine
from vireid.engines.plans import default_folder
from vireid.engines.stand_in import StandIn
from vireid.engines.tensorrt import Choices
from vireid.errors import SettingsError
from vireid.images.preprocess import Preprocess

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
BACKLOG = 512
# on a CPU, small networks leave the cache when many images run at once: batches of 4 cost 5 % more an image
LARGEST_BATCH = {"cpu": 2, "cuda": 32}

Ready = Callable[["Server"], Awaitable[None]]


class Server:
    """A server with its ports bound, not answering yet.

    Args:
        settings: what it is started with.

    Raises:
        BundleError: the bundle is missing or corrupt.
        EngineError: the engine asked for is not there, does not run here, or was not proven.
        SettingsError: a port is taken, or a key is needed.
        StorageError: the data folder cannot be used.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._keys: Authenticator = authenticator(settings)
        self._metrics = Metrics()
        self._version = version("vireid")
        engines, choice, manifest, preprocess, self._rebuild = _engines(settings)
        first = engines[0]
        BACKENDS[settings.backend](first.dim)  # what is not there is said now, and its loops are compiled
        store = GalleryStore(settings.data, first.space_id, first.dim, settings.backend)
        try:
            self._socket = _bind(settings.host, settings.http_port)
        except SettingsError:
            store.close()
            raise
        self._expiry = Expiry(store)
        self.board = JobBoard(settings.max_jobs)
        self._engines, self._choice = engines, choice
        self._batcher = Batcher(engines, settings.max_batch or _largest_batch(first.info.device))
        self.service = RetrievalService(
            manifest=manifest,
            choice=choice,
            preprocess=preprocess,
            batcher=self._batcher,
            admission=Admission(settings.queue_limit, len(engines), self._metrics),
            store=store,
            metrics=self._metrics,
            timeout_s=settings.timeout_s,
            exact=settings.backend not in APPROXIMATE,
            building=self._building,
        )

    @property
    def http_address(self) -> str:
        """Where the page and the HTTP API are."""
        return f"http://{self._host}:{self._socket.getsockname()[1]}"

    @property
    def grpc_address(self) -> str:
        """Where gRPC is, once the server runs."""
        return f"{self._host}:{self._rpc.port}"

    @property
    def _host(self) -> str:
        return f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host

    async def run(self, ready: Ready) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Args:
            ready: awaited once both transports answer.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._expiry.start()
        if self._rebuild is not None:
            self._rebuild.start(self._take)
        try:
            self._rpc: RpcServer = serve_rpc(
                self.service, self.board, self.settings, self._keys, self._metrics, self._version
            )
            await self.service.check_ready()
            http = self._http()
            serving = asyncio.create_task(http.serve([self._socket]))
            await self._rpc.start()
            ended, answering = (asyncio.create_task(event.wait()) for event in (stop, http.answering))
            await asyncio.wait({ended, serving, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await ready(self)
                await asyncio.wait({ended, serving}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            answering.cancel()
            log.info("draining: no new work, at most %.0f s for what runs", self.settings.drain_s)
            await self._drain(http, serving)
        finally:
            if self._rebuild is not None:
                await asyncio.to_thread(self._rebuild.stop)
            self._expiry.stop()
            self.service.close()
            self._socket.close()

    def _building(self) -> Mapping[str, Any] | None:
        return None if self._rebuild is None else self._rebuild.told.as_json()

    def _take(self, engine: Engine) -> str:
        """Let an engine whose plan was built serve from now on; say why not if it does not."""
        now = self._choice
        if self.settings.engine == AUTO and (slower := rebuild.slower(engine, now)):
            return slower
        for stand_in in self._engines:
            if isinstance(stand_in, StandIn):
                stand_in.become(engine)
        self._batcher.allow(self.settings.max_batch or _largest_batch(engine.info.device))
        assert self._rebuild is not None
        self.service.use(rebuild.successor(now, self._rebuild.told.engine, engine))
        return ""

    async def _drain(self, http: "_Http", serving: "asyncio.Task[None]") -> None:
        self.service.drain()
        await self._rpc.drain()
        await self.board.drain()
        http.should_exit = True
        await asyncio.gather(serving, self._rpc.stop(self.settings.drain_s))

    def _http(self) -> "_Http":
        app = create_app(
            service=self.service,
            board=self.board,
            metrics=self._metrics,
            authenticator=self._keys,
            max_upload_bytes=self.settings.max_upload_bytes,
            hosts=(*LOOPBACK_HOSTS, self.settings.host) if is_loopback(self.settings.host) else None,
            version=self._version,
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(self.settings.drain_s)),
            backlog=BACKLOG,
        )
        return _Http(config)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a server's coroutine to its end, on uvloop where that is installed."""
    if find_spec("uvloop") is None:
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


class _Http(uvicorn.Server):
    """Uvicorn without signal handlers of its own (one drain for both transports) that says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _engines(
    settings: ServerSettings,
) -> tuple[Sequence[Engine], Choice, bundles.Manifest | None, Preprocess, Rebuild | None]:
    workers = settings.workers or len(os.sched_getaffinity(0))
    if settings.bundle == "fake":
        fake = FakeEngine()
        stand_in = alone("fake", "a stand-in without a model was asked for", fake)
        return stand_in.for_workers(workers), stand_in, None, Preprocess(*fake.input_size), None
    bundle = bundles.open_named(settings.bundle)
    kept = Choices(
        folder=settings.engine_cache or default_folder(),
        flavour=settings.tensorrt,
        allow_unproven=settings.allow_unproven,
    )
    lacking = rebuild.missing(bundle, settings.engine, settings.device, kept)
    choice = rebuild.choose(bundle, settings.engine, settings.device, kept, lacking)
    log.info("engine %s: %s", choice.name, choice.reason)
    for other in choice.not_taken:
        log.info("engine %s not taken: %s", other.name, other.reason)
    if not choice.proven:
        log.warning(
            "engine %s was not proven: what it finds may differ from what the model finds", choice.name
        )
    engines = choice.for_workers(workers)
    if lacking is None:
        return engines, choice, bundle.manifest, bundle.preprocess, None
    part = lacking.part
    build = Rebuild(
        lacking,
        rebuild.command(bundle, part, kept),
        lambda: tensorrt.open_engine(bundle, part.file, part.precision, kept),
    )
    return [StandIn(engine) for engine in engines], choice, bundle.manifest, bundle.preprocess, build


def _largest_batch(device: str) -> int:
    return LARGEST_BATCH[device.partition(":")[0]]


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio knows it for TCP and sends at once; else each answer waits 40 ms for an ACK
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"cannot listen for HTTP on {host}:{port}: {error.strerror}; stop what uses it, or choose another "
            "--http-port (0 takes any free one)",
            reason="PORT_TAKEN",
        ) from None
    return bound
