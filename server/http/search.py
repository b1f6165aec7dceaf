"""Routes that embed and search."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from server import ranking
from server.answers import SearchRequest
from server.http import asked, bodies, documented, schemas, words
from server.http.asked import SearchBody, filter_parameters
from server.http.direct import Call, Handler
from server.service import RetrievalService
from vireid.errors import InvalidRequest
from vireid.types import Filter

IMAGES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def router(service: RetrievalService) -> APIRouter:
    """Build the routes over a service."""
    routes = APIRouter(tags=["search"])

    @routes.post(
        "/v1/embed",
        response_model=schemas.EmbeddingReply,
        summary="Embed one image, sent as the raw body",
        openapi_extra=documented.raw_body(IMAGES),
    )
    async def embed(request: Request, modality: str = "auto") -> Response:
        return await _embed(service, request, modality)

    @routes.post(
        "/v1/galleries/{gallery}/search",
        response_model=schemas.SearchReply,
        summary="Find the items most like a query: a raw image body with a query string, or JSON",
        openapi_extra=documented.raw_body(IMAGES, document=SearchBody),
    )
    async def search(  # noqa: PLR0913 - one for each parameter of the query string
        request: Request,
        gallery: str,
        where: Annotated[Filter, Depends(filter_parameters)],
        top_k: int = 10,
        modality: str = "auto",
        min_score: float | None = None,
        min_probability: float | None = None,
        rerank: Annotated[int, Query(description="re-rank so many candidates, 0 for none")] = 0,
        one_per_person: Annotated[bool, Query(description="of each person the best hit only")] = False,
        other_modality_first: Annotated[bool, Query(description="the query's own modality last")] = False,
        more_like: asked.Words = None,
        less_like: asked.Words = None,
    ) -> Response:
        if bodies.media_type(request) == "application/json":
            wanted = await _document(request, gallery)
        else:
            query = await asked.image_body(request, modality)
            order = ranking.parameters(rerank) if rerank else None
            ranking.check_candidates(order, "rerank")
            wanted = SearchRequest(
                gallery,
                query,
                top_k,
                min_score,
                min_probability,
                order,
                where,
                one_per_person=one_per_person,
                other_modality_first=other_modality_first,
                more_like=tuple(more_like or ()),
                less_like=tuple(less_like or ()),
            )
        found = await bodies.unless_gone(request, service.search(wanted))
        return words.answer(words.search(found, gallery), timing=found.timing)

    return routes


def direct(service: RetrievalService) -> dict[Call, Handler]:
    """Build the handlers of calls that need no route."""

    async def embed(request: Request) -> Response:
        asked.check_known(request, {"modality"})
        return await _embed(service, request, request.query_params.get("modality", "auto"))

    return {Call("POST", "/v1/embed"): embed}


async def _embed(service: RetrievalService, request: Request, modality: str) -> Response:
    query = await asked.image_body(request, modality)
    done = await bodies.unless_gone(request, service.embed(query))
    return words.answer(words.embedded(done, service.space_id), timing=done.timing)


async def _document(request: Request, gallery: str) -> SearchRequest:
    if request.query_params:
        name = next(iter(request.query_params))
        raise InvalidRequest(
            f"the query string says {name!r}, and the body is JSON; say all in the JSON",
            field=name,
            reason="UNKNOWN_PARAMETER",
        )
    body = await bodies.document(request, SearchBody)
    return SearchRequest(
        gallery=gallery,
        query=body.query.value(),
        top_k=body.top_k,
        min_score=body.min_score,
        min_probability=body.min_probability,
        rerank=body.rerank.value() if body.rerank else None,
        filter=body.filter.value(),
        one_per_person=body.one_per_person,
        exclude_own_camera=body.exclude_own_camera,
        more_like=tuple(body.more_like),
        less_like=tuple(body.less_like),
        together=body.together.value() if body.together else None,
        other_modality_first=body.other_modality_first,
    )
