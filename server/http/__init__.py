"""The HTTP transport: FastAPI routes over the retrieval service, and the page."""

from collections.abc import Sequence

from fastapi import Depends, FastAPI, Request
from starlette.types import ASGIApp

from server.auth import Authenticator
from server.http import (
    centring,
    documented,
    evaluations,
    galleries,
    health,
    items,
    jobs,
    page,
    problem,
    schemas,
    search,
    snapshots,
)
from server.http.asked import (
    CentringBody,
    DeleteBody,
    EvaluationBody,
    GalleryBody,
    GalleryChange,
    SearchBody,
    SnapshotBody,
    known_parameters,
)
from server.http.direct import Direct
from server.http.envelope import Envelope
from server.jobs import JobBoard
from server.metrics import Metrics
from server.service import RetrievalService

_PROBLEM = {"schema": {"$ref": documented.PLACE.format(model="Problem")}}


def create_app(  # noqa: PLR0913 - the composition root hands over each part by name
    *,
    service: RetrievalService,
    board: JobBoard,
    metrics: Metrics,
    authenticator: Authenticator,
    max_upload_bytes: int,
    hosts: Sequence[str] | None,
    version: str,
) -> ASGIApp:
    """Build the HTTP app.

    Args:
        service: does the work.
        board: background jobs.
        metrics: told each answer.
        authenticator: says which keys are good.
        max_upload_bytes: of one archive.
        hosts: allowed Host headers, None for any.
        version: of vireid.
    """

    async def guard(request: Request) -> None:
        authenticator.check(_key(request))

    app = FastAPI(
        title="vireid",
        version=version,
        description="Find the same person by day and by night.",
        docs_url=None,
        redoc_url=None,
        responses={
            "4XX": {"description": "A problem (RFC 9457)", "content": {problem.PROBLEM: _PROBLEM}},
            "5XX": {"description": "A problem (RFC 9457)", "content": {problem.PROBLEM: _PROBLEM}},
        },
        dependencies=[Depends(known_parameters)],
    )
    problem.install(app)
    app.include_router(health.open_router(service))
    app.include_router(health.router(service, metrics, version, max_upload_bytes, guard))
    for router in (
        search.router(service),
        jobs.router(service, board, max_upload_bytes),
        evaluations.router(service, board),
        items.router(service),
        galleries.router(service),
        snapshots.router(service, board),
        centring.router(service, board),
    ):
        app.include_router(router, dependencies=[Depends(guard)])
    app.router.routes.append(page.route())
    read_here = (
        SearchBody,
        DeleteBody,
        EvaluationBody,
        GalleryBody,
        GalleryChange,
        SnapshotBody,
        CentringBody,
    )
    documented.install(app, (schemas.Problem, *read_here))
    return Envelope(Direct(app, search.direct(service), guard), metrics, hosts)


def _key(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.headers.get("x-api-key")
