"""Evaluation of a labelled gallery that is in the server already, as a job.

Its infrared items ask its visible ones, or the reverse, under named choices. Knows no HTTP.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from index.gallery import Gallery, Labelled
from server.jobs import Job
from vireid.arrays import Int64Array
from vireid.errors import EvaluationError
from vireid.evaluation import metrics
from vireid.types import Modality

RANKS = (1, 5, 10, 20)
MAX_PAIRS = 50_000_000


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is measured.

    Attributes:
        gallery: gallery name.
        query_modality: which items ask.
        gallery_modality: which items are found.
        rule: ``none``, ``market`` (same person and camera are left out) or ``sysu``.
        cmc: ``identity`` or ``image``.
    """

    gallery: str
    query_modality: Modality = Modality.INFRARED
    gallery_modality: Modality = Modality.VISIBLE
    rule: metrics.Rule = "none"
    cmc: metrics.CmcLevel = "identity"


async def run(gallery: Gallery, request: EvaluationRequest, job: Job) -> Mapping[str, Any]:
    """Measure a gallery.

    Raises:
        EvaluationError: no labelled items of a modality, or no query has a match.
    """
    job.total = 1
    report = await asyncio.to_thread(_report, gallery, request)
    job.done = 1
    return report


def _report(gallery: Gallery, request: EvaluationRequest) -> dict[str, Any]:
    labelled = gallery.labelled()
    ask = np.flatnonzero(labelled.modalities == int(request.query_modality))
    found = np.flatnonzero(labelled.modalities == int(request.gallery_modality))
    if not len(ask) or not len(found):
        raise EvaluationError(
            f"gallery {request.gallery!r} has {len(ask)} labelled {request.query_modality.word} and {len(found)} "
            f"labelled {request.gallery_modality.word} items; expected some of both: enrol items with a person"
        )
    if len(ask) * len(found) > MAX_PAIRS:
        raise EvaluationError(
            f"{len(ask):,} x {len(found):,} comparisons; at most {MAX_PAIRS:,} are made inside a server: "
            "evaluate so large a set with vireid evaluate"
        )
    persons, cameras = _numbers(labelled.persons), _numbers(labelled.cameras, own=True)
    similarity = labelled.vectors[ask] @ labelled.vectors[found].T
    scores = metrics.scores(
        similarity,
        query=metrics.Labels(persons[ask], cameras[ask]),
        gallery=metrics.Labels(persons[found], cameras[found]),
        rule=request.rule,
        cmc=request.cmc,
    )
    last = len(scores.cmc) - 1
    return {
        "protocol": _words(request, labelled),
        "queries": len(ask),
        "gallery_items": len(found),
        "persons": len(set(persons[ask].tolist())),
        "n_valid": int(scores.n_valid),
        "rank": {str(rank): float(scores.cmc[min(rank - 1, last)]) for rank in RANKS},
        "mAP": float(scores.mean_ap),
        "mINP": float(scores.mean_inp),
        "space_id": gallery.space_id,
        "gallery_version": gallery.info().version,
    }


def _numbers(names: tuple[str, ...], own: bool = False) -> Int64Array:
    """Number names; with ``own``, names that are all numbers keep theirs (the sysu rule knows cameras 2 and 3)."""
    if own and all(name.isdecimal() for name in names):
        return np.array([int(name) for name in names], np.int64)
    places = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], np.int64)


def _words(request: EvaluationRequest, labelled: Labelled) -> str:
    rules = {
        "none": "nothing is left out",
        "market": "gallery items of the query's own person and camera are left out",
        "sysu": "camera 2 is left out for queries of camera 3",
    }
    return (
        f"every labelled {request.query_modality.word} item asks, every labelled {request.gallery_modality.word} item is "
        f"found ({len(labelled.item_ids)} labelled in all); {rules[request.rule]}; CMC by {request.cmc}; AP over all matches"
    )
