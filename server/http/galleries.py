"""Routes of galleries."""

from fastapi import APIRouter, Response

from server.http import words
from server.http.asked import GalleryBody
from server.service import RetrievalService


def router(service: RetrievalService) -> APIRouter:
    """Build the routes over a service."""
    routes = APIRouter(tags=["galleries"])

    @routes.get("/v1/galleries", summary="List the galleries")
    async def listing() -> Response:
        return words.answer({"galleries": [words.gallery(info) for info in await service.list_galleries()]})

    @routes.post("/v1/galleries", status_code=201, summary="Make an empty gallery")
    async def create(asked: GalleryBody) -> Response:
        return words.answer(words.gallery(await service.create_gallery(asked.name, asked.store_images)), 201)

    @routes.get("/v1/galleries/{gallery}", summary="Describe a gallery")
    async def describe(gallery: str) -> Response:
        return words.answer(words.gallery(await service.get_gallery(gallery)))

    @routes.delete("/v1/galleries/{gallery}", summary="Remove a gallery and all it holds")
    async def delete(gallery: str) -> Response:
        return words.answer(words.receipt(await service.delete_gallery(gallery)))

    @routes.get("/v1/galleries/{gallery}/facets", summary="Count items by camera and modality")
    async def facets(gallery: str) -> Response:
        return words.answer(await service.facets(gallery))

    return routes
