"""What becomes of a gallery's hits before they are answered: a new order, a probability, those too unlikely left out.

Knows no gallery and no transport.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from index.answers import Found
from server.answers import SearchRequest, Warned
from vireid.arrays import Float32Array, Int64Array
from vireid.calibration import NOT_CALIBRATED, Calibration
from vireid.counted import counted
from vireid.errors import EvaluationError, FailedPrecondition, InvalidRequest
from vireid.evaluation import rerank
from vireid.evaluation.protocol import Rerank
from vireid.types import Hit, Modality

MAX_CANDIDATES = 1000


def parameters(candidates: int, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Rerank:
    """Read what a caller says of re-ranking.

    Raises:
        InvalidRequest: the numbers do not fit together.
    """
    try:
        return Rerank(k1, k2, weight, candidates)
    except EvaluationError as error:
        raise InvalidRequest(error.message, field="rerank") from None


def check(request: SearchRequest, calibration: Calibration | None) -> None:
    """Refuse what cannot be answered, before any work is done for it.

    Raises:
        InvalidRequest: a probability or a number of candidates out of range.
        FailedPrecondition: a probability is asked for, and the bundle's scores are not calibrated.
    """
    least = request.min_probability
    if least is not None and not 0 <= least <= 1:  # NaN, too
        raise InvalidRequest(f"min_probability is 0 to 1, not {least}", field="min_probability")
    if least is not None and calibration is None:
        raise FailedPrecondition(
            "the bundle's scores are not calibrated, so no hit has a probability; ask with min_score, or calibrate the "
            "bundle with 'vireid evaluate calibrate'",
            reason=NOT_CALIBRATED,
        )
    if least is not None and request.is_moved:
        raise InvalidRequest(
            "a query of several images or moved by examples has no probability; ask with min_score",
            field="min_probability",
        )
    check_candidates(request.rerank)


def check_candidates(order: Rerank | None, field: str = "rerank.candidates") -> None:
    """Refuse to re-rank more than a server should.

    Args:
        order: how; None for not at all.
        field: where the number stands in the request, for errors.

    Raises:
        InvalidRequest: a number of candidates out of range.
    """
    if order is not None and not 1 <= order.candidates <= MAX_CANDIDATES:
        raise InvalidRequest(
            f"re-ranking takes 1 to {MAX_CANDIDATES} candidates, not {order.candidates}",
            field=field,
        )


def candidates(request: SearchRequest) -> int:
    """Say how many hits the gallery is asked for."""
    if request.one_per_person:
        return MAX_CANDIDATES
    return max(request.top_k, request.rerank.candidates if request.rerank else 0)


def reordered(request: SearchRequest, vector: Float32Array, found: Found) -> Found:
    """Put the best candidates into the order of re-ranking; scores stay cosines, the rest follows as it was."""
    if request.rerank is None or found.vectors is None or not found.hits:
        return found
    many = min(request.rerank.candidates, len(found.hits))
    order = rerank.search(vector, found.vectors[:many], request.rerank).order
    return replace(found, hits=_numbered([found.hits[at] for at in order] + list(found.hits[many:])))


def one_per_person(request: SearchRequest, found: Found) -> tuple[Found, tuple[Warned, ...]]:
    """Keep each person's best hit, if that is asked for; items of nobody stand for themselves.

    Returns:
        The hits, and a warning if persons beyond the candidates may be missing.
    """
    if not request.one_per_person:
        return found, ()
    seen: set[str] = set()
    kept = []
    for hit in found.hits:
        person = hit.item.meta.person
        if person not in seen:
            kept.append(hit)
        if person:
            seen.add(person)
    cut = len(kept) < request.top_k and len(found.hits) == MAX_CANDIDATES < found.items_searched
    said = (
        f"only the best {MAX_CANDIDATES} items were looked at, and they show {counted(len(kept), 'person')}; narrow the "
        "filter for more"
    )
    return replace(found, hits=_numbered(kept)), (Warned("PERSONS_INCOMPLETE", said),) if cut else ()


def likely(
    request: SearchRequest, modality: Modality, found: Found, calibration: Calibration | None
) -> tuple[tuple[Hit, ...], tuple[Warned, ...]]:
    """Give hits their probability, and leave out those that are too unlikely or too many.

    Args:
        request: the search.
        modality: of the query.
        found: with ``searched_by`` where there is a calibration.
        calibration: of the bundle.

    Returns:
        The hits, and a warning where the least probability left none.

    Raises:
        FailedPrecondition: a least probability was asked for, and the scores of a hit's modality are not calibrated.
    """
    least = request.min_probability
    # where nothing is left out, the hits beyond those asked for need no probability
    hits = found.hits if least is not None else found.hits[: request.top_k]
    if calibration is None or found.searched_by is None or not hits:
        return hits[: request.top_k], ()
    known = _probabilities(hits, modality, found.searched_by, calibration, demanded=least is not None)
    if least is None:
        return tuple(_told(hit, hit.rank, one) for hit, one in zip(hits, known, strict=True)), ()
    kept = [(hit, one) for hit, one in zip(hits, known, strict=True) if one is not None and one >= least]
    if kept:
        shown = kept[: request.top_k]
        return tuple(_told(hit, rank, one) for rank, (hit, one) in enumerate(shown, start=1)), ()
    best = max(one or 0.0 for one in known)
    said = f"nobody is found with a probability of {least:g} or more; the most likely of {found.items_searched} has {best:.2g}"
    return (), (Warned("NO_CONFIDENT_MATCH", said),)


def _probabilities(
    hits: Sequence[Hit], modality: Modality, searched: Int64Array, by: Calibration, demanded: bool
) -> list[float | None]:
    """Ask the calibration once for each modality; None where it does not know, unless it has to."""
    scores = np.array([hit.score for hit in hits])
    kinds = np.array([int(hit.item.modality) for hit in hits])
    known: list[float | None] = [None] * len(hits)
    for kind in map(Modality, np.unique(kinds).tolist()):
        if not demanded and not by.has(modality, kind):
            continue
        places = np.flatnonzero(kinds == kind)
        found = by.probability(scores[places], modality, kind, int(searched[kind]))
        for at, one in zip(places.tolist(), found.tolist(), strict=True):
            known[at] = one
    return known


def _told(hit: Hit, rank: int, probability: float | None) -> Hit:
    return Hit(rank, hit.score, hit.item, probability)


def _numbered(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1))
