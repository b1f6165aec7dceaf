"""The shared words as the HTTP side writes them: JSON documents, both ways.

Knows no path and no connection.
"""

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from clients.call import Choices
from clients.replies import (
    Embedding,
    ItemFailure,
    ItemRef,
    Job,
    Page,
    PutReply,
    Receipt,
    SearchReply,
    Timing,
    Warned,
)
from vireid.types import (
    Across,
    Centring,
    CentringTrial,
    Filter,
    GalleryInfo,
    Hit,
    Item,
    ItemMeta,
    Modality,
    ModalityGap,
    Snapshot,
)

Document = Mapping[str, Any]


def time_of(word: str) -> datetime:
    """Read an RFC 3339 moment as UTC."""
    return datetime.fromisoformat(word).astimezone(UTC)


def item_of(document: Document) -> Item:
    """Read a stored item."""
    captured, expires = document.get("captured_at"), document.get("expires_at")
    return Item(
        item_id=document["item_id"],
        modality=Modality.of(document["modality"]),
        meta=ItemMeta(
            person=document.get("person") or "",
            camera=document.get("camera") or "",
            captured_at=time_of(captured) if captured else None,
            attributes=dict(document.get("attributes") or {}),
        ),
        sha256=document["sha256"],
        has_image=document["has_image"],
        enrolled_at=time_of(document["enrolled_at"]),
        expires_at=time_of(expires) if expires else None,
    )


def hit_of(document: Document) -> Hit:
    """Read a ranked answer."""
    return Hit(
        rank=document["rank"],
        score=document["score"],
        item=item_of(document),
        probability=document.get("probability"),
    )


def gallery_of(document: Document) -> GalleryInfo:
    """Read a gallery's description."""
    return GalleryInfo(
        name=document["name"],
        space_id=document["space_id"],
        dim=document["dim"],
        items=document["items"],
        version=document["version"],
        stores_images=document["stores_images"],
        state=document["state"],
        detail=document["detail"],
        centring=_centring_of(document["centring"]) if document.get("centring") else None,
        retention_s=document.get("retention_s", 0),
        lost=document.get("lost", 0),
    )


def centred_of(document: Document) -> Centring | None:
    """Read how a gallery is centred now; None where it is not."""
    return _centring_of(document["centring"]) if document["centring"] else None


def trial_of(document: Document) -> CentringTrial:
    """Read what a centring would bring."""
    gap = document["gap"]
    return CentringTrial(
        before=_centring_of(document["before"]) if document["before"] else None,
        after=_centring_of(document["after"]),
        across=tuple(
            Across(
                Modality.of(one["asks"]),
                one["queries"],
                (one["mAP"]["before"], one["mAP"]["after"]),
                (one["rank1"]["before"], one["rank1"]["after"]),
            )
            for one in document["across"]
        ),
        gap=(ModalityGap(**gap["before"]), ModalityGap(**gap["after"])),
    )


def _centring_of(document: Document) -> Centring:
    since = document["since"]
    return Centring(
        document["strength"],
        document["visible"],
        document["infrared"],
        document["version"],
        time_of(since) if since else None,
    )


def timing_of(document: Document) -> Timing:
    """Read the time of each stage, told in milliseconds."""
    return Timing(
        queue_s=document.get("queue_ms", 0.0) / 1e3,
        decode_s=document.get("decode_ms", 0.0) / 1e3,
        infer_s=document.get("infer_ms", 0.0) / 1e3,
        search_s=document.get("search_ms", 0.0) / 1e3,
        rerank_s=document.get("rerank_ms", 0.0) / 1e3,
        total_s=document.get("total_ms", 0.0) / 1e3,
        batch_size=document.get("batch_size", 0),
        device=document.get("device", ""),
    )


def search_reply_of(document: Document) -> SearchReply:
    """Read ranked hits and how they were found."""
    query, coverage = document["query"], document["coverage"]
    return SearchReply(
        hits=tuple(hit_of(hit) for hit in document["hits"]),
        modality=Modality.of(query["modality"]),
        confidence=query["modality_confidence"],
        warnings=_warnings_of(document),
        items_total=coverage["items_total"],
        items_searched=coverage["items_searched"],
        space_id=document["space_id"],
        gallery_version=document["gallery_version"],
        timing=timing_of(document["timing"]),
        exact=coverage["exact"],
        centring=document.get("centring", 0),
        items_lost=coverage.get("items_lost", 0),
    )


def embedding_of(document: Document) -> Embedding:
    """Read one embedding."""
    return Embedding(
        values=tuple(document["embedding"]),
        space_id=document["space_id"],
        modality=Modality.of(document["modality"]),
        confidence=document["modality_confidence"],
        warnings=_warnings_of(document),
    )


def _warnings_of(document: Document) -> tuple[Warned, ...]:
    return tuple(Warned(each["code"], each["message"]) for each in document["warnings"])


def put_reply_of(document: Document) -> PutReply:
    """Read an item after it was put."""
    return PutReply(
        item=item_of(document["item"]),
        outcome=document["outcome"],
        timing=timing_of(document["timing"]),
    )


def page_of(document: Document) -> Page:
    """Read a page of items."""
    return Page(
        items=tuple(item_of(item) for item in document["items"]), cursor=document.get("next_cursor") or ""
    )


def receipt_of(document: Document) -> Receipt:
    """Read what a deletion removed."""
    return Receipt(
        items=document["items"],
        images=document["images"],
        vectors=document["vectors"],
        version=document["gallery_version"],
        dry_run=document.get("dry_run", False),
        snapshots=document.get("snapshots", 0),
        still_in=document.get("still_in", 0),
    )


def snapshot_of(document: Document) -> Snapshot:
    """Read a snapshot's description."""
    made, expires = document["made_at"], document["expires_at"]
    return Snapshot(
        name=document["name"],
        version=document["version"],
        items=document["items"],
        images=document["images"],
        bytes=document["bytes"],
        made_at=time_of(made) if made else None,
        expires_at=time_of(expires) if expires else None,
        damage=document["damage"],
    )


def job_of(document: Document) -> Job:
    """Read how far a job is."""
    error = document["error"]
    return Job(
        job_id=document["job_id"],
        kind=document["kind"],
        state=document["state"],
        done=document["done"],
        total=document["total"],
        failed=document["failed"],
        counts=document["counts"],
        errors=tuple(
            ItemFailure(each["item"], each["reason"], each["message"]) for each in document["errors"]
        ),
        error=None
        if error is None
        # servers of before say no status
        else ItemFailure("", error["reason"], error["message"], error.get("status", 0)),
        result=document["result"],
    )


def choices_to(gallery: str, choices: Choices) -> dict[str, Any]:
    """Write what an evaluation measures."""
    numbers = {"k1": choices.k1, "k2": choices.k2, "weight": choices.weight}
    given = {name: value for name, value in numbers.items() if value is not None}
    return {
        "gallery": gallery,
        "query_modality": choices.query_modality.word,
        "gallery_modality": choices.gallery_modality.word,
        "rule": choices.rule,
        "cmc": choices.cmc,
        "rerank": {"candidates": choices.rerank, **given} if choices.rerank else None,
        "query_gallery": choices.query_gallery,
        "html": choices.html,
    }


def query_to(query: bytes | ItemRef | Embedding, modality: Modality | None) -> dict[str, Any]:
    """Write a query; an image as base64."""
    if isinstance(query, ItemRef):
        return {"item_id": query.item_id}
    if isinstance(query, bytes):
        word = "auto" if modality is None else modality.word
        return {"image": base64.b64encode(query).decode("ascii"), "modality": word}
    return {
        "embedding": list(query.values),
        "space_id": query.space_id,
        "modality": query.modality.word,
    }


def filter_to(where: Filter) -> dict[str, Any]:
    """Write a filter; what does not restrict is left out."""
    return dict(_filter_entries(where))


def _filter_entries(where: Filter) -> Iterator[tuple[str, Any]]:
    if where.cameras:
        yield "cameras", list(where.cameras)
    if where.exclude_cameras:
        yield "exclude_cameras", list(where.exclude_cameras)
    if where.captured_from is not None:
        yield "captured_from", where.captured_from.isoformat()
    if where.captured_to is not None:
        yield "captured_to", where.captured_to.isoformat()
    if where.modalities:
        yield "modalities", [modality.word for modality in where.modalities]
    if where.persons:
        yield "persons", list(where.persons)
    if where.exclude_items:
        yield "exclude_items", list(where.exclude_items)
    if where.attributes:
        yield "attributes", dict(where.attributes)


def meta_to(meta: ItemMeta, expires_at: datetime | None = None) -> dict[str, Any]:
    """Write what is known of an item beside its image; what is not known is left out."""
    document: dict[str, Any] = {"attributes": dict(meta.attributes)}
    if meta.person:
        document["person"] = meta.person
    if meta.camera:
        document["camera"] = meta.camera
    if meta.captured_at is not None:
        document["captured_at"] = meta.captured_at.isoformat()
    if expires_at is not None:
        document["expires_at"] = expires_at.isoformat()
    return document
