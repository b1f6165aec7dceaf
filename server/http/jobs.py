"""Routes of background work: uploads, evaluations, and the jobs they become."""

import tempfile
from functools import partial
from typing import IO

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from server import evaluations, uploads
from server.evaluations import EvaluationRequest
from server.http import asked, words
from server.http.asked import EvaluationBody
from server.jobs import Job, JobBoard
from server.service import RetrievalService
from vireid.errors import InvalidRequest, StorageError
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
MAX_FORM_FILES = 1000
RULES: dict[str, Rule] = {"none": "none", "market": "market", "sysu": "sysu"}
CMC: dict[str, CmcLevel] = {"identity": "identity", "image": "image"}


def router(service: RetrievalService, board: JobBoard, max_upload_bytes: int) -> APIRouter:
    """Build the routes over a service and a board of jobs."""
    routes = APIRouter(tags=["jobs"])

    @routes.post(
        "/v1/galleries/{gallery}/items:upload",
        status_code=202,
        summary="Enrol many images: zip, tar, NDJSON or multipart; answers with a job",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    **{
                        kind: {"schema": {"type": "string", "format": "binary"}}
                        for kind in (*ARCHIVES, *NDJSON)
                    },
                    FORM: {
                        "schema": {
                            "type": "object",
                            "properties": {
                                "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                            },
                        }
                    },
                },
            }
        },
    )
    async def upload(request: Request, gallery: str) -> Response:
        target = service.gallery(gallery)
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == FORM:
            files = await _form_files(request)
            work = partial(uploads.run_files, service, target, files)
        elif kind in NDJSON:
            work = partial(uploads.run_ndjson, service, target, await _spool(request, max_upload_bytes))
        elif kind in ARCHIVES:
            work = partial(uploads.run_archive, service, target, await _spool(request, max_upload_bytes))
        else:
            raise InvalidRequest(
                f"found content type {kind!r}; expected one of {', '.join((*ARCHIVES, *NDJSON, FORM))}",
                field="content-type",
                reason="CONTENT_TYPE_UNKNOWN",
            )
        return _started(board.start("upload", work))

    @routes.post(
        "/v1/evaluations", status_code=202, summary="Evaluate a labelled gallery; answers with a job"
    )
    async def evaluate(body: EvaluationBody) -> Response:
        wanted = EvaluationRequest(
            gallery=body.gallery,
            query_modality=asked.certain_modality(body.query_modality, "query_modality"),
            gallery_modality=asked.certain_modality(body.gallery_modality, "gallery_modality"),
            rule=RULES[asked.one_of(body.rule, RULES, "rule")],
            cmc=CMC[asked.one_of(body.cmc, CMC, "cmc")],
        )
        target = service.gallery(body.gallery)
        return _started(board.start("evaluation", partial(evaluations.run, target, wanted)))

    @routes.get("/v1/evaluations/{job_id}", summary="The state and report of an evaluation")
    async def evaluation(job_id: str) -> Response:
        return words.answer(words.job(board.get(job_id)))

    @routes.get("/v1/jobs", summary="List the jobs, the newest first")
    async def listing() -> Response:
        return words.answer({"jobs": [words.job(job) for job in board.list()]})

    @routes.get("/v1/jobs/{job_id}", summary="The state of a job")
    async def describe(job_id: str) -> Response:
        return words.answer(words.job(board.get(job_id)))

    @routes.post("/v1/jobs/{job_id}:cancel", summary="Stop a job; what it stored stays")
    async def cancel(job_id: str) -> Response:
        return words.answer(words.job(board.cancel(job_id)))

    return routes


def _started(job: Job) -> Response:
    return words.answer(words.job(job), 202, headers={"location": f"/v1/jobs/{job.job_id}"})


async def _spool(request: Request, limit: int) -> IO[bytes]:
    """Write the body to an unnamed temporary file, up to the limit."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the job closes it
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            asked.check_size(size, limit)
            file.write(part)
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise StorageError(f"the upload cannot be held: {error}; free space, then try again") from error
        raise
    if not size:
        file.close()
        raise InvalidRequest("the body is empty; send an archive", field="body", reason="BODY_EMPTY")
    file.seek(0)
    return file


async def _form_files(request: Request) -> list[tuple[str, IO[bytes]]]:
    form = await request.form(max_files=MAX_FORM_FILES)
    files: list[tuple[str, IO[bytes]]] = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            raise InvalidRequest(f"the form field {name!r} is no file; expected files", field=name)
        files.append((value.filename or "", value.file))
    if not files:
        raise InvalidRequest("the form holds no files; expected some under 'files'", field="files")
    return files
