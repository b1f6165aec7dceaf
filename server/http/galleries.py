"""Routes of galleries."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from server.http import bodies, documented, schemas, words
from server.http.asked import GalleryBody, GalleryChange, filter_parameters
from server.service import RetrievalService
from vireid.types import Filter


def router(service: RetrievalService) -> APIRouter:
    """Build the routes over a service."""
    routes = APIRouter(tags=["galleries"])

    @routes.get("/v1/galleries", response_model=schemas.Galleries, summary="List the galleries")
    async def listing() -> Response:
        return words.answer({"galleries": [words.gallery(info) for info in await service.list_galleries()]})

    @routes.post(
        "/v1/galleries",
        status_code=201,
        response_model=schemas.Gallery,
        summary="Make an empty gallery",
        openapi_extra=documented.json_body(GalleryBody),
    )
    async def create(request: Request) -> Response:
        asked = await bodies.document(request, GalleryBody)
        made = await service.create_gallery(asked.name, asked.store_images, asked.retention_s)
        return words.answer(words.gallery(made), 201)

    @routes.get("/v1/galleries/{gallery}", response_model=schemas.Gallery, summary="Describe a gallery")
    async def describe(gallery: str) -> Response:
        return words.answer(words.gallery(await service.get_gallery(gallery)))

    @routes.patch(
        "/v1/galleries/{gallery}",
        response_model=schemas.Gallery,
        summary="Set how long a gallery keeps its items, or clear it with 0",
        openapi_extra=documented.json_body(GalleryChange),
    )
    async def change(request: Request, gallery: str) -> Response:
        asked = await bodies.document(request, GalleryChange)
        return words.answer(words.gallery(await service.retain(gallery, asked.retention_s)))

    @routes.delete(
        "/v1/galleries/{gallery}",
        response_model=schemas.Receipt,
        summary="Remove a gallery and all it holds",
    )
    async def delete(gallery: str) -> Response:
        return words.answer(words.receipt(await service.delete_gallery(gallery)))

    @routes.get(
        "/v1/galleries/{gallery}/facets",
        response_model=schemas.Facets,
        summary="Count the items that pass a filter by camera, modality and hour",
    )
    async def facets(gallery: str, where: Annotated[Filter, Depends(filter_parameters)]) -> Response:
        return words.answer(await service.facets(gallery, where))

    return routes
