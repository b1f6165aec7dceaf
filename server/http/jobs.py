"""Routes of background work: uploads, and the jobs they and evaluations become."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from index.gallery import Gallery
from server import uploads
from server.http import bodies, documented, schemas, words
from server.jobs import JobBoard, Once, Work
from server.service import RetrievalService
from vireid.errors import InvalidRequest

ARCHIVES = (
    "application/zip",
    "application/x-zip-compressed",
    "application/x-tar",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
)
NDJSON = ("application/x-ndjson", "application/jsonl")
FORM = "multipart/form-data"


def router(service: RetrievalService, board: JobBoard, max_upload_bytes: int) -> APIRouter:
    """Build the routes over a service and a board of jobs."""
    routes = APIRouter(tags=["jobs"])

    @routes.post(
        "/v1/galleries/{gallery}/items:upload",
        response_model=schemas.Job,
        status_code=202,
        summary="Enrol many images: zip, tar, NDJSON or multipart; answers with a job",
        openapi_extra=documented.raw_body((*ARCHIVES, *NDJSON), form=True),
    )
    async def upload(
        request: Request,
        gallery: str,
        idempotency_key: Annotated[
            str, Header(max_length=200, description="the same key and body again give the same job")
        ] = "",
    ) -> Response:
        target = service.gallery(gallery)
        kind = bodies.media_type(request)
        if kind not in (*ARCHIVES, *NDJSON, FORM):
            raise InvalidRequest(
                f"found content type {kind!r}; expected one of {', '.join((*ARCHIVES, *NDJSON, FORM))}",
                field="content-type",
                reason="CONTENT_TYPE_UNKNOWN",
            )
        board.check_room()
        read = bodies.spool_form if kind == FORM else bodies.spool
        body = await read(request, max_upload_bytes)
        once = Once(idempotency_key, f"{gallery} {kind} {body.fingerprint}") if idempotency_key else None
        return words.started(board.start("upload", _enrolment(kind, service, target, body), body.close, once))

    @routes.get("/v1/jobs", response_model=schemas.Jobs, summary="List the jobs, the newest first")
    async def listing() -> Response:
        return words.answer({"jobs": [words.job(job) for job in board.list()]})

    @routes.get("/v1/jobs/{job_id}", response_model=schemas.Job, summary="The state of a job")
    async def describe(job_id: str) -> Response:
        return words.answer(words.job(board.get(job_id)))

    @routes.post(
        "/v1/jobs/{job_id}:cancel",
        response_model=schemas.Job,
        summary="Stop a job; what it stored stays",
    )
    async def cancel(job_id: str) -> Response:
        return words.answer(words.job(board.cancel(job_id)))

    return routes


def _enrolment(kind: str, service: RetrievalService, target: Gallery, body: bodies.Spooled) -> Work:
    if kind == FORM:
        return partial(uploads.run_files, service, target, body.files)
    run = uploads.run_ndjson if kind in NDJSON else uploads.run_archive
    return partial(run, service, target, body.files[0][1])
