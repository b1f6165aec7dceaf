"""Embed and Search on the wire: order, item errors, deadlines, cancellation."""

from typing import Any

import grpc
import numpy as np
import pytest

from server.answers import ItemQuery, Together, VectorQuery
from server.rpc import messages
from vireid.errors import InvalidRequest, Overloaded
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Filter, Modality

SEARCH = ("/vireid.v1.RetrievalService/Search", pb.SearchRequest, pb.SearchResponse)
EMBED = ("/vireid.v1.RetrievalService/Embed", pb.EmbedRequest, pb.EmbedResponse)


def _images(*images: bytes) -> pb.EmbedRequest:
    return pb.EmbedRequest(inputs=[pb.ImageInput(data=image) for image in images])


async def test_search_carries_every_field_both_ways(serving: Any) -> None:
    async with serving() as running:
        reply = await running.method(*SEARCH)(
            pb.SearchRequest(
                gallery="g",
                query=pb.ImageInput(data=b"jpeg", modality=pb.MODALITY_INFRARED),
                top_k=7,
                min_score=0.25,
                filter=convert.filter_to(Filter(cameras=("1",), modalities=(Modality.VISIBLE,))),
                one_per_person=True,
                other_modality_first=True,
                exclude_own_camera=True,
                more_like=["a", "b"],
                less_like=["c"],
                together=pb.Together(
                    queries=[pb.ImageInput(item_id="d")], weights=[1, 0.5], by=pb.Together.BY_BEST
                ),
            ),
            timeout=5,
        )
    (asked,) = running.service.asked
    assert (asked.gallery, asked.top_k, asked.min_score) == ("g", 7, 0.25)
    assert (asked.query.data, asked.query.modality) == (b"jpeg", Modality.INFRARED)
    assert asked.filter == Filter(cameras=("1",), modalities=(Modality.VISIBLE,))
    assert (asked.one_per_person, asked.exclude_own_camera, asked.other_modality_first) == (True, True, True)
    assert (asked.more_like, asked.less_like) == (("a", "b"), ("c",))
    assert asked.together == Together((ItemQuery("d"),), (1.0, 0.5), "best")
    assert 0 < asked.timeout_s < 5.5
    assert (reply.hits[0].item.item_id, reply.hits[0].score, reply.hits[0].rank) == ("a", 0.5, 1)
    assert (reply.coverage.items_total, reply.coverage.items_searched, reply.gallery_version) == (3, 2, 4)
    assert reply.coverage.exact
    assert reply.query_modality == pb.MODALITY_INFRARED
    assert convert.seconds_of(reply.timing.infer) == pytest.approx(0.003)
    assert reply.timing.device == "cpu/fake"


async def test_what_is_not_said_has_its_default(serving: Any) -> None:
    async with serving() as running:
        await running.method(*SEARCH)(pb.SearchRequest(gallery="g", query=pb.ImageInput(data=b"x")))
    (asked,) = running.service.asked
    assert (asked.top_k, asked.min_score, asked.query.modality, asked.timeout_s) == (10, None, None, None)
    assert asked.filter.is_empty
    assert (asked.one_per_person, asked.exclude_own_camera, asked.more_like, asked.less_like) == (
        False,
        False,
        (),
        (),
    )


async def test_queries_together_are_named_by_their_place(serving: Any) -> None:
    async with serving() as running:
        search = running.method(*SEARCH)
        query = pb.ImageInput(item_id="a")
        await search(
            pb.SearchRequest(
                gallery="g", query=query, together=pb.Together(queries=[pb.ImageInput(item_id="b")])
            )
        )
        for wrong, said in (
            (pb.Together(queries=[query, pb.ImageInput()]), "together.queries[1]"),
            (pb.Together(queries=[query], by=9), "together.by"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await search(pb.SearchRequest(gallery="g", query=query, together=wrong))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert said in refused.value.details()
    (asked,) = running.service.asked
    assert asked.together == Together((ItemQuery("b"),), (), "mean")


async def test_top_k_zero_is_not_the_default(serving: Any) -> None:
    async with serving() as running:
        await running.method(*SEARCH)(pb.SearchRequest(gallery="g", query=pb.ImageInput(data=b"x"), top_k=0))
    assert running.service.asked[0].top_k == 0


async def test_search_by_item_and_by_embedding(serving: Any) -> None:
    vector = pb.Embedding(space_id="s", f32_le=np.asarray([1, 2], dtype="<f4").tobytes())
    async with serving() as running:
        search = running.method(*SEARCH)
        await search(pb.SearchRequest(gallery="g", query=pb.ImageInput(item_id="a")))
        await search(
            pb.SearchRequest(gallery="g", query=pb.ImageInput(embedding=vector, modality=pb.MODALITY_VISIBLE))
        )
    by_item, by_vector = (asked.query for asked in running.service.asked)
    assert by_item == ItemQuery("a")
    assert isinstance(by_vector, VectorQuery)
    assert by_vector.space_id == "s"
    np.testing.assert_array_equal(by_vector.vector, [1, 2])


@pytest.mark.parametrize(
    "query",
    [
        pb.ImageInput(),
        pb.ImageInput(data=b""),
        pb.ImageInput(data=b"x", modality=9),  # type: ignore[arg-type]
        pb.ImageInput(embedding=pb.Embedding(f32_le=b"abc"), modality=pb.MODALITY_VISIBLE),
        pb.ImageInput(embedding=pb.Embedding(f32_le=b"abcd")),
    ],
    ids=["nothing", "no bytes", "unknown modality", "half a float", "embedding without modality"],
)
async def test_a_malformed_query_never_reaches_the_service(serving: Any, query: pb.ImageInput) -> None:
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.method(*SEARCH)(pb.SearchRequest(gallery="g", query=query))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert running.service.asked == []


def test_half_a_float_is_named_where_it_stands() -> None:
    query = pb.ImageInput(embedding=pb.Embedding(f32_le=b"abc"), modality=pb.MODALITY_VISIBLE)
    with pytest.raises(InvalidRequest) as caught:
        messages.query_of(query, "together.queries[2]")
    assert caught.value.field == "together.queries[2].embedding.f32_le"


async def test_embed_answers_in_order_with_errors_in_place(serving: Any) -> None:
    async with serving() as running:
        running.service.takes_s = 0.005
        reply = await running.method(*EMBED)(_images(b"\x05", b"bad", b"\x07", b""))
    firsts = [
        np.frombuffer(result.embedding.f32_le, "<f4")[0]
        if result.HasField("embedding")
        else result.error.reason
        for result in reply.results
    ]
    assert firsts == [5.0, "NOT_AN_IMAGE", 7.0, "BODY_EMPTY"]
    assert reply.results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert reply.results[0].embedding.space_id == running.service.space_id
    assert convert.seconds_of(reply.timing.total) >= 0.005


async def test_one_call_does_not_fill_the_queue(serving: Any) -> None:
    async with serving() as running:
        running.service.takes_s = 0.002
        reply = await running.method(*EMBED)(_images(*[bytes([i + 1]) for i in range(64)]))
    assert len(reply.results) == 64
    assert 1 < running.service.most_at_once <= 8


@pytest.mark.parametrize("count", [0, 65])
async def test_embed_takes_1_to_64(serving: Any, count: int) -> None:
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{count} inputs"):
            await running.method(*EMBED)(_images(*[b"x"] * count))


async def test_a_full_queue_fails_the_call_and_not_an_item(serving: Any) -> None:
    async with serving() as running:
        running.service.raises = Overloaded("full", retry_after_s=1.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.method(*EMBED)(_images(b"a", b"b", b"c"))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_deadline_stops_the_work(serving: Any) -> None:
    async with serving() as running:
        running.service.takes_s = 30.0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.method(*SEARCH)(
                pb.SearchRequest(gallery="g", query=pb.ImageInput(data=b"x")), timeout=0.1
            )
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await running.service.reached("cancelled", 1)
    assert 0 < running.service.asked[0].timeout_s < 0.2


async def test_a_caller_who_leaves_stops_the_work(serving: Any) -> None:
    async with serving() as running:
        running.service.takes_s = 30.0
        call = running.method(*EMBED)(_images(*[b"x"] * 5))
        await running.service.reached("begun", 5)
        call.cancel()  # type: ignore[attr-defined]
        await running.service.reached("cancelled", 5)
