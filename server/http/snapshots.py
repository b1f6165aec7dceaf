"""Routes of a gallery's snapshots: make one, list them, remove one. Restoring is the command line's."""

from fastapi import APIRouter, Request, Response

from server import copies
from server.http import bodies, documented, schemas, words
from server.http.asked import SnapshotBody
from server.jobs import JobBoard
from server.service import RetrievalService


def router(service: RetrievalService, board: JobBoard) -> APIRouter:
    """Build the routes over a service and a board of jobs."""
    routes = APIRouter(tags=["snapshots"])
    base = "/v1/galleries/{gallery}/snapshots"

    @routes.post(
        base,
        status_code=202,
        response_model=schemas.Job,
        summary="Copy a gallery; answers with a job",
        openapi_extra=documented.json_body(SnapshotBody),
    )
    async def make(request: Request, gallery: str) -> Response:
        body = await bodies.document(request, SnapshotBody)
        return words.started(copies.start(service, board, gallery, body.keep_days))

    @routes.get(
        base, response_model=schemas.Snapshots, summary="List a gallery's snapshots, the oldest first"
    )
    async def listing(gallery: str) -> Response:
        found = await service.list_snapshots(gallery)
        return words.answer({"snapshots": [copies.as_json(one) for one in found]})

    @routes.delete(base + "/{snapshot:path}", response_model=schemas.Snapshot, summary="Remove a snapshot")
    async def delete(gallery: str, snapshot: str) -> Response:
        return words.answer(copies.as_json(await service.delete_snapshot(gallery, snapshot)))

    return routes
