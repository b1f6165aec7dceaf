"""The service's answers as JSON. Knows no route beyond where an item's pictures are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import Response

from index.gallery import Receipt
from server import recentring
from server.answers import STAGES, Embedded, PutAnswer, SearchAnswer, Timing
from server.http import problem
from server.jobs import FINAL, Job
from server.status import http_status
from vireid.types import GalleryInfo, Item

JSON = "application/json"


def answer(
    body: Any, status: int = 200, timing: Timing | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a JSON answer, with its stages in ``Server-Timing``."""
    sent = dict(headers or {})
    if timing is not None:
        sent["server-timing"] = ", ".join(f"{s};dur={getattr(timing, s + '_s') * 1e3:.2f}" for s in STAGES)
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status, sent, JSON)


def gallery(info: GalleryInfo) -> dict[str, Any]:
    """Describe a gallery."""
    return {
        "name": info.name,
        "space_id": info.space_id,
        "dim": info.dim,
        "items": info.items,
        "version": info.version,
        "stores_images": info.stores_images,
        "state": info.state,
        "detail": info.detail,
        "centring": recentring.as_json(info.centring),
        "retention_s": info.retention_s,
        "lost": info.lost,
    }


def item(found: Item, gallery_name: str) -> dict[str, Any]:
    """Describe an item and where its pictures are."""
    place = f"/v1/galleries/{quote(gallery_name)}/items/{quote(found.item_id)}"
    return {
        "item_id": found.item_id,
        "modality": found.modality.word,
        "person": found.meta.person,
        "camera": found.meta.camera,
        "captured_at": _moment(found.meta.captured_at),
        "attributes": dict(found.meta.attributes),
        "sha256": found.sha256,
        "has_image": found.has_image,
        "enrolled_at": _moment(found.enrolled_at),
        "expires_at": _moment(found.expires_at),
        "thumbnail": f"{place}/thumbnail",
        "image": f"{place}/image" if found.has_image else None,
    }


def search(found: SearchAnswer, gallery_name: str) -> dict[str, Any]:
    """Write ranked hits and how they were found."""
    return {
        "hits": [
            {
                "rank": hit.rank,
                "score": hit.score,
                "probability": hit.probability,
                **item(hit.item, gallery_name),
            }
            for hit in found.hits
        ],
        "query": {"modality": found.modality.word, "modality_confidence": found.confidence},
        "warnings": [{"code": one.code, "message": one.message} for one in found.warnings],
        "coverage": {
            "items_total": found.items_total,
            "items_searched": found.items_searched,
            "exact": found.exact,
            "degraded": found.items_lost > 0,
            "items_lost": found.items_lost,
        },
        "space_id": found.space_id,
        "gallery_version": found.gallery_version,
        "centring": found.centring,
        "timing": timing(found.timing),
    }


def embedded(found: Embedded, space_id: str) -> dict[str, Any]:
    """Write an embedding."""
    return {
        "embedding": found.vector,
        "dim": len(found.vector),
        "space_id": space_id,
        "modality": found.modality.word,
        "modality_confidence": found.confidence,
        "warnings": [{"code": one.code, "message": one.message} for one in found.warnings],
        "timing": timing(found.timing),
    }


def put(found: PutAnswer, gallery_name: str) -> dict[str, Any]:
    """Write what became of an item."""
    return {
        "outcome": found.outcome,
        "item": item(found.item, gallery_name),
        "timing": timing(found.timing),
    }


def receipt(removed: Receipt, dry_run: bool = False) -> dict[str, Any]:
    """Write what was removed."""
    return {
        "items": removed.items,
        "images": removed.images,
        "vectors": removed.vectors,
        "gallery_version": removed.version,
        "snapshots": removed.snapshots,
        "still_in": removed.still_in,
        "dry_run": dry_run,
    }


def job(found: Job) -> dict[str, Any]:
    """Write the state of a job."""
    return {
        "job_id": found.job_id,
        "kind": found.kind,
        "state": found.state,
        "finished": found.state in FINAL,
        "done": found.done,
        "total": found.total,
        "failed": found.failed,
        "counts": dict(found.counts),
        "errors": [{"item": e.item, "reason": e.reason, "message": e.message} for e in found.errors],
        "error": _failure(found),
        "result": dict(found.result),
        "created_at": _moment(found.created_at),
        "finished_at": _moment(found.finished_at),
    }


def _failure(found: Job) -> dict[str, Any] | None:
    """Say why a job failed, as its call would have: what went wrong inside is logged and not told."""
    if found.error is None:
        return None
    status = http_status(found.failure)
    inside = f"the job failed inside; the server's log tells more about job {found.job_id}"
    return {
        "reason": found.error.reason,
        "message": inside if status == problem.OUR_FAULT else found.error.message,
        "status": status,
    }


def started(found: Job) -> Response:
    """Answer with a job that has begun, and where to ask for it."""
    return answer(job(found), 202, headers={"location": f"/v1/jobs/{found.job_id}"})


def timing(found: Timing) -> dict[str, Any]:
    """Write the milliseconds of each stage."""
    return {
        **{f"{stage}_ms": round(getattr(found, f"{stage}_s") * 1e3, 3) for stage in STAGES},
        "batch_size": found.batch_size,
        "device": found.device,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
