"""Every error of ours reaches the caller whole, and nothing of our inside does."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clients.rpc_failures import error_of
from server import status
from server.rpc import serve
from vireid.errors import (
    EngineError,
    GalleryExists,
    GalleryMismatch,
    GalleryNotFound,
    ImageTooLarge,
    InvalidRequest,
    Overloaded,
    StorageError,
    Unavailable,
    VireidError,
)
from vireid.proto import retrieval_pb2 as pb

SEARCH = "/vireid.v1.RetrievalService/Search"
REQUEST = pb.SearchRequest(gallery="g", query=pb.ImageInput(data=b"x"))


async def _failed(running: Any, request: Any = REQUEST, **options: Any) -> grpc.aio.AioRpcError:
    method = running.method(SEARCH, pb.SearchRequest, pb.SearchResponse)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(request, timeout=5, **options)
    return caught.value


def _details(error: grpc.aio.AioRpcError) -> list[Any]:
    data = dict(error.trailing_metadata())["grpc-status-details-bin"]
    found = []
    for detail in status_pb2.Status.FromString(data).details:
        message = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])()
        assert detail.Unpack(message)
        found.append(message)
    return found


ERRORS = [
    InvalidRequest("top_k is 0; expected 1 to 1000", field="top_k", reason="TOP_K_OUT_OF_RANGE"),
    ImageTooLarge("9 bytes", metadata={"limit": "8", "actual": "9"}),
    GalleryNotFound("no gallery 'g'", metadata={"gallery": "g"}),
    GalleryExists("there is a gallery 'g'"),
    GalleryMismatch("another bundle"),
    Overloaded("the queue is full", retry_after_s=1.5),
    Unavailable("draining", retry_after_s=3.0),
    StorageError("the disk is full"),
    StorageError("the disk refuses", reason="DISK_REFUSES"),
    StorageError("another program holds it", reason="GALLERY_BUSY"),
]


@pytest.mark.parametrize("raised", ERRORS, ids=lambda error: type(error).__name__)
async def test_comes_back_as_it_was_raised(serving: Any, raised: VireidError) -> None:
    async with serving() as running:
        running.service.raises = raised
        failed = await _failed(running)
    assert failed.code().name == status.grpc_status(raised)
    back = error_of(failed, "here")
    assert (back.message, back.stable_reason, back.metadata) == (
        raised.message, raised.stable_reason, raised.metadata,
    )  # fmt: skip
    assert type(back) is type(raised)
    assert getattr(back, "field", None) == getattr(raised, "field", None)
    assert getattr(back, "retry_after_s", None) == getattr(raised, "retry_after_s", None)


async def test_details_are_googles(serving: Any) -> None:
    async with serving() as running:
        running.service.raises = ERRORS[0]
        info, bad = _details(await _failed(running))
        assert (info.reason, info.domain) == ("TOP_K_OUT_OF_RANGE", "vireid")
        assert bad.field_violations[0].field == "top_k"
        running.service.raises = ERRORS[2]
        _, resource = _details(await _failed(running))
        assert (resource.resource_type, resource.resource_name) == ("gallery", "g")
        running.service.raises = ERRORS[5]
        _, retry = _details(await _failed(running))
        assert retry.retry_delay.ToMilliseconds() == 1500


@pytest.mark.parametrize("raised", [EngineError("secret path /models/x"), RuntimeError("secret token")])
async def test_nothing_of_the_inside_gets_out(
    serving: Any, raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as running:
        running.service.raises = raised
        with caplog.at_level(logging.ERROR):
            failed = await _failed(running, metadata=(("x-request-id", "call-17"),))
    assert failed.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in repr(failed.details()) + repr(failed.trailing_metadata())
    assert "call-17" in failed.details()
    assert "secret" in caplog.text
    assert "call-17" in caplog.text


async def test_trailers_stay_small(serving: Any) -> None:
    async with serving() as running:
        running.service.raises = InvalidRequest(
            "x" * 50_000, field="f", metadata={f"k{i}": "v" * 5000 for i in range(100)}
        )
        failed = await _failed(running)
    assert sum(len(key) + len(value) for key, value in failed.trailing_metadata()) < 8000


@pytest.mark.parametrize(("length", "told"), [(1023, 1023), (1024, 1024), (1025, 1024), (4000, 1024)])
async def test_a_message_is_cut_where_it_is_too_long(serving: Any, length: int, told: int) -> None:
    message = "".join(chr(97 + at % 26) for at in range(length))
    async with serving() as running:
        running.service.raises = InvalidRequest(message)
        failed = await _failed(running)
    assert failed.details() == message[:told]


async def test_calls_beyond_the_most_are_refused_and_the_others_answered(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "MOST_CALLS", 3)
    async with serving() as running:
        running.service.takes_s = 0.5
        search = running.method(SEARCH, pb.SearchRequest, pb.SearchResponse)
        inside = [asyncio.ensure_future(search(REQUEST, timeout=5)) for _ in range(3)]
        await running.service.reached("begun", 3)
        failed = await _failed(running)
        assert failed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [len((await call).hits) for call in inside] == [1, 1, 1]
        assert len(running.service.asked) == 3
        assert (await search(REQUEST, timeout=5)).hits


async def test_bytes_that_are_no_message(serving: Any) -> None:
    async with serving() as running:
        method = running.channel.unary_unary(SEARCH)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(b"\xff\xff\xff", timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_of(caught.value, "here").stable_reason == "INVALID_REQUEST"


async def test_a_message_over_the_limit_is_named(serving: Any) -> None:
    async with serving() as running:
        big = pb.SearchRequest(gallery="g", query=pb.ImageInput(data=b"x" * (17 * 1024 * 1024)))
        failed = await _failed(running, big)
        assert failed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_of(failed, "here").stable_reason == "BODY_TOO_LARGE"
        assert running.service.asked == []
        running.service.raises = None
        fine = running.method(SEARCH, pb.SearchRequest, pb.SearchResponse)
        assert (await fine(REQUEST, timeout=5)).hits


async def test_an_unknown_method(serving: Any) -> None:
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.channel.unary_unary("/vireid.v1.RetrievalService/Teleport")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_every_answer_is_counted(serving: Any) -> None:
    def count(code: str) -> float:
        found = running.metrics.registry.get_sample_value(
            "vireid_requests_total", {"method": "Search", "code": code}
        )
        return found or 0.0

    async with serving() as running:
        await running.method(SEARCH, pb.SearchRequest, pb.SearchResponse)(REQUEST, timeout=5)
        running.service.raises = GalleryNotFound("no gallery 'g'")
        await _failed(running)
        running.service.raises, running.service.takes_s = None, 30.0
        call = running.method(SEARCH, pb.SearchRequest, pb.SearchResponse)(REQUEST)
        await running.service.reached("begun", 3)
        call.cancel()
        await running.service.reached("cancelled", 1)
    assert (count("OK"), count("NOT_FOUND"), count("CANCELLED")) == (1, 1, 1)
