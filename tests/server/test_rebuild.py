"""A plan built beside a running server: what is told meanwhile, what comes of it, and that no request is lost."""

import asyncio
import json
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from server import app, rebuild
from server.app import Server
from server.rebuild import Missing, Rebuild
from server.settings import ServerSettings
from tests.export.test_to_tensorrt import DIM, HEIGHT, WIDTH, network
from tests.server.test_app import picture
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine, tensorrt
from vireid.engines.base import Engine, EngineInfo
from vireid.engines.choice import Choice, NotTaken
from vireid.engines.fake import FakeEngine
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_driver import Gpu
from vireid.errors import EngineError, ProviderUnavailable

PATIENCE_S = 30.0
PART = EnginePart(runtime="tensorrt", precision="fp16", file="model.onnx")
LACKING = Missing(PART, "no plan of this graph")


def script(words: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(words)]


def small(folder: Path) -> Bundle:
    """A bundle of a small network, proven when it was exported."""
    words: dict[str, Any] = {
        "name": "small",
        "method": "none",
        "model": {"opset": 18, "dim": DIM},
        "preprocess": {"height": HEIGHT, "width": WIDTH, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "parity": {"passed": True},
        "files": {},
    }
    manifest = bundles.Manifest.model_validate(words)
    return bundles.read(bundles.write(folder / "small.zip", manifest, {"model.onnx": network()}))


GOOD = """
    print("words for people")
    print('{"stage": "building", "done": 0.25}')
    print('{"other": 1}')
    print('{"stage": "proving", "done": 0.5}', flush=True)
"""


class Taken:
    """Remembers what was handed over, and says why it does not serve."""

    def __init__(self, against: str = "") -> None:
        self.engines: list[Engine] = []
        self.against = against
        self.done = threading.Event()

    def __call__(self, engine: Engine) -> str:
        self.engines.append(engine)
        self.done.set()
        return self.against


def ended(build: Rebuild) -> rebuild.Told:
    """Wait until a build came to an end."""
    until = time.monotonic() + PATIENCE_S
    while build.told.state == "building_engine":
        assert time.monotonic() < until, build.told
        time.sleep(0.01)
    return build.told


# ---- the build --------------------------------------------------------------------
def test_a_plan_that_was_built_is_opened_and_handed_over() -> None:
    engine, taken = FakeEngine(), Taken()
    build = Rebuild(LACKING, script(GOOD), lambda: engine)
    assert build.told.state == "building_engine"
    assert build.told.reason == "no plan of this graph"
    build.start(taken)
    told = ended(build)
    assert taken.engines == [engine]
    assert (told.engine, told.state) == ("tensorrt-fp16", "switched")
    assert (told.stage, told.done) == ("proving", 0.5)
    assert json.dumps(told.as_json())
    build.stop()


def test_progress_is_told_while_it_is_built() -> None:
    build = Rebuild(
        LACKING,
        script("""
            import sys
            print('{"stage": "building", "done": 0.4}', flush=True)
            import time; time.sleep(60)
        """),
        FakeEngine,
    )
    build.start(Taken())
    until = time.monotonic() + PATIENCE_S
    while build.told.done != 0.4:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert build.told.state == "building_engine"
    began = time.monotonic()
    build.stop()
    assert time.monotonic() - began < 5
    assert build.told.state == "building_engine"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("import sys; sys.exit('the graph is refused: UInt8')", "status 1: the graph is refused: UInt8"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9: it said nothing"),
        ("import os; os._exit(7)", "status 7: it said nothing"),
    ],
)
def test_a_build_that_fails_is_told_and_nothing_is_taken(words: str, match: str) -> None:
    taken = Taken()
    build = Rebuild(LACKING, script(words), FakeEngine)
    build.start(taken)
    told = ended(build)
    assert told.state == "build_failed"
    assert match in told.reason
    assert taken.engines == []
    build.stop()


def test_a_build_that_cannot_be_started() -> None:
    build = Rebuild(LACKING, ["/no/such/program"], FakeEngine)
    build.start(Taken())
    assert "cannot be started" in ended(build).reason
    build.stop()


def test_a_build_that_takes_too_long_is_ended() -> None:
    build = Rebuild(LACKING, script("import time; time.sleep(60)"), FakeEngine, limit_s=0.3)
    build.start(Taken())
    told = ended(build)
    assert (told.state, told.reason) == ("build_failed", "the build was ended after 0 s")
    assert told.seconds < 20
    build.stop()


@pytest.mark.parametrize("error", [EngineError("the plan is refused"), MemoryError("all gone")])
def test_a_plan_that_does_not_open(error: Exception) -> None:
    def refuse() -> Engine:
        raise error

    taken = Taken()
    build = Rebuild(LACKING, script(GOOD), refuse)
    build.start(taken)
    told = ended(build)
    assert told.state == "build_failed"
    assert str(error) in told.reason
    assert taken.engines == []
    build.stop()


def test_an_engine_that_opens_after_the_end_is_not_taken() -> None:
    opening, going_on = threading.Event(), threading.Event()

    def slow() -> Engine:
        opening.set()
        assert going_on.wait(PATIENCE_S)
        return FakeEngine()

    taken = Taken()
    build = Rebuild(LACKING, script(GOOD), slow)
    build.start(taken)
    assert opening.wait(PATIENCE_S)
    ending = threading.Thread(target=build.stop)
    ending.start()
    until = time.monotonic() + PATIENCE_S
    while not build._stopped.is_set():
        assert time.monotonic() < until
    going_on.set()
    ending.join(PATIENCE_S)
    assert taken.engines == []


def test_an_engine_that_is_not_taken_says_why() -> None:
    build = Rebuild(LACKING, script(GOOD), FakeEngine)
    build.start(Taken("it is slower here"))
    told = ended(build)
    assert (told.state, told.reason) == ("not_taken", "it is slower here")
    build.stop()


def test_the_command_is_one_that_there_is(tmp_path: Path) -> None:
    from typer.main import get_command

    from export.tensorrt_command import app as exporting

    bundle = bundles.read(bundles.default_path())
    words = rebuild.command(bundle, PART, Choices(folder=tmp_path))
    assert words[3:5] == ["export", "tensorrt"]
    context = get_command(exporting).make_context("tensorrt", words[5:])
    assert context.params["path"] == bundle.path
    assert context.params["plan_only"] is True
    assert context.params["progress_lines"] is True
    assert context.params["cache"] == tmp_path


def test_the_real_command_builds_a_plan_and_tells_how_it_goes(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")
    choices = Choices(folder=tmp_path / "plans", flavour="tensorrt_rtx")
    part = PART.model_copy(update={"precision": "fp32"})
    taken = Taken()
    build = Rebuild(LACKING, rebuild.command(small(tmp_path), part, choices), FakeEngine)
    build.start(taken)
    told = ended(build)
    assert told.state == "switched", told
    assert told.done == 1.0
    assert len(list(choices.folder.glob("*.plan"))) == 1


# ---- which plan is missing ------------------------------------------------------------
class FakeDriver:
    gpu = Gpu("NVIDIA Test", "9.0", "13.3")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A small bundle with two engines for TensorRT."""
    fp32 = PART.model_copy(update={"precision": "fp32"})
    path = bundles.with_engine(small(tmp_path), fp32, {}, tmp_path / "with.zip")
    return bundles.read(bundles.with_engine(bundles.read(path), PART, {}, path))


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What looking for a plan comes to, by precision; found where nothing is said."""
    found: dict[str, str] = {}

    def find(_bundle: Any, _file: str, precision: str, *_: Any) -> None:
        if precision in found:
            raise EngineError(f"the {precision} plan is not here", reason=found[precision])

    monkeypatch.setattr(rebuild.tensorrt, "find", find)
    return found


def looked(bundle: Bundle, wish: str = "auto", device: str = "auto") -> Missing | None:
    return rebuild.missing(bundle, wish, device, Choices(), lambda: FakeDriver())  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("reason", ["PLAN_MISSING", "PLAN_MISMATCH", "ENGINE_UNPROVEN"])
def test_what_is_missing_is_built(bundle: Bundle, reasons: dict[str, str], reason: str) -> None:
    reasons.update(fp16=reason, fp32=reason)
    found = looked(bundle)
    assert found is not None
    assert (found.part.name, found.reason) == ("tensorrt-fp16", "the fp16 plan is not here")
    named = looked(bundle, "tensorrt-fp32")
    assert named is not None
    assert named.part.name == "tensorrt-fp32"


def test_nothing_is_built_where_no_build_helps(bundle: Bundle, reasons: dict[str, str]) -> None:
    reasons.update(fp16="PLAN_MISSING", fp32="PLAN_MISSING")
    assert looked(bundle, device="cpu") is None
    assert looked(bundle, "onnxruntime-fp32") is None
    assert looked(bundles.read(bundles.default_path())) is None

    def none() -> Any:
        raise ProviderUnavailable("no driver")

    assert rebuild.missing(bundle, "auto", "auto", Choices(), none) is None
    del reasons["fp32"]  # one plan is there: it serves
    assert looked(bundle) is None
    reasons.update(fp16="PLAN_UNTRUSTED", fp32="PLAN_MISSING")
    assert looked(bundle, "tensorrt-fp16") is None


def test_what_stands_in_says_so(bundle: Bundle) -> None:
    for wish, device in (("tensorrt-fp16", "cuda"), ("auto", "auto")):
        found = rebuild.choose(bundle, wish, device, Choices(), LACKING)
        assert found.name == "onnxruntime-fp32"
        assert found.reason.startswith("until the plan of tensorrt-fp16 is built here: ")
        assert {one.name for one in found.not_taken} == {"tensorrt-fp16", "tensorrt-fp32"}


def test_a_successor_tells_who_stood_in() -> None:
    now = Choice(
        "onnxruntime-fp32", "", True, (NotTaken("tensorrt-fp16", "no plan"),), FakeEngine(), FakeEngine
    )
    engine = FakeEngine()
    after = rebuild.successor(now, "tensorrt-fp16", engine)
    assert (after.name, after.proven, after.engine) == ("tensorrt-fp16", True, engine)
    assert [one.name for one in after.not_taken] == ["onnxruntime-fp32"]


# ---- the whole server ---------------------------------------------------------------------
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


Serve = Callable[..., Server]


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
            while not pathlib.Path({str(gate)!r}).exists():
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
            await asyncio.to_thread(gate.touch)
            seen["after"] = await until(info, lambda one: one["building"]["state"] != "building_engine")
            await until(lambda: asyncio.sleep(0, len(built.batches)), lambda count: bool(count >= 5))
            over.set()
            await asyncio.gather(*asking)
            seen["ready after"] = (await client.get("/readyz")).json()
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


def test_plans_are_opened_by_the_servers_choices(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices(folder=Path("/somewhere"))
    given: list[Any] = []
    monkeypatch.setattr(rebuild.tensorrt, "open_engine", lambda *words: given.append(words) or FakeEngine())
    opened = rebuild.opener(choices)
    opened(bundle, PART, "auto", "blocked")
    assert given == [(bundle, "model.onnx", "fp16", choices)]
    with pytest.raises(ProviderUnavailable, match="the cpu was asked for"):
        opened(bundle, PART, "cpu", "blocked")
    assert opened(bundle, None, "cpu", "plain").info.provider == "CPUExecutionProvider"
    assert tensorrt.UNPROVEN in rebuild.MENDED
