"""Routes for people and machines that watch the server."""

from collections.abc import Callable

from fastapi import APIRouter, Depends, Response

from server.http import words
from server.metrics import Metrics
from server.service import RetrievalService
from vireid.errors import VireidError
from vireid.images.decode import Limits

UNREADY = 503


def open_router(service: RetrievalService) -> APIRouter:
    """Build the routes that ask for no key."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", summary="The event loop answers")
    async def live() -> Response:
        return words.answer({"live": True})

    @routes.get("/readyz", summary="A forward pass succeeded in the last seconds, and the galleries are open")
    @routes.get("/healthz", summary="The same as /readyz")
    async def ready() -> Response:
        galleries = {info.name: info.state for info in await service.list_galleries()}
        try:
            await service.check_ready()
        except VireidError as error:
            return words.answer(
                {"ready": False, "model": error.stable_reason, "galleries": galleries}, UNREADY
            )
        return words.answer({"ready": True, "model": "ok", "galleries": galleries})

    return routes


def router(
    service: RetrievalService, metrics: Metrics, version: str, guard: Callable[..., object]
) -> APIRouter:
    """Build the routes behind the key."""
    routes = APIRouter(tags=["health"], dependencies=[Depends(guard)])

    @routes.get("/v1/info", summary="Version, model, device and limits; no secrets")
    async def info() -> Response:
        limits = Limits()
        return words.answer(
            {
                "version": version,
                **service.info(),
                "limits": {
                    "image_bytes": limits.max_bytes,
                    "image_pixels": limits.max_pixels,
                    "image_side": limits.max_side,
                    "top_k": 1000,
                },
            }
        )

    @routes.get("/metrics", summary="Prometheus metrics")
    async def prometheus() -> Response:
        for gallery in await service.list_galleries():
            metrics.gallery_items.labels(gallery.name).set(gallery.items)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
