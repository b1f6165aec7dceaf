"""Routes of items and their pictures."""

import asyncio
import base64
import binascii
import hashlib
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from server.http import asked, bodies, documented, schemas, words
from server.http.asked import DeleteBody, filter_parameters
from server.service import RetrievalService
from vireid.described import from_fields
from vireid.errors import InvalidRequest, ItemNotFound
from vireid.types import Filter, ItemMeta

# pictures are only ever shown as what they are, and never run; a browser may keep one, but asks each time whether it
# is still the one: what was replaced or deleted is not shown again
_AS_PICTURE = {"content-disposition": "inline", "cache-control": "private, no-cache"}
_NOT_MODIFIED = 304
_KINDS = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"RIFF", "image/webp"))


def router(service: RetrievalService) -> APIRouter:
    """Build the routes over a service."""
    routes = APIRouter(tags=["items"])
    base = "/v1/galleries/{gallery}/items"

    @routes.get(base, response_model=schemas.Items, summary="List items, a page at a time")
    async def listing(
        gallery: str, where: Annotated[Filter, Depends(filter_parameters)], limit: int = 100, cursor: str = ""
    ) -> Response:
        found, after = await service.list_items(gallery, where, limit, cursor)
        return words.answer({"items": [words.item(one, gallery) for one in found], "next_cursor": after})

    @routes.post(
        f"{base}:delete",
        response_model=schemas.Receipt,
        summary="Remove items by id or by filter",
        openapi_extra=documented.json_body(DeleteBody),
    )
    async def delete_many(request: Request, gallery: str) -> Response:
        body = await bodies.document(request, DeleteBody)
        where = None if body.filter is None else body.filter.value()
        receipt = await service.delete_items(gallery, body.item_ids, where, body.dry_run)
        return words.answer(words.receipt(receipt, body.dry_run))

    @routes.get(
        f"{base}/{{item_id:path}}/image",
        response_class=Response,
        responses=documented.pictures("image/jpeg", "image/png", "image/webp"),
        summary="The stored image of an item",
    )
    async def image(gallery: str, item_id: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        data = await service.image(gallery, item_id)
        return await _picture(data, if_none_match, weak=False)

    @routes.get(
        f"{base}/{{item_id:path}}/thumbnail",
        response_class=Response,
        responses=documented.pictures("image/jpeg"),
        summary="A small JPEG of an item",
    )
    async def thumbnail(gallery: str, item_id: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        data = await service.thumbnail(gallery, item_id)
        return await _picture(data, if_none_match, weak=True)

    @routes.get(f"{base}/{{item_id:path}}", response_model=schemas.Item, summary="Describe an item")
    async def describe(gallery: str, item_id: str) -> Response:
        return words.answer(words.item(await service.get_item(gallery, item_id), gallery))

    @routes.put(
        f"{base}/{{item_id:path}}",
        response_model=schemas.ItemPut,
        responses={201: {"model": schemas.ItemPut, "description": "Created"}},
        summary="Enrol or replace an item; durable when answered",
        openapi_extra=documented.raw_body(("image/jpeg", "image/png", "image/webp")),
    )
    async def put(  # noqa: PLR0913 - one for each field of an item
        request: Request,
        gallery: str,
        item_id: str,
        modality: str = "auto",
        person: str = "",
        camera: str = "",
        captured_at: str = "",
        expires_at: Annotated[str, Query(description="when it is to be gone; RFC 3339 with a zone")] = "",
        x_meta: Annotated[
            str, Header(description="base64 of a JSON object: the same fields and attributes")
        ] = "",
    ) -> Response:
        fields: dict[str, object] = {
            "person": person,
            "camera": camera,
            "captured_at": captured_at,
            "expires_at": expires_at,
            **_meta(x_meta),
        }
        described = from_fields(fields, item_id)
        query = await asked.image_body(request, str(fields.get("modality") or modality))
        meta = ItemMeta(
            described.meta.person,
            described.meta.camera,
            described.meta.captured_at,
            described.meta.attributes,
        )
        put = service.put_item(gallery, item_id, query, meta, expires_at=described.expires_at)
        done = await bodies.unless_gone(request, put)
        return words.answer(words.put(done, gallery), 201 if done.outcome == "created" else 200, done.timing)

    @routes.delete(
        f"{base}/{{item_id:path}}",
        response_model=schemas.Receipt,
        summary="Remove an item and its image",
    )
    async def delete(gallery: str, item_id: str) -> Response:
        receipt = await service.delete_items(gallery, [item_id], None, False)
        if not receipt.items:
            raise ItemNotFound(
                f"there is no item {item_id!r} in gallery {gallery!r}", metadata={"item": item_id}
            )
        return words.answer(words.receipt(receipt))

    return routes


def _meta(header: str) -> dict[str, object]:
    if not header:
        return {}
    try:
        found = orjson.loads(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("X-Meta is no base64 of a JSON object", field="x-meta")
    return found


async def _picture(data: bytes, known: str, weak: bool) -> Response:
    """Answer a picture, or that the caller has it: the tag is the sha256 of these very bytes."""
    tag = f'"{(await asyncio.to_thread(hashlib.sha256, data)).hexdigest()}"'
    headers = {**_AS_PICTURE, "etag": f"W/{tag}" if weak else tag}
    # compared weakly, as RFC 9110 has it for If-None-Match
    if {one.strip().removeprefix("W/") for one in known.split(",")} & {tag, "*"}:
        return Response(None, _NOT_MODIFIED, headers)
    return Response(data, 200, headers, _kind(data))


def _kind(data: bytes) -> str:
    return next((kind for start, kind in _KINDS if data.startswith(start)), "application/octet-stream")
