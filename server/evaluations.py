"""Evaluation of labelled galleries that are in the server already, as a job.

The numbers are made by ``vireid.evaluation``, as those of ``vireid evaluate`` are. Knows no HTTP and no gRPC.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from index.gallery import Gallery
from server import illustrated, labelled, ranking
from server.illustrated import GalleryAlbum
from server.jobs import FINAL, Job, JobBoard
from server.labelled import Side
from server.service import RetrievalService
from vireid.errors import Cancelled, EvaluationError, FailedPrecondition, JobNotFound
from vireid.evaluation import metrics, report
from vireid.evaluation.evidence import gather
from vireid.evaluation.measure import Measured, measure
from vireid.evaluation.protocol import Protocol, Rerank
from vireid.types import Modality

KIND = "evaluation"
JSON, CSV, HTML = "report.json", "report.csv", "report.html"
# One evaluation runs at a time, in blocks: 1e9 comparisons are one to two minutes of a core at 384 to 2048 numbers each,
# and 1e8 numbers take 1.6 GB beside the gallery, twice as float64.
MAX_PAIRS = 1_000_000_000
MAX_NUMBERS = 100_000_000


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is measured.

    Attributes:
        gallery: whose labelled items are found.
        query_modality: which items ask.
        gallery_modality: which items are found.
        rule: ``none``, ``market`` (same person and camera are left out) or ``sysu``.
        cmc: ``identity`` or ``image``.
        rerank: how answers are re-ranked; None leaves them as they are.
        query_gallery: whose labelled items ask; empty for the gallery's own.
        html: whether the report is drawn, too; takes a second look at every comparison.
    """

    gallery: str
    query_modality: Modality = Modality.INFRARED
    gallery_modality: Modality = Modality.VISIBLE
    rule: metrics.Rule = "none"
    cmc: metrics.CmcLevel = "identity"
    rerank: Rerank | None = None
    query_gallery: str = ""
    html: bool = False

    @property
    def asking(self) -> str:
        """Whose items ask."""
        return self.query_gallery or self.gallery


def start(service: RetrievalService, board: JobBoard, request: EvaluationRequest) -> Job:
    """Begin an evaluation.

    Raises:
        InvalidRequest: too many candidates to re-rank.
        FailedPrecondition: an HTML report is asked for that cannot be drawn here.
        GalleryNotFound: there is no such gallery.
        Overloaded: too many jobs are at work.
        Unavailable: the server drains.
    """
    ranking.check_candidates(request.rerank)
    if request.html:
        illustrated.check_installed()
    finds, asks = service.gallery(request.gallery), service.gallery(request.asking)
    return board.start(KIND, partial(run, asks, finds, request), _nothing_held, alone=True)


async def run(asks: Gallery, finds: Gallery, request: EvaluationRequest, job: Job) -> Mapping[str, Any]:
    """Measure; the report goes to the job's documents.

    A cancelled job ends within a block of queries, and not before its work has ended.

    Args:
        asks: the gallery whose items ask.
        finds: the gallery whose items are found; may be the same.
        request: what is measured.
        job: told the queries that are done.

    Raises:
        EvaluationError: nothing can be measured, or more than a server should.
    """
    left = threading.Event()

    def advance(queries: int) -> None:
        if left.is_set():
            raise Cancelled("the evaluation was asked to stop")
        job.done += queries

    work = asyncio.create_task(asyncio.to_thread(_run, asks, finds, request, job, advance))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        left.set()
        await asyncio.wait({work})
        work.exception()  # what ended it is known
        raise


def get(board: JobBoard, job_id: str) -> Job:
    """Return an evaluation's job.

    Raises:
        JobNotFound: no such job, or it is no evaluation.
    """
    job = board.get(job_id)
    if job.kind != KIND:
        raise JobNotFound(f"job {job_id!r} is no evaluation; ask /v1/jobs/{job_id}")
    return job


def document(job: Job, name: str) -> bytes:
    """Return a report of an evaluation that has succeeded.

    Raises:
        FailedPrecondition: it has not ended, or ended otherwise, or this one was not asked for.
    """
    if job.state not in FINAL:
        raise FailedPrecondition(
            f"evaluation {job.job_id} is {job.state}: {job.done} of {job.total or 'an unknown number of'} queries are "
            "done; ask for its report once it has succeeded",
            reason="EVALUATION_NOT_DONE",
        )
    if name not in job.documents and job.documents:
        raise FailedPrecondition(
            f"evaluation {job.job_id} has {', '.join(job.documents)}, but no {name}; ask for it with html when it begins",
            reason="REPORT_NOT_ASKED_FOR",
        )
    if name not in job.documents:
        why = f": {job.error.message}" if job.error else ""
        raise FailedPrecondition(
            f"evaluation {job.job_id} has no report, it {'was' if job.state == 'cancelled' else 'has'} {job.state}{why}",
            reason="EVALUATION_CANCELLED" if job.state == "cancelled" else "EVALUATION_FAILED",
        )
    return job.documents[name]


def _run(
    asks: Gallery, finds: Gallery, request: EvaluationRequest, job: Job, advance: Callable[[int], None]
) -> Mapping[str, Any]:
    found = finds.labelled()
    asked = found if asks is finds else asks.labelled()
    # both as they are when the one is searched with the other
    query = labelled.side(asked, request.query_modality, found.centres)
    gallery = labelled.side(found, request.gallery_modality, found.centres)
    _check(query, gallery, request)
    job.total = len(query.item_ids) * (2 if request.html else 1)
    case = labelled.test_set(query, gallery, finds.space_id)
    protocol = _protocol(request)
    measured = measure(protocol, lambda _: case, advance=advance)
    versions: dict[str, dict[str, str | int]] = {
        "query": {"name": request.asking, "version": asked.version},
        "gallery": {"name": request.gallery, "version": found.version},
    }
    if found.centres is not None:
        versions["gallery"]["centring"] = found.centres.number
    told = {**report.document(measured), "galleries": versions}
    if request.html:
        album = GalleryAlbum(
            (case.dataset.query, asks, query.item_ids, query.cameras),
            (case.dataset.gallery, finds, gallery.item_ids, gallery.cameras),
        )
        made_from = {name: told[name] for name in ("galleries", "sources", "code")}
        seen = gather(case, measured.result.protocol, advance=advance)
        job.documents[HTML] = illustrated.html(measured.result, seen, made_from, album)
    job.documents[JSON] = report.to_json(told).encode()
    job.documents[CSV] = report.to_csv(measured.result).encode()
    return _summary(measured, finds.space_id, found.version)


def _summary(measured: Measured, space_id: str, version: int) -> Mapping[str, Any]:
    result, source = measured.result, measured.sources[0]
    return {
        "protocol": str(result.protocol),
        "queries": source.query.images,
        "gallery_items": source.gallery.images,
        "persons": source.query.persons,
        "n_valid": result.trials[0].scores.n_valid,
        "rank": {str(rank): result.mean.rank(rank) for rank in result.ranks},
        "mAP": float(result.mean.mean_ap),
        "mINP": float(result.mean.mean_inp),
        "space_id": space_id,
        "gallery_version": version,
    }


def _protocol(request: EvaluationRequest) -> Protocol:
    ask, found = request.query_modality.word, request.gallery_modality.word
    return Protocol(
        name=f"{labelled.DATASET}/{ask}-to-{found}",
        dataset=labelled.DATASET,
        mode=f"{ask}-to-{found}",
        asks=f"all labelled {ask} items of gallery {request.asking}",
        finds=f"all labelled {found} items of gallery {request.gallery}",
        query_modality=request.query_modality,
        gallery_modality=request.gallery_modality,
        rule=request.rule,
        cmc=request.cmc,
        rerank=request.rerank,
    )


def _check(query: Side, gallery: Side, request: EvaluationRequest) -> None:
    """Refuse what cannot be measured, or would mislead."""
    for items, name in ((query, request.asking), (gallery, request.gallery)):
        if not items.item_ids:
            raise EvaluationError(
                f"gallery {name!r} has no labelled {items.modality.word} item; expected some: enrol items with a person"
            )
    itself = request.asking == request.gallery and request.query_modality == request.gallery_modality
    if itself and request.rule != "market":
        raise EvaluationError(
            f"{query.modality.word} items would ask for themselves and each find itself first; name another "
            "query_gallery, or use the rule market, which leaves out a query's own camera"
        )
    cameras = query.cameras + gallery.cameras
    if request.rule == "sysu" and not labelled.are_numbers(cameras):
        other = next(name for name in sorted(set(cameras)) if not labelled.are_numbers([name]))
        raise EvaluationError(
            f"the rule sysu is about cameras 2 and 3, and a camera is named {other!r}; expected numbers: name cameras "
            "1, 2, 3 ..., or use the rule market"
        )
    if request.rule == "market" and "" in cameras:
        raise EvaluationError(
            f"the rule market needs every item's camera, and {cameras.count('')} labelled items have none: enrol them "
            "with a camera, or use the rule none"
        )
    many, wide = len(query.item_ids) + len(gallery.item_ids), gallery.vectors.shape[1]
    pairs = len(query.item_ids) * len(gallery.item_ids)
    if pairs > MAX_PAIRS or many * wide > MAX_NUMBERS:
        raise EvaluationError(
            f"{len(query.item_ids):,} x {len(gallery.item_ids):,} items of {wide} numbers; at most {MAX_PAIRS:,} "
            f"comparisons and {MAX_NUMBERS:,} numbers are taken inside a server: evaluate so large a set with "
            "'vireid evaluate features'"
        )


def _nothing_held() -> None:
    """An evaluation holds no files."""
