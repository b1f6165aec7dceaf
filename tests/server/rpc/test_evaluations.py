"""``EvaluationService`` on the wire: the stream, its errors, its end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from clients.rpc_failures import error_of
from index.records import Enrolment
from server import evaluations
from server.auth import Authenticator, digest
from server.rpc import serve_rpc
from vireid import errors
from vireid.proto import retrieval_pb2 as pb
from vireid.types import ItemMeta, Modality

PATH = "/vireid.v1.EvaluationService/Evaluate"
PEOPLE = 8


@pytest.fixture
def running(make: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def start(key: str | None = None) -> AsyncIterator[Any]:
        made = make(jobs=1)
        settings: Any = SimpleNamespace(host="127.0.0.1", grpc_port=0)
        keys = Authenticator([] if key is None else [digest(key)])
        rpc = serve_rpc(made.service, made.board, settings, keys, made.metrics, "test")
        await made.service.create_gallery("yard", True)
        _fill(made.service.gallery("yard"))
        await rpc.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}") as channel:
            call = channel.unary_stream(
                PATH,
                request_serializer=pb.EvaluateRequest.SerializeToString,
                response_deserializer=pb.EvaluateProgress.FromString,
            )
            raw = channel.unary_stream(PATH)
            try:
                yield SimpleNamespace(call=call, raw=raw, made=made, rpc=rpc)
            finally:
                await made.board.drain()
                await rpc.stop(0.0)

    return start


def _fill(gallery: Any) -> None:
    random = np.random.default_rng(1)
    batch = []
    for person in range(PEOPLE):
        for modality in Modality:
            vector = random.standard_normal(8)
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            meta = ItemMeta(person=f"p{person}", camera=str(int(modality)))
            item_id = f"{modality.word}-{person}"
            batch.append(Enrolment(item_id, modality, meta, "00" * 32, vector, None, None))
    gallery.enroll(batch)


async def refused(stream: Any) -> errors.VireidError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stream:
            pass
    return error_of(caught.value, "here")


class Slow:
    """A measure that asks, again and again, whether it may go on."""

    def __init__(self) -> None:
        self.steps = 0
        self.ended = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def measure(self, protocol: Any, make: Any, advance: Callable[[int], None]) -> Any:
        try:
            for _ in range(1000):
                advance(0)
                self.steps += 1
                time.sleep(0.01)
            raise AssertionError("nobody stopped it")
        finally:
            self.loop.call_soon_threadsafe(self.ended.set)


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(evaluations, "measure", slow.measure)
    return slow


async def test_progress_and_at_the_end_the_report(running: Any) -> None:
    async with running() as on:
        parts = [part async for part in on.call(pb.EvaluateRequest(gallery="yard"), timeout=20)]
        board = on.made.board
    *before, last = parts
    assert all(not part.HasField("report") for part in before)
    assert (last.done, last.total) == (PEOPLE, PEOPLE)
    assert last.job_id == parts[0].job_id == board.list()[0].job_id
    report = json.loads(last.report.json)
    assert report["trials"][0]["n_query"] == PEOPLE
    assert last.report.csv.splitlines()[1].startswith("gallery/infrared-to-visible,0,8,8,8,")


async def test_every_number_of_the_contract_is_known(running: Any) -> None:
    asked = pb.EvaluateRequest
    async with running() as on:
        for rule in asked.Rule.values():
            for cmc in asked.CmcLevel.values():
                stream = on.call(asked(gallery="yard", rule=rule, cmc=cmc), timeout=20)
                report = json.loads([part async for part in stream][-1].report.json)
                words = asked.Rule.Name(rule), asked.CmcLevel.Name(cmc)
                meant = [word.rpartition("_")[2].lower() for word in words]
                assert report["protocol"]["rule"] == meant[0].replace("unspecified", "none")
                assert report["protocol"]["cmc"] == meant[1].replace("unspecified", "identity")


REFUSALS: dict[str, tuple[pb.EvaluateRequest, type[errors.VireidError], str]] = {
    "gallery": (pb.EvaluateRequest(gallery="nobody"), errors.GalleryNotFound, ""),
    "empty": (pb.EvaluateRequest(), errors.VireidError, ""),
    "asking gallery": (
        pb.EvaluateRequest(gallery="yard", query_gallery="nobody"), errors.GalleryNotFound, "",
    ),
    "candidates": (
        pb.EvaluateRequest(gallery="yard", rerank=pb.Rerank(candidates=0)),
        errors.InvalidRequest, "rerank.candidates",
    ),
    "neighbours": (
        pb.EvaluateRequest(gallery="yard", rerank=pb.Rerank(candidates=5, k1=0)), errors.InvalidRequest, "rerank",
    ),
    "weight": (
        pb.EvaluateRequest(gallery="yard", rerank=pb.Rerank(candidates=5, weight=float("nan"))),
        errors.InvalidRequest, "rerank",
    ),
    "itself": (
        pb.EvaluateRequest(gallery="yard", query_modality=pb.MODALITY_VISIBLE), errors.EvaluationError, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusals(case: str, running: Any) -> None:
    request, kind, field = REFUSALS[case]
    async with running() as on:
        error = await refused(on.call(request, timeout=20))
        assert isinstance(error, kind)
        assert getattr(error, "field", "") == field
        assert len(error.message) > 15


@pytest.mark.parametrize("field", [5, 6, 3, 4])
async def test_numbers_of_a_later_contract(field: int, running: Any) -> None:
    data = pb.EvaluateRequest(gallery="yard").SerializeToString() + bytes([field << 3, 99])
    async with running() as on:
        error = await refused(on.raw(data, timeout=20))
    assert type(error) is errors.InvalidRequest
    assert "99" in error.message


async def test_bytes_that_are_no_message(running: Any) -> None:
    async with running() as on:
        error = await refused(on.raw(b"\xff\xff\xff", timeout=20))
        assert "no message" in error.message


async def test_the_key(running: Any) -> None:
    async with running(key="good") as on:
        assert (await refused(on.call(pb.EvaluateRequest(gallery="yard")))).stable_reason == "NO_CREDENTIALS"
        stream = on.call(pb.EvaluateRequest(gallery="yard"), metadata=(("x-api-key", "good"),), timeout=20)
        assert [part async for part in stream][-1].HasField("report")


async def test_a_caller_who_leaves_cancels_the_job(running: Any, slow: Slow) -> None:
    async with running() as on:
        stream = on.call(pb.EvaluateRequest(gallery="yard"))
        first = await stream.read()
        stream.cancel()
        async with asyncio.timeout(10):
            await slow.ended.wait()
            assert await on.made.board.ended(first.job_id, 10)
        assert on.made.board.get(first.job_id).state == "cancelled"


async def test_a_deadline_cancels_the_job(running: Any, slow: Slow) -> None:
    async with running() as on:
        error = await refused(on.call(pb.EvaluateRequest(gallery="yard"), timeout=0.3))
        assert isinstance(error, errors.DeadlineExceeded)
        async with asyncio.timeout(10):
            await slow.ended.wait()


async def test_too_many_at_a_time(running: Any, slow: Slow) -> None:
    async with running() as on:
        stream = on.call(pb.EvaluateRequest(gallery="yard"))
        await stream.read()
        error = await refused(on.call(pb.EvaluateRequest(gallery="yard"), timeout=10))
        assert isinstance(error, errors.Overloaded)
        assert error.stable_reason == "JOBS_FULL"
        stream.cancel()


async def test_a_server_that_drains_says_so(running: Any, slow: Slow) -> None:
    async with running() as on:
        parts = aiter(on.call(pb.EvaluateRequest(gallery="yard")))
        await anext(parts)
        await on.made.board.drain()
        error = await refused(parts)
        assert isinstance(error, errors.Unavailable)
        assert error.stable_reason == "DRAINING"


async def test_a_fault_inside_is_not_told(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(evaluations, "measure", broken)
    async with running() as on:
        error = await refused(on.call(pb.EvaluateRequest(gallery="yard"), timeout=10))
        assert error.stable_reason == "INTERNAL"
        assert "secret" not in error.message


async def test_streams_are_counted(running: Any) -> None:
    async with running() as on:
        assert [part async for part in on.call(pb.EvaluateRequest(gallery="yard"), timeout=20)]
        await refused(on.call(pb.EvaluateRequest(gallery="nobody"), timeout=20))
        counted = on.made.metrics.requests
        assert counted.labels("Evaluate", "OK")._value.get() == 1
        assert counted.labels("Evaluate", "NOT_FOUND")._value.get() == 1
