"""The service's questions and answers as messages, both ways.

The words shared with the clients are converted in ``vireid.proto.convert``; here is what only a server says, arrays
included. Knows no channel and no service.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import numpy as np

from index.limits import check_values
from server import ranking
from server.answers import (
    Embedded,
    ImageQuery,
    ItemQuery,
    PutAnswer,
    Query,
    SearchAnswer,
    SearchRequest,
    Timing,
    Together,
    VectorQuery,
    Warned,
)
from vireid.errors import InvalidRequest
from vireid.evaluation.protocol import Rerank
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Filter

DEFAULT_TOP_K = 10

Word = TypeVar("Word")

_OUTCOMES = {
    "created": pb.PutItemResponse.OUTCOME_CREATED,
    "replaced": pb.PutItemResponse.OUTCOME_REPLACED,
    "unchanged": pb.PutItemResponse.OUTCOME_UNCHANGED,
}
_WAYS: dict[int, Literal["mean", "best"]] = {
    pb.Together.BY_UNSPECIFIED: "mean",
    pb.Together.BY_MEAN: "mean",
    pb.Together.BY_BEST: "best",
}

_FILTERED = ("camera_ids", "exclude_camera_ids", "modalities", "person_ids", "exclude_item_ids", "attributes")


def image_query_of(message: pb.ImageInput, field: str) -> ImageQuery:
    """Read an image that is to be embedded.

    Args:
        message: the input.
        field: its place in the request, for errors.

    Raises:
        InvalidRequest: it carries no image bytes, or an unknown modality.
    """
    source = message.WhichOneof("source")
    if source not in {None, "data"}:
        raise InvalidRequest(f"{field} holds {source}; expected an image in data", field=f"{field}.data")
    if not message.data:
        raise InvalidRequest(
            f"{field} is empty; send the bytes of a JPEG, PNG or WebP image in data",
            field=f"{field}.data",
            reason="BODY_EMPTY",
        )
    return ImageQuery(message.data, convert.modality_of(message.modality, f"{field}.modality"))


def query_of(message: pb.ImageInput, field: str = "query") -> Query:
    """Read what to search with.

    Args:
        message: the query.
        field: its place in the request, for errors.

    Raises:
        InvalidRequest: it holds nothing, a broken embedding, or an unknown modality.
    """
    source = message.WhichOneof("source")
    if source == "item_id":
        return ItemQuery(message.item_id)
    if source == "embedding":
        return VectorQuery(
            vector=np.asarray(
                convert.floats_of(message.embedding.f32_le, f"{field}.embedding.f32_le"), dtype=np.float32
            ),
            space_id=message.embedding.space_id,
            modality=convert.known_modality_of(message.modality, f"{field}.modality"),
        )
    return image_query_of(message, field)


def search_request_of(message: pb.SearchRequest, timeout_s: float | None) -> SearchRequest:
    """Read a search.

    Raises:
        InvalidRequest: the query or filter is malformed.
    """
    return SearchRequest(
        gallery=message.gallery,
        query=query_of(message.query),
        top_k=message.top_k if message.HasField("top_k") else DEFAULT_TOP_K,
        min_score=message.min_score if message.HasField("min_score") else None,
        min_probability=message.min_probability if message.HasField("min_probability") else None,
        rerank=rerank_of(message.rerank) if message.HasField("rerank") else None,
        filter=filter_of(message.filter),
        timeout_s=timeout_s,
        one_per_person=message.one_per_person,
        exclude_own_camera=message.exclude_own_camera,
        more_like=tuple(message.more_like),
        less_like=tuple(message.less_like),
        together=_together_of(message.together) if message.HasField("together") else None,
        other_modality_first=message.other_modality_first,
    )


def filter_of(message: pb.Filter) -> Filter:
    """Read a filter.

    Raises:
        InvalidRequest: a modality or time in it is invalid, or a field holds too many values.
    """
    for name in _FILTERED:
        check_values(len(getattr(message, name)), f"filter.{name}")
    return convert.filter_of(message)


def _together_of(message: pb.Together) -> Together:
    if message.by not in _WAYS:
        raise InvalidRequest(
            f"found together.by {message.by}; expected BY_MEAN or BY_BEST", field="together.by"
        )
    queries = tuple(query_of(one, f"together.queries[{at}]") for at, one in enumerate(message.queries))
    return Together(queries, tuple(message.weights), _WAYS[message.by])


def search_response_to(answer: SearchAnswer) -> pb.SearchResponse:
    """Write ranked hits and how they were found."""
    return pb.SearchResponse(
        hits=[convert.hit_to(hit) for hit in answer.hits],
        query_modality=convert.modality_to(answer.modality),
        modality_confidence=answer.confidence,
        warnings=_warnings_to(answer.warnings),
        coverage=pb.Coverage(
            items_total=answer.items_total,
            items_searched=answer.items_searched,
            exact=answer.exact,
            degraded=answer.items_lost > 0,
            items_lost=answer.items_lost,
        ),
        timing=timing_to(answer.timing),
        space_id=answer.space_id,
        gallery_version=answer.gallery_version,
        centring=answer.centring,
    )


def embed_result_to(embedded: Embedded, space_id: str) -> pb.EmbedResult:
    """Write one embedding."""
    return pb.EmbedResult(
        embedding=pb.Embedding(space_id=space_id, f32_le=embedded.vector.astype("<f4", copy=False).tobytes()),
        modality=convert.modality_to(embedded.modality),
        modality_confidence=embedded.confidence,
        warnings=_warnings_to(embedded.warnings),
    )


def put_response_to(answer: PutAnswer) -> pb.PutItemResponse:
    """Write an item after it was put."""
    return pb.PutItemResponse(
        item=convert.item_to(answer.item),
        outcome=_OUTCOMES[answer.outcome],
        timing=timing_to(answer.timing),
    )


def timing_to(timing: Timing) -> pb.ServerTiming:
    """Write the seconds of each stage."""
    return pb.ServerTiming(
        queue=convert.duration_to(timing.queue_s),
        decode=convert.duration_to(timing.decode_s),
        infer=convert.duration_to(timing.infer_s),
        search=convert.duration_to(timing.search_s),
        rerank=convert.duration_to(timing.rerank_s),
        total=convert.duration_to(timing.total_s),
        batch_size=timing.batch_size,
        device=timing.device,
    )


def slowest(timings: Iterable[Timing], total_s: float) -> Timing:
    """Sum up answers that were made side by side: each stage's longest, and the time of all together."""
    known = list(timings)
    if not known:
        return Timing(total_s=total_s)
    return Timing(
        queue_s=max(timing.queue_s for timing in known),
        decode_s=max(timing.decode_s for timing in known),
        infer_s=max(timing.infer_s for timing in known),
        total_s=total_s,
        batch_size=max(timing.batch_size for timing in known),
        device=known[0].device,
    )


def one_of(number: int, known: Mapping[int, Word], field: str) -> Word:
    """Read a word that is a number on the wire.

    Raises:
        InvalidRequest: a number this version does not know.
    """
    if number not in known:
        raise InvalidRequest(
            f"{field} is {number}; expected one of {', '.join(f'{n} ({word})' for n, word in known.items())}",
            field=field,
        )
    return known[number]


def rerank_of(message: pb.Rerank) -> Rerank:
    """Read how answers are re-ranked.

    Raises:
        InvalidRequest: the numbers do not fit together.
    """
    given = {name: getattr(message, name) for name in ("k1", "k2", "weight") if message.HasField(name)}
    if "weight" in given:
        given["weight"] = float(str(np.float32(given["weight"])))  # as it was meant, 0.3 and not 0.30000001
    return ranking.parameters(message.candidates, **given)


def _warnings_to(warnings: Iterable[Warned]) -> list[pb.ServiceWarning]:
    return [pb.ServiceWarning(code=warning.code, message=warning.message) for warning in warnings]
