"""Every call of the service over HTTP as a value: method, path, parameters, body, and how its answer is read.

Pure functions, shared by the synchronous and the asynchronous client. Knows no connection.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from clients import http_documents as documents
from clients.call import Call, Image, Query, Wanted, image_bytes
from clients.http_request import ELSEWHERE, Parameters, Request, gallery_path, json_request
from clients.replies import Embedding, Facets, ItemRef, Page, PutReply, Receipt, SearchReply
from clients.server_info import ServerInfo, info_of
from vireid.errors import InvalidRequest, SnapshotNotFound
from vireid.types import Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

IMAGE_TYPE = "application/octet-stream"


def info() -> Call[ServerInfo]:
    """Ask what the server runs."""
    return Call(Request("GET", "/v1/info"), lambda reply: info_of(reply.document))


def embed(image: Image, modality: Modality | None) -> Call[Embedding]:
    """Ask for one image's embedding."""
    request = Request("POST", "/v1/embed", _modality(modality), image_bytes(image), IMAGE_TYPE)
    return Call(request, lambda reply: documents.embedding_of(reply.document))


def search(gallery: str, query: Query, wanted: Wanted) -> Call[SearchReply]:
    """Ask for the items most like the query: a raw body where the query string can say all, else JSON."""
    path = f"{gallery_path(gallery)}/search"
    in_json = wanted.where.attributes or wanted.exclude_own_camera or wanted.together
    if in_json or isinstance(query, ItemRef | Embedding):
        document = {
            "query": _query(query, wanted),
            "top_k": wanted.top_k,
            "min_score": wanted.min_score,
            "min_probability": wanted.min_probability,
            "rerank": {"candidates": wanted.rerank} if wanted.rerank else None,
            "filter": documents.filter_to(wanted.where),
            "one_per_person": wanted.one_per_person,
            "exclude_own_camera": wanted.exclude_own_camera,
            "more_like": wanted.more_like,
            "less_like": wanted.less_like,
            "together": _together(wanted),
            "other_modality_first": wanted.other_modality_first,
        }
        return Call(
            json_request("POST", path, document), lambda reply: documents.search_reply_of(reply.document)
        )
    parameters = (("top_k", str(wanted.top_k)), *_modality(wanted.modality), *_filter(wanted.where))
    if wanted.min_score is not None:
        parameters = (*parameters, ("min_score", repr(wanted.min_score)))
    if wanted.min_probability is not None:
        parameters = (*parameters, ("min_probability", repr(wanted.min_probability)))
    if wanted.rerank:
        parameters = (*parameters, ("rerank", str(wanted.rerank)))
    for name in ("one_per_person", "other_modality_first"):
        if getattr(wanted, name):
            parameters = (*parameters, (name, "true"))
    for name in ("more_like", "less_like"):
        parameters = (*parameters, *((name, item) for item in getattr(wanted, name)))
    request = Request("POST", path, parameters, image_bytes(query), IMAGE_TYPE)
    return Call(request, lambda reply: documents.search_reply_of(reply.document))


def _query(query: Query, wanted: Wanted) -> dict[str, Any]:
    asked = query if isinstance(query, ItemRef | Embedding) else image_bytes(query)
    return documents.query_to(asked, wanted.modality)


def _together(wanted: Wanted) -> dict[str, Any] | None:
    if not wanted.together:
        return None
    queries = [_query(query, wanted) for query in wanted.together]
    return {"queries": queries, "weights": wanted.weights, "by": "best" if wanted.best else "mean"}


def create_gallery(name: str, *, store_images: bool, retention_s: int) -> Call[GalleryInfo]:
    """Ask for an empty gallery; made twice, the second would find it taken."""
    document = {"name": name, "store_images": store_images, "retention_s": retention_s}
    request = json_request("POST", "/v1/galleries", document)
    return Call(request, lambda reply: documents.gallery_of(reply.document), repeatable=False)


def get_gallery(name: str) -> Call[GalleryInfo]:
    """Ask for a gallery's description."""
    return Call(Request("GET", gallery_path(name)), lambda reply: documents.gallery_of(reply.document))


def retain(name: str, seconds: int) -> Call[GalleryInfo]:
    """Ask for a gallery's items to expire so long after their enrolment."""
    request = json_request("PATCH", gallery_path(name), {"retention_s": seconds})
    return Call(request, lambda reply: documents.gallery_of(reply.document))


def list_galleries() -> Call[tuple[GalleryInfo, ...]]:
    """Ask for every gallery's description."""
    return Call(
        Request("GET", "/v1/galleries"),
        lambda reply: tuple(documents.gallery_of(each) for each in reply.document["galleries"]),
    )


def delete_gallery(name: str) -> Call[Receipt]:
    """Ask for a gallery's end; made twice, the second would find it gone."""
    request = Request("DELETE", gallery_path(name))
    return Call(request, lambda reply: documents.receipt_of(reply.document), repeatable=False)


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
    described = json.dumps(documents.meta_to(meta, expires_at)).encode()
    request = Request(
        "PUT",
        _item(gallery, item_id),
        _modality(modality),
        image_bytes(image),
        IMAGE_TYPE,
        {"x-meta": base64.b64encode(described).decode("ascii")},
    )
    return Call(request, lambda reply: documents.put_reply_of(reply.document))


def get_item(gallery: str, item_id: str) -> Call[Item]:
    """Ask for an item's description."""
    return Call(Request("GET", _item(gallery, item_id)), lambda reply: documents.item_of(reply.document))


def list_items(gallery: str, *, where: Filter, limit: int, cursor: str) -> Call[Page]:
    """Ask for a page of items."""
    parameters = (("limit", str(limit)), *_filter(where))
    if cursor:
        parameters = (*parameters, ("cursor", cursor))
    request = Request("GET", f"{gallery_path(gallery)}/items", parameters)
    return Call(request, lambda reply: documents.page_of(reply.document))


def facets(gallery: str, where: Filter) -> Call[Facets]:
    """Ask how many items there are of each camera, modality and hour."""
    request = Request("GET", f"{gallery_path(gallery)}/facets", _filter(where))
    return Call(request, lambda reply: Facets(**reply.document))


def delete_items(gallery: str, *, item_ids: Sequence[str], where: Filter, dry_run: bool) -> Call[Receipt]:
    """Ask for items to be removed; made twice, the second would find none."""
    document: dict[str, Any] = {"dry_run": dry_run}
    if item_ids:
        document["item_ids"] = list(item_ids)
    if not where.is_empty:
        document["filter"] = documents.filter_to(where)
    request = json_request("POST", f"{gallery_path(gallery)}/items:delete", document)
    return Call(request, lambda reply: documents.receipt_of(reply.document), repeatable=dry_run)


def list_snapshots(gallery: str) -> Call[tuple[Snapshot, ...]]:
    """Ask for a gallery's snapshots."""
    return Call(
        Request("GET", f"{gallery_path(gallery)}/snapshots"),
        lambda reply: tuple(documents.snapshot_of(each) for each in reply.document["snapshots"]),
    )


def delete_snapshot(gallery: str, name: str) -> Call[Snapshot]:
    """Ask for a snapshot's end; made twice, the second would find it gone."""
    if name in ELSEWHERE:
        raise SnapshotNotFound(f"there is no snapshot {name!r} of gallery {gallery!r}; list those there are")
    request = Request("DELETE", f"{gallery_path(gallery)}/snapshots/{quote(name, safe='')}")
    return Call(request, lambda reply: documents.snapshot_of(reply.document), repeatable=False)


def _item(gallery: str, item_id: str) -> str:
    if item_id in ELSEWHERE:
        raise InvalidRequest(
            f"found item id {item_id!r}, which leads elsewhere", field="item_id", reason="ITEM_ID_INVALID"
        )
    return f"{gallery_path(gallery)}/items/{quote(item_id, safe='')}"


def _modality(modality: Modality | None) -> Parameters:
    return () if modality is None else (("modality", modality.word),)


def _filter(where: Filter) -> Parameters:
    return tuple(_filter_parameters(where))


def _filter_parameters(where: Filter) -> Iterator[tuple[str, str]]:
    yield from (("camera", camera) for camera in where.cameras)
    yield from (("exclude_camera", camera) for camera in where.exclude_cameras)
    yield from (("person", person) for person in where.persons)
    yield from (("modalities", modality.word) for modality in where.modalities)
    yield from (("exclude_item", item_id) for item_id in where.exclude_items)
    yield from (("attribute", f"{key}={value}") for key, value in where.attributes.items())
    if where.captured_from is not None:
        yield "from", where.captured_from.isoformat()
    if where.captured_to is not None:
        yield "to", where.captured_to.isoformat()
