"""Routes that embed and search."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from server.answers import SearchRequest
from server.http import asked, words
from server.http.asked import MAX_JSON_BYTES, SearchBody, filter_parameters
from server.service import RetrievalService
from vireid.types import Filter

IMAGES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def router(service: RetrievalService) -> APIRouter:
    """Build the routes over a service."""
    routes = APIRouter(tags=["search"])

    @routes.post(
        "/v1/embed",
        summary="Embed one image, sent as the raw body",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGES},
            }
        },
    )
    async def embed(request: Request, modality: str = "auto") -> Response:
        done = await service.embed(await asked.image_body(request, modality))
        return words.answer(words.embedded(done, service.space_id), timing=done.timing)

    @routes.post(
        "/v1/galleries/{gallery}/search",
        summary="Find the items most like a query: a raw image body with a query string, or JSON",
        openapi_extra=dict(asked.raw_or(SearchBody, IMAGES)),
    )
    async def search(
        request: Request,
        gallery: str,
        where: Annotated[Filter, Depends(filter_parameters)],
        top_k: int = 10,
        modality: str = "auto",
        min_score: float | None = None,
    ) -> Response:
        if request.headers.get("content-type", "").split(";")[0] == "application/json":
            wanted = await _document(request, gallery)
        else:
            query = await asked.image_body(request, modality)
            wanted = SearchRequest(gallery, query, top_k, min_score, where)
        found = await service.search(wanted)
        return words.answer(words.search(found, gallery), timing=found.timing)

    return routes


async def _document(request: Request, gallery: str) -> SearchRequest:
    data = await asked.body(request, MAX_JSON_BYTES)
    try:
        body = SearchBody.model_validate_json(data)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    return SearchRequest(gallery, body.query.value(), body.top_k, body.min_score, body.filter.value())
