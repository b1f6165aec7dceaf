"""Routes of a gallery's centring: put in use, taken back, tried. Each is a job."""

from fastapi import APIRouter, Request, Response

from server import recentring
from server.http import bodies, documented, schemas, words
from server.http.asked import CentringBody
from server.jobs import JobBoard
from server.service import RetrievalService


def router(service: RetrievalService, board: JobBoard) -> APIRouter:
    """Build the routes over a service and a board of jobs."""
    routes = APIRouter(tags=["centring"])
    base = "/v1/galleries/{gallery}/centring"

    @routes.post(
        base,
        status_code=202,
        response_model=schemas.Job,
        summary="Take each modality's own mean off what is searched; answers with a job",
        openapi_extra=documented.json_body(CentringBody),
    )
    async def centre(request: Request, gallery: str) -> Response:
        body = await bodies.document(request, CentringBody)
        return words.started(recentring.start_centring(service, board, gallery, body.strength, body.half))

    @routes.post(
        base + ":evaluate",
        status_code=202,
        response_model=schemas.Job,
        summary="Measure what a centring would bring, and change nothing; answers with a job",
        openapi_extra=documented.json_body(CentringBody),
    )
    async def evaluate(request: Request, gallery: str) -> Response:
        body = await bodies.document(request, CentringBody)
        return words.started(recentring.start_trial(service, board, gallery, body.strength, body.half))

    @routes.delete(
        base,
        status_code=202,
        response_model=schemas.Job,
        summary="Go back to what was before the last centring; answers with a job",
    )
    async def back(gallery: str) -> Response:
        return words.started(recentring.start_return(service, board, gallery))

    return routes
