"""The messages that answer gRPC calls, read into the clients' own values. Knows no channel and no request."""

from collections.abc import Iterable

from google.protobuf.json_format import MessageToDict

from clients import failures
from clients.replies import (
    Embedding,
    Evaluation,
    Facets,
    Page,
    PutReply,
    Receipt,
    SearchReply,
    Timing,
    Warned,
)
from clients.server_info import ServerInfo, info_of
from vireid.errors import InvalidRequest, ServerUnreachable, VireidError
from vireid.proto import convert, trials
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Centring, CentringTrial, GalleryInfo, Snapshot

_OUTCOMES = {
    pb.PutItemResponse.OUTCOME_CREATED: "created",
    pb.PutItemResponse.OUTCOME_REPLACED: "replaced",
    pb.PutItemResponse.OUTCOME_UNCHANGED: "unchanged",
}


def info(message: pb.Info) -> ServerInfo:
    """Read what the server runs."""
    document = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # JSON made of messages has words for numbers of 64 bits
    return info_of(document | {"limits": {name: int(most) for name, most in document["limits"].items()}})


def evaluation(last: pb.EvaluateProgress | None) -> Evaluation:
    """Read the last message of an evaluation."""
    if last is None or not last.HasField("report"):
        raise ServerUnreachable("the server ended the evaluation without a report; is it of this version?")
    return Evaluation(last.report.json, last.report.csv, last.report.html)


def timing(message: pb.ServerTiming) -> Timing:
    """Read the time of each stage."""
    return Timing(
        queue_s=convert.seconds_of(message.queue),
        decode_s=convert.seconds_of(message.decode),
        infer_s=convert.seconds_of(message.infer),
        search_s=convert.seconds_of(message.search),
        rerank_s=convert.seconds_of(message.rerank),
        total_s=convert.seconds_of(message.total),
        batch_size=message.batch_size,
        device=message.device,
    )


def search_reply(message: pb.SearchResponse) -> SearchReply:
    """Read ranked hits and how they were found."""
    return SearchReply(
        hits=tuple(convert.hit_of(hit) for hit in message.hits),
        modality=convert.known_modality_of(message.query_modality, "query_modality"),
        confidence=message.modality_confidence,
        warnings=_warnings(message.warnings),
        items_total=message.coverage.items_total,
        items_searched=message.coverage.items_searched,
        space_id=message.space_id,
        gallery_version=message.gallery_version,
        timing=timing(message.timing),
        exact=message.coverage.exact,
        centring=message.centring,
        items_lost=message.coverage.items_lost,
    )


def embeddings(message: pb.EmbedResponse) -> tuple[Embedding | VireidError, ...]:
    """Read embeddings, an error in place of each that failed."""
    return tuple(_embedded(result) for result in message.results)


def only_embedding(message: pb.EmbedResponse) -> Embedding:
    """Read the one embedding there is, or raise its error."""
    (result,) = embeddings(message)
    if isinstance(result, VireidError):
        raise result
    return result


def _embedded(result: pb.EmbedResult) -> Embedding | VireidError:
    if result.HasField("error"):
        error = result.error
        return failures.rebuild(error.message, reason=error.reason, otherwise=InvalidRequest)
    return Embedding(
        values=convert.floats_of(result.embedding.f32_le),
        space_id=result.embedding.space_id,
        modality=convert.known_modality_of(result.modality),
        confidence=result.modality_confidence,
        warnings=_warnings(result.warnings),
    )


def _warnings(messages: Iterable[pb.ServiceWarning]) -> tuple[Warned, ...]:
    return tuple(Warned(message.code, message.message) for message in messages)


def galleries(message: pb.ListGalleriesResponse) -> tuple[GalleryInfo, ...]:
    """Read the descriptions of galleries."""
    return tuple(convert.gallery_of(gallery) for gallery in message.galleries)


def put_reply(message: pb.PutItemResponse) -> PutReply:
    """Read an item after it was put."""
    return PutReply(
        item=convert.item_of(message.item),
        outcome=_OUTCOMES.get(message.outcome, "unknown"),
        timing=timing(message.timing),
    )


def page(message: pb.ListItemsResponse) -> Page:
    """Read a page of items."""
    return Page(items=tuple(convert.item_of(item) for item in message.items), cursor=message.next_page_token)


def facets(message: pb.Facets) -> Facets:
    """Read how many items there are of each."""
    return Facets(dict(message.cameras), dict(message.modalities), dict(message.hours))


def receipt(message: pb.DeletionReceipt) -> Receipt:
    """Read what a deletion removed."""
    return Receipt(
        items=message.items,
        images=message.images,
        vectors=message.vectors,
        version=message.gallery_version,
        dry_run=message.dry_run,
        snapshots=message.snapshots,
        still_in=message.still_in,
    )


def snapshot(last: pb.SnapshotProgress | None) -> Snapshot:
    """Read the last message of a copy that was made."""
    if last is None or not last.HasField("snapshot"):
        raise ServerUnreachable("the server ended the copy without a snapshot; is it of this version?")
    return convert.snapshot_of(last.snapshot)


def snapshots(message: pb.ListSnapshotsResponse) -> tuple[Snapshot, ...]:
    """Read the descriptions of snapshots."""
    return tuple(convert.snapshot_of(one) for one in message.snapshots)


def centred(last: pb.CentringProgress | None) -> Centring | None:
    """Read the last message of a centring, or of a return: how the gallery is centred now."""
    told = _outcome(last, "centred").centred
    return convert.centring_of(told.centring) if told.HasField("centring") else None


def trial(last: pb.CentringProgress | None) -> CentringTrial:
    """Read the last message of a trial."""
    return trials.trial_of(_outcome(last, "trial").trial)


def _outcome(last: pb.CentringProgress | None, name: str) -> pb.CentringProgress:
    if last is None or last.WhichOneof("outcome") != name:
        raise ServerUnreachable("the server ended the call without an outcome; is it of this version?")
    return last
