"""One search of a gallery, from embedded queries to the hits that are answered.

Queries are brought to what the gallery is centred by, and asked anew should that change in between: all of an answer is
of one space. Knows no transport and no model.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from index.answers import Found
from index.centres import applied
from index.gallery import Gallery
from index.holdings import CENTRING_CHANGED
from server import asking, ranking
from server.answers import SearchRequest, Warned
from vireid.arrays import Float32Array
from vireid.calibration import NOT_CALIBRATED, Calibration
from vireid.errors import FailedPrecondition
from vireid.types import Hit, Modality

TRIES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What a search found.

    Attributes:
        hits: as they are answered.
        found: what the gallery answered, in its order.
        warnings: what the caller should know.
        search_s: seconds in the gallery.
        rerank_s: seconds of the new order.
    """

    hits: tuple[Hit, ...]
    found: Found
    warnings: tuple[Warned, ...]
    search_s: float
    rerank_s: float


def check(gallery: Gallery, request: SearchRequest) -> None:
    """Refuse a least probability where scores are centred: the bundle's calibration is of scores that are not.

    Raises:
        FailedPrecondition: that is what is asked for.
    """
    if request.min_probability is not None and gallery.centres is not None:
        raise FailedPrecondition(
            f"gallery {request.gallery!r} is {gallery.centres.told}; the bundle's calibration does not hold for centred "
            "scores, so no hit has a probability: ask with min_score",
            reason=NOT_CALIBRATED,
        )


def find(
    gallery: Gallery,
    request: SearchRequest,
    vectors: Float32Array,
    modalities: Sequence[Modality],
    calibration: Calibration | None,
) -> Finding:
    """Search.

    Args:
        gallery: to be asked.
        request: says what.
        vectors: the queries as they were embedded, unit rows, (Q, D).
        modalities: of each.
        calibration: of the bundle.

    Raises:
        FailedPrecondition: a probability is asked for and cannot be told.
        InvalidRequest, ItemNotFound: see ``asking``.
    """
    for _ in range(TRIES - 1):
        try:
            return _find(gallery, request, vectors, modalities, calibration)
        except FailedPrecondition as error:
            if error.stable_reason != CENTRING_CHANGED:
                raise
    return _find(gallery, request, vectors, modalities, calibration)


def _find(
    gallery: Gallery,
    request: SearchRequest,
    vectors: Float32Array,
    modalities: Sequence[Modality],
    calibration: Calibration | None,
) -> Finding:
    check(gallery, request)
    centres, modality = gallery.centres, modalities[0]
    queries = asking.fused(request, applied(centres, vectors, modalities))
    request, queries = asking.steered(gallery, request, queries, centres)
    began = time.monotonic()
    detailed = request.rerank is not None or calibration is not None
    answered = asking.found(gallery, request, queries, modality, detailed, centres.number if centres else 0)
    turned = time.monotonic()
    found = ranking.reordered(request, queries[0], answered)
    rerank_s = time.monotonic() - turned if request.rerank is not None else 0.0
    found, cut = ranking.one_per_person(request, found)
    measured = None if request.is_moved else calibration  # it says nothing of what was moved
    unknown: tuple[Warned, ...] = ()
    if centres is not None and measured is not None:  # nor of what was centred
        measured = None
        said = (
            f"the gallery is {centres.told}; the calibration is of other scores, so no hit has a probability"
        )
        unknown = (Warned("CENTRED_NOT_CALIBRATED", said),)
    hits, doubts = ranking.likely(request, modality, found, measured)
    return Finding(hits, answered, (*cut, *doubts, *unknown), turned - began, rerank_s)
