"""Every gRPC call as a value: the method, the request, and how its reply is read.

Pure functions, shared by the synchronous and the asynchronous client. Knows no channel.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message

from clients import rpc_replies
from clients.call import Answer, Call, Choices, Image, Progress, Query, Wanted, image_bytes
from clients.replies import (
    Embedding,
    Evaluation,
    Facets,
    ItemRef,
    Page,
    PutReply,
    Receipt,
    SearchReply,
)
from clients.rpc_request import Streamed, unary
from clients.server_info import ServerInfo
from vireid.errors import InvalidRequest, VireidError
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Centring, CentringTrial, Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

RETRIEVAL = "vireid.v1.RetrievalService"
GALLERIES = "vireid.v1.GalleryService"
SNAPSHOTS = "vireid.v1.SnapshotService"
CENTRINGS = "vireid.v1.CentringService"
EVALUATIONS = "vireid.v1.EvaluationService"
INFO = "vireid.v1.InfoService"

Number = TypeVar("Number")

_RULES = {
    "none": pb.EvaluateRequest.RULE_NONE,
    "market": pb.EvaluateRequest.RULE_MARKET,
    "sysu": pb.EvaluateRequest.RULE_SYSU,
}
_CMC = {
    "identity": pb.EvaluateRequest.CMC_LEVEL_IDENTITY,
    "image": pb.EvaluateRequest.CMC_LEVEL_IMAGE,
}


def info() -> Call[ServerInfo]:
    """Ask what the server runs."""
    return unary(f"{INFO}/GetInfo", pb.GetInfoRequest(), pb.Info, rpc_replies.info)


def search(gallery: str, query: Query, wanted: Wanted) -> Call[SearchReply]:
    """Ask for the items most like the query."""
    request = pb.SearchRequest(
        gallery=gallery,
        query=_query_input(query, wanted.modality),
        top_k=_uint32(wanted.top_k, "top_k"),
        min_score=wanted.min_score,
        min_probability=wanted.min_probability,
        rerank=pb.Rerank(candidates=_uint32(wanted.rerank, "rerank")) if wanted.rerank else None,
        filter=convert.filter_to(wanted.where),
        one_per_person=wanted.one_per_person,
        exclude_own_camera=wanted.exclude_own_camera,
        more_like=wanted.more_like,
        less_like=wanted.less_like,
        together=_together(wanted),
        other_modality_first=wanted.other_modality_first,
    )
    return unary(f"{RETRIEVAL}/Search", request, pb.SearchResponse, rpc_replies.search_reply)


def _together(wanted: Wanted) -> pb.Together | None:
    if not wanted.together:
        return None
    return pb.Together(
        queries=[_query_input(query, wanted.modality) for query in wanted.together],
        weights=wanted.weights,
        by=pb.Together.BY_BEST if wanted.best else pb.Together.BY_MEAN,
    )


def embed(image: Image, modality: Modality | None) -> Call[Embedding]:
    """Ask for one image's embedding."""
    request = pb.EmbedRequest(inputs=[_image_input(image, modality)])
    return unary(f"{RETRIEVAL}/Embed", request, pb.EmbedResponse, rpc_replies.only_embedding)


def embed_many(
    images: Sequence[Image], modality: Modality | None
) -> Call[tuple[Embedding | VireidError, ...]]:
    """Ask for the embeddings of some images; an image that fails does not fail the others."""
    request = pb.EmbedRequest(inputs=[_image_input(image, modality) for image in images])
    return unary(f"{RETRIEVAL}/Embed", request, pb.EmbedResponse, rpc_replies.embeddings)


def create_gallery(name: str, *, store_images: bool, retention_s: int) -> Call[GalleryInfo]:
    """Ask for an empty gallery; made twice, the second would find it taken."""
    seconds = _unsigned(retention_s, "retention_s", 64)
    request = pb.CreateGalleryRequest(name=name, store_images=store_images, retention_s=seconds)
    return unary(f"{GALLERIES}/CreateGallery", request, pb.Gallery, convert.gallery_of, repeatable=False)


def get_gallery(name: str) -> Call[GalleryInfo]:
    """Ask for a gallery's description."""
    return unary(f"{GALLERIES}/GetGallery", pb.GetGalleryRequest(name=name), pb.Gallery, convert.gallery_of)


def retain(name: str, seconds: int) -> Call[GalleryInfo]:
    """Ask for a gallery's items to expire so long after their enrolment."""
    request = pb.UpdateGalleryRequest(name=name, retention_s=_unsigned(seconds, "retention_s", 64))
    return unary(f"{GALLERIES}/UpdateGallery", request, pb.Gallery, convert.gallery_of)


def list_galleries() -> Call[tuple[GalleryInfo, ...]]:
    """Ask for every gallery's description."""
    request = pb.ListGalleriesRequest()
    return unary(f"{GALLERIES}/ListGalleries", request, pb.ListGalleriesResponse, rpc_replies.galleries)


def delete_gallery(name: str) -> Call[Receipt]:
    """Ask for a gallery's end; made twice, the second would find it gone."""
    request = pb.DeleteGalleryRequest(name=name)
    return unary(
        f"{GALLERIES}/DeleteGallery", request, pb.DeletionReceipt, rpc_replies.receipt, repeatable=False
    )


def put_item(
    gallery: str,
    item_id: str,
    image: Image,
    *,
    modality: Modality | None,
    meta: ItemMeta,
    expires_at: datetime | None,
) -> Call[PutReply]:
    """Ask for one item to be enrolled."""
    request = pb.PutItemRequest(
        gallery=gallery,
        item=convert.proposed_item(item_id, modality, meta, expires_at),
        image=_image_input(image, modality),
    )
    return unary(f"{GALLERIES}/PutItem", request, pb.PutItemResponse, rpc_replies.put_reply)


def get_item(gallery: str, item_id: str) -> Call[Item]:
    """Ask for an item's description."""
    request = pb.GetItemRequest(gallery=gallery, item_id=item_id)
    return unary(f"{GALLERIES}/GetItem", request, pb.Item, convert.item_of)


def list_items(gallery: str, *, where: Filter, limit: int, cursor: str) -> Call[Page]:
    """Ask for a page of items."""
    request = pb.ListItemsRequest(
        gallery=gallery,
        filter=convert.filter_to(where),
        page_size=_uint32(limit, "limit"),
        page_token=cursor,
    )
    return unary(f"{GALLERIES}/ListItems", request, pb.ListItemsResponse, rpc_replies.page)


def facets(gallery: str, where: Filter) -> Call[Facets]:
    """Ask how many items there are of each camera, modality and hour."""
    request = pb.GetFacetsRequest(gallery=gallery, filter=convert.filter_to(where))
    return unary(f"{GALLERIES}/GetFacets", request, pb.Facets, rpc_replies.facets)


def delete_items(gallery: str, *, item_ids: Sequence[str], where: Filter, dry_run: bool) -> Call[Receipt]:
    """Ask for items to be removed; made twice, the second would find none."""
    request = pb.DeleteItemsRequest(
        gallery=gallery, item_ids=item_ids, filter=convert.filter_to(where), dry_run=dry_run
    )
    return unary(
        f"{GALLERIES}/DeleteItems", request, pb.DeletionReceipt, rpc_replies.receipt, repeatable=dry_run
    )


def snapshot(gallery: str, keep_days: int) -> Call[Snapshot]:
    """Ask for a copy of a gallery; made twice, there would be two."""
    request = pb.CreateSnapshotRequest(gallery=gallery, keep_days=_uint32(keep_days, "keep_days"))
    streamed = Streamed(f"/{SNAPSHOTS}/CreateSnapshot", request, pb.SnapshotProgress, lambda _: None)
    return Call(streamed, rpc_replies.snapshot, repeatable=False)


def list_snapshots(gallery: str) -> Call[tuple[Snapshot, ...]]:
    """Ask for a gallery's snapshots."""
    request = pb.ListSnapshotsRequest(gallery=gallery)
    return unary(f"{SNAPSHOTS}/ListSnapshots", request, pb.ListSnapshotsResponse, rpc_replies.snapshots)


def delete_snapshot(gallery: str, name: str) -> Call[Snapshot]:
    """Ask for a snapshot's end; made twice, the second would find it gone."""
    request = pb.DeleteSnapshotRequest(gallery=gallery, name=name)
    return unary(f"{SNAPSHOTS}/DeleteSnapshot", request, pb.Snapshot, convert.snapshot_of, repeatable=False)


def centre(gallery: str, strength: float, half: bool) -> Call[Centring | None]:
    """Ask for a gallery to be centred, however long it takes; made twice, it would be centred twice."""
    request = pb.CentreGalleryRequest(gallery=gallery, strength=strength, half=half)
    return _centring("CentreGallery", request, rpc_replies.centred, repeatable=False)


def uncentre(gallery: str) -> Call[Centring | None]:
    """Ask for a gallery to be as it was before its last centring; made twice, it would go back further."""
    request = pb.UncentreGalleryRequest(gallery=gallery)
    return _centring("UncentreGallery", request, rpc_replies.centred, repeatable=False)


def try_centring(gallery: str, strength: float, half: bool) -> Call[CentringTrial]:
    """Ask what a centring would bring."""
    request = pb.CentreGalleryRequest(gallery=gallery, strength=strength, half=half)
    return _centring("TryCentring", request, rpc_replies.trial)


def _centring(
    method: str, request: Message, read: Callable[[Any], Answer], *, repeatable: bool = True
) -> Call[Answer]:
    streamed = Streamed(f"/{CENTRINGS}/{method}", request, pb.CentringProgress, lambda _: None)
    return Call(streamed, read, repeatable=repeatable)


def evaluate(gallery: str, choices: Choices, progress: Progress | None) -> Call[Evaluation]:
    """Ask for a labelled gallery to be measured.

    Raises:
        InvalidRequest: a rule or level that the contract does not know.
    """
    request = pb.EvaluateRequest(
        gallery=gallery,
        query_gallery=choices.query_gallery,
        html=choices.html,
        query_modality=convert.modality_to(choices.query_modality),
        gallery_modality=convert.modality_to(choices.gallery_modality),
        rule=_number_of(choices.rule, _RULES, "rule"),
        cmc=_number_of(choices.cmc, _CMC, "cmc"),
        rerank=_rerank(choices) if choices.rerank else None,
    )

    def watch(message: Message) -> None:
        if progress is not None and isinstance(message, pb.EvaluateProgress):
            progress(message.done, message.total)

    streamed = Streamed(f"/{EVALUATIONS}/Evaluate", request, pb.EvaluateProgress, watch)
    return Call(streamed, rpc_replies.evaluation)


def _rerank(choices: Choices) -> pb.Rerank:
    return pb.Rerank(
        candidates=_uint32(choices.rerank, "rerank"),
        k1=None if choices.k1 is None else _uint32(choices.k1, "k1"),
        k2=None if choices.k2 is None else _uint32(choices.k2, "k2"),
        weight=choices.weight,
    )


def _number_of(word: str, known: Mapping[str, Number], field: str) -> Number:
    if word not in known:
        raise InvalidRequest(f"found {field} {word!r}; expected one of {', '.join(known)}", field=field)
    return known[word]


def _uint32(value: int, field: str) -> int:
    return _unsigned(value, field, 32)


def _unsigned(value: int, field: str, bits: int) -> int:
    if not 0 <= value < 2**bits:
        raise InvalidRequest(
            f"{field} is {value}; expected a whole number from 0 to {2**bits - 1}", field=field
        )
    return value


def _query_input(query: Query, modality: Modality | None) -> pb.ImageInput:
    if isinstance(query, ItemRef):
        return pb.ImageInput(item_id=query.item_id)
    if isinstance(query, Embedding):
        vector = pb.Embedding(space_id=query.space_id, f32_le=convert.floats_to(query.values))
        return pb.ImageInput(embedding=vector, modality=convert.modality_to(query.modality))
    return _image_input(query, modality)


def _image_input(image: Image, modality: Modality | None) -> pb.ImageInput:
    return pb.ImageInput(data=image_bytes(image), modality=convert.modality_to(modality))
