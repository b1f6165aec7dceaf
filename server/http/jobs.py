"""Routes of background work: uploads, evaluations, and the jobs they become."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from index.gallery import Gallery
from server import evaluations, uploads
from server.evaluations import EvaluationRequest
from server.http import asked, bodies, documented, schemas, words
from server.http.asked import EvaluationBody
from server.jobs import Job, JobBoard, Once, Work
from server.service import RetrievalService
from vireid.errors import InvalidRequest, JobNotFound
from vireid.evaluation.metrics import CmcLevel, Rule

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
RULES: dict[str, Rule] = {"none": "none", "market": "market", "sysu": "sysu"}
CMC: dict[str, CmcLevel] = {"identity": "identity", "image": "image"}


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
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
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
        return _started(board.start("upload", _enrolment(kind, service, target, body), body.close, once))

    @routes.post(
        "/v1/evaluations",
        status_code=202,
        response_model=schemas.Job,
        summary="Evaluate a labelled gallery; answers with a job",
        openapi_extra=documented.json_body(EvaluationBody),
    )
    async def evaluate(request: Request) -> Response:
        body = await bodies.document(request, EvaluationBody)
        wanted = EvaluationRequest(
            gallery=body.gallery,
            query_modality=asked.certain_modality(body.query_modality, "query_modality"),
            gallery_modality=asked.certain_modality(body.gallery_modality, "gallery_modality"),
            rule=RULES[asked.one_of(body.rule, RULES, "rule")],
            cmc=CMC[asked.one_of(body.cmc, CMC, "cmc")],
        )
        target = service.gallery(body.gallery)
        return _started(board.start("evaluation", partial(evaluations.run, target, wanted), _nothing_held))

    @routes.get(
        "/v1/evaluations/{job_id}",
        response_model=schemas.Job,
        summary="The state and report of an evaluation",
    )
    async def evaluation(job_id: str) -> Response:
        job = board.get(job_id)
        if job.kind != "evaluation":
            raise JobNotFound(f"job {job_id!r} is no evaluation; ask /v1/jobs/{job_id}")
        return words.answer(words.job(job))

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


def _started(job: Job) -> Response:
    return words.answer(words.job(job), 202, headers={"location": f"/v1/jobs/{job.job_id}"})


def _nothing_held() -> None:
    """An evaluation holds no files."""
