"""Every HTTP call as a value: method, path, parameters, body, and how its answer is read.

Pure functions, shared by the synchronous and the asynchronous client. Knows no connection.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clients import http_documents as documents
from clients.call import Call, Choices, Image, Query, Wanted, image_bytes
from clients.replies import Embedding, Facets, ItemRef, Job, Page, PutReply, Receipt, SearchReply
from clients.server_info import ServerInfo, info_of
from vireid.errors import GalleryNotFound, InvalidRequest, SnapshotNotFound
from vireid.types import Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

IMAGE_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
ARCHIVE_TYPES = {
    ".zip": "application/zip",
    ".tar": "application/x-tar",
    ".tgz": "application/gzip",
    ".gz": "application/gzip",
}

# as a part of a path these lead to what is above, whatever is quoted
ELSEWHERE = ("", ".", "..")

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request on this wire.

    Attributes:
        method: ``GET``, ``PUT`` ...
        path: from the root, already quoted.
        parameters: of the query string, in order, names may repeat.
        body: as it goes out, or the file that is to be streamed.
        content_type: of the body, empty without one.
        more: further headers.
    """

    method: str
    path: str
    parameters: Parameters = ()
    body: bytes | Path = b""
    content_type: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the request."""
        described = dict(self.more)
        if self.content_type:
            described["content-type"] = self.content_type
        if isinstance(self.body, Path):
            described["content-length"] = str(self.body.stat().st_size)
        return described


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer on this wire."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        """The body, read as JSON."""
        found: dict[str, Any] = json.loads(self.body) if self.body else {}
        return found


def info() -> Call[ServerInfo]:
    """Ask what the server runs."""
    return Call(Request("GET", "/v1/info"), lambda reply: info_of(reply.document))


def embed(image: Image, modality: Modality | None) -> Call[Embedding]:
    """Ask for one image's embedding."""
    request = Request("POST", "/v1/embed", _modality(modality), image_bytes(image), IMAGE_TYPE)
    return Call(request, lambda reply: documents.embedding_of(reply.document))


def search(gallery: str, query: Query, wanted: Wanted) -> Call[SearchReply]:
    """Ask for the items most like the query: a raw body where the query string can say all, else JSON."""
    path = f"{_gallery(gallery)}/search"
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
        return Call(_json("POST", path, document), lambda reply: documents.search_reply_of(reply.document))
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
    request = _json("POST", "/v1/galleries", document)
    return Call(request, lambda reply: documents.gallery_of(reply.document), repeatable=False)


def get_gallery(name: str) -> Call[GalleryInfo]:
    """Ask for a gallery's description."""
    return Call(Request("GET", _gallery(name)), lambda reply: documents.gallery_of(reply.document))


def retain(name: str, seconds: int) -> Call[GalleryInfo]:
    """Ask for a gallery's items to expire so long after their enrolment."""
    request = _json("PATCH", _gallery(name), {"retention_s": seconds})
    return Call(request, lambda reply: documents.gallery_of(reply.document))


def list_galleries() -> Call[tuple[GalleryInfo, ...]]:
    """Ask for every gallery's description."""
    return Call(
        Request("GET", "/v1/galleries"),
        lambda reply: tuple(documents.gallery_of(each) for each in reply.document["galleries"]),
    )


def delete_gallery(name: str) -> Call[Receipt]:
    """Ask for a gallery's end; made twice, the second would find it gone."""
    request = Request("DELETE", _gallery(name))
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
    request = Request("GET", f"{_gallery(gallery)}/items", parameters)
    return Call(request, lambda reply: documents.page_of(reply.document))


def facets(gallery: str, where: Filter) -> Call[Facets]:
    """Ask how many items there are of each camera, modality and hour."""
    request = Request("GET", f"{_gallery(gallery)}/facets", _filter(where))
    return Call(request, lambda reply: Facets(**reply.document))


def delete_items(gallery: str, *, item_ids: Sequence[str], where: Filter, dry_run: bool) -> Call[Receipt]:
    """Ask for items to be removed; made twice, the second would find none."""
    document: dict[str, Any] = {"dry_run": dry_run}
    if item_ids:
        document["item_ids"] = list(item_ids)
    if not where.is_empty:
        document["filter"] = documents.filter_to(where)
    request = _json("POST", f"{_gallery(gallery)}/items:delete", document)
    return Call(request, lambda reply: documents.receipt_of(reply.document), repeatable=dry_run)


def start_snapshot(gallery: str, keep_days: int) -> Call[Job]:
    """Ask for a gallery to be copied; made twice, there would be two."""
    request = _json("POST", f"{_gallery(gallery)}/snapshots", {"keep_days": keep_days})
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)


def list_snapshots(gallery: str) -> Call[tuple[Snapshot, ...]]:
    """Ask for a gallery's snapshots."""
    return Call(
        Request("GET", f"{_gallery(gallery)}/snapshots"),
        lambda reply: tuple(documents.snapshot_of(each) for each in reply.document["snapshots"]),
    )


def delete_snapshot(gallery: str, name: str) -> Call[Snapshot]:
    """Ask for a snapshot's end; made twice, the second would find it gone."""
    if name in ELSEWHERE:
        raise SnapshotNotFound(f"there is no snapshot {name!r} of gallery {gallery!r}; list those there are")
    request = Request("DELETE", f"{_gallery(gallery)}/snapshots/{quote(name, safe='')}")
    return Call(request, lambda reply: documents.snapshot_of(reply.document), repeatable=False)


def job(job_id: str) -> Call[Job]:
    """Ask how far a job is."""
    request = Request("GET", f"/v1/jobs/{quote(job_id, safe='')}")
    return Call(request, lambda reply: documents.job_of(reply.document))


def upload_archive(gallery: str, archive: Path) -> Call[Job]:
    """Ask for an archive to be unpacked and enrolled.

    Raises:
        InvalidRequest: it is no file, or no archive by its name.
    """
    kind = ARCHIVE_TYPES.get(archive.suffix.lower())
    if kind is None or not archive.is_file():
        raise InvalidRequest(
            f"{archive} is no archive file; expected {', '.join(ARCHIVE_TYPES)}", field="archive"
        )
    request = Request("POST", f"{_gallery(gallery)}/items:upload", (), archive, kind)
    return Call(request, lambda reply: documents.job_of(reply.document))


def cancel(job_id: str) -> Call[Job]:
    """Ask for a job to be stopped."""
    request = Request("POST", f"/v1/jobs/{quote(job_id, safe='')}:cancel")
    return Call(request, lambda reply: documents.job_of(reply.document))


def start_evaluation(gallery: str, choices: Choices) -> Call[Job]:
    """Ask for a labelled gallery to be measured; made twice, there would be two jobs."""
    request = _json("POST", "/v1/evaluations", documents.choices_to(gallery, choices))
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)


def report(job_id: str, kind: str) -> Call[str]:
    """Ask for the report of an evaluation that has succeeded; ``json``, ``csv`` or ``html``."""
    request = Request("GET", f"/v1/evaluations/{quote(job_id, safe='')}/report.{kind}")
    return Call(request, lambda reply: reply.body.decode())


def _json(method: str, path: str, document: Mapping[str, Any]) -> Request:
    return Request(method, path, (), json.dumps(document).encode(), JSON_TYPE)


def _gallery(name: str) -> str:
    if name in ELSEWHERE:
        raise GalleryNotFound(f"there is no gallery {name!r}")
    return f"/v1/galleries/{quote(name, safe='')}"


def _item(gallery: str, item_id: str) -> str:
    if item_id in ELSEWHERE:
        raise InvalidRequest(
            f"found item id {item_id!r}, which leads elsewhere", field="item_id", reason="ITEM_ID_INVALID"
        )
    return f"{_gallery(gallery)}/items/{quote(item_id, safe='')}"


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
