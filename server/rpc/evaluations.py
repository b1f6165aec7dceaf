"""``vireid.v1.EvaluationService`` on the wire: an evaluation's progress and report as one stream.

Knows messages; the work is ``server.evaluations``'s.
"""

from collections.abc import AsyncIterator
from typing import Any

from server import evaluations
from server.evaluations import EvaluationRequest
from server.jobs import Job, JobBoard
from server.rpc import messages
from server.service import RetrievalService
from vireid.evaluation.metrics import CmcLevel, Rule
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Modality

EVERY_S = 0.2

_RULES: dict[int, Rule] = {
    pb.EvaluateRequest.RULE_UNSPECIFIED: "none",
    pb.EvaluateRequest.RULE_NONE: "none",
    pb.EvaluateRequest.RULE_MARKET: "market",
    pb.EvaluateRequest.RULE_SYSU: "sysu",
}
_CMC: dict[int, CmcLevel] = {
    pb.EvaluateRequest.CMC_LEVEL_UNSPECIFIED: "identity",
    pb.EvaluateRequest.CMC_LEVEL_IDENTITY: "identity",
    pb.EvaluateRequest.CMC_LEVEL_IMAGE: "image",
}


class EvaluationServicer:
    """Answers ``Evaluate``.

    Args:
        service: holds the galleries.
        board: runs the work.
    """

    def __init__(self, service: RetrievalService, board: JobBoard) -> None:
        self._service = service
        self._board = board

    async def Evaluate(self, request: pb.EvaluateRequest, context: Any) -> AsyncIterator[pb.EvaluateProgress]:
        """Measure; a caller who leaves, or whose deadline passes, cancels the job."""
        job = evaluations.start(self._service, self._board, _request_of(request))
        # at any end of the call; nothing happens to a job that has ended
        context.add_done_callback(lambda _: self._board.cancel(job.job_id))
        told: tuple[int, int] | None = None
        while not await self._board.ended(job.job_id, 0.0 if told is None else EVERY_S):
            if told != (job.done, job.total):
                told = (job.done, job.total)
                yield _progress_to(job)
        if job.state != "succeeded":
            raise job.failure
        yield _progress_to(job, with_report=True)


def _request_of(message: pb.EvaluateRequest) -> EvaluationRequest:
    return EvaluationRequest(
        gallery=message.gallery,
        query_modality=_modality_of(message.query_modality, "query_modality", Modality.INFRARED),
        gallery_modality=_modality_of(message.gallery_modality, "gallery_modality", Modality.VISIBLE),
        rule=messages.one_of(message.rule, _RULES, "rule"),
        cmc=messages.one_of(message.cmc, _CMC, "cmc"),
        rerank=messages.rerank_of(message.rerank) if message.HasField("rerank") else None,
        query_gallery=message.query_gallery,
        html=message.html,
    )


def _modality_of(number: int, field: str, usual: Modality) -> Modality:
    said = convert.modality_of(number, field)
    return usual if said is None else said


def _progress_to(job: Job, *, with_report: bool = False) -> pb.EvaluateProgress:
    report = None
    if with_report:
        report = pb.EvaluationReport(
            **{name.removeprefix("report."): content.decode() for name, content in job.documents.items()}
        )
    return pb.EvaluateProgress(job_id=job.job_id, done=job.done, total=job.total, report=report)
