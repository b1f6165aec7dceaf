"""Routes of evaluations: begin one, follow it, take its report."""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from server import evaluations
from server.evaluations import EvaluationRequest
from server.http import asked, bodies, documented, schemas, words
from server.http.asked import EvaluationBody
from server.jobs import JobBoard
from server.service import RetrievalService
from vireid.evaluation.metrics import CmcLevel, Rule

RULES: dict[str, Rule] = {"none": "none", "market": "market", "sysu": "sysu"}
# the report holds names that callers chose: it loads nothing, runs nothing, and is of no origin
_ONLY_ITSELF = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
CMC: dict[str, CmcLevel] = {"identity": "identity", "image": "image"}


def router(service: RetrievalService, board: JobBoard) -> APIRouter:
    """Build the routes over a service and a board of jobs."""
    routes = APIRouter(tags=["evaluations"])

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
            rerank=body.rerank.value() if body.rerank else None,
            query_gallery=body.query_gallery,
            html=body.html,
        )
        return words.started(evaluations.start(service, board, wanted))

    @routes.get(
        "/v1/evaluations/{job_id}",
        response_model=schemas.Job,
        summary="The state and the main numbers of an evaluation",
    )
    async def evaluation(job_id: str) -> Response:
        return words.answer(words.job(evaluations.get(board, job_id)))

    @routes.get(
        "/v1/evaluations/{job_id}/report.json",
        summary="The whole report of an evaluation that has succeeded",
        response_class=Response,
        responses=documented.files("application/json"),
    )
    async def as_json(job_id: str) -> Response:
        return _report(job_id, evaluations.JSON, "application/json")

    @routes.get(
        "/v1/evaluations/{job_id}/report.csv",
        summary="The scores of an evaluation that has succeeded, as a table",
        response_class=Response,
        responses=documented.files("text/csv"),
    )
    async def as_csv(job_id: str) -> Response:
        return _report(job_id, evaluations.CSV, "text/csv")

    @routes.get(
        "/v1/evaluations/{job_id}/report.html",
        summary="The report of an evaluation that was asked for with html, drawn, as one file",
        response_class=Response,
        responses=documented.files("text/html"),
    )
    async def as_html(job_id: str) -> Response:
        return _report(job_id, evaluations.HTML, "text/html", {"content-security-policy": _ONLY_ITSELF})

    def _report(
        job_id: str, name: str, media_type: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        content = evaluations.document(evaluations.get(board, job_id), name)
        return Response(content, headers=headers, media_type=media_type)

    return routes
