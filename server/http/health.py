"""Routes for people and machines that watch the server."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse

from server import about
from server.http import schemas, words
from server.metrics import Metrics
from server.service import RetrievalService
from vireid.errors import VireidError

UNREADY = 503


def open_router(service: RetrievalService) -> APIRouter:
    """Build the routes that ask for no key."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", response_model=schemas.Live, summary="The event loop answers")
    async def live() -> Response:
        return words.answer({"live": True})

    ready_answers: dict[int | str, dict[str, Any]] = {
        UNREADY: {"model": schemas.Ready, "description": "Not now"}
    }

    @routes.get(
        "/readyz",
        response_model=schemas.Ready,
        responses=ready_answers,
        summary="A forward pass succeeded in the last seconds",
    )
    @routes.get(
        "/healthz",
        response_model=schemas.Ready,
        responses=ready_answers,
        operation_id="healthz",
        summary="The same as /readyz",
    )
    async def ready() -> Response:
        # who holds no key learns how many, never their names
        galleries = dict(Counter(info.state for info in await service.list_galleries()))
        state = (service.building() or {"state": "ok"})["state"]
        engine = state if state in {"building_engine", "build_failed"} else "ok"
        try:
            await service.check_ready()
        except VireidError as error:
            return words.answer(
                {
                    "ready": False,
                    "model": error.stable_reason,
                    "engine": engine,
                    "galleries": galleries,
                },
                UNREADY,
            )
        return words.answer({"ready": True, "model": "ok", "engine": engine, "galleries": galleries})

    return routes


def router(
    service: RetrievalService,
    metrics: Metrics,
    version: str,
    max_upload_bytes: int,
    guard: Callable[..., object],
) -> APIRouter:
    """Build the routes behind the key."""
    routes = APIRouter(tags=["health"], dependencies=[Depends(guard)])

    @routes.get(
        "/v1/info", response_model=schemas.Info, summary="Version, model, device and limits; no secrets"
    )
    async def info() -> Response:
        return words.answer(about.document(service, version, max_upload_bytes))

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Prometheus metrics")
    async def prometheus() -> Response:
        metrics.gallery_items.clear()  # a gallery that went is not counted on
        for gallery in await service.list_galleries():
            metrics.gallery_items.labels(gallery.name).set(gallery.items)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
