"""CMC, mAP and mINP of a similarity matrix under a named exclusion rule and CMC level.

Ranking is by descending similarity; equal similarities keep the gallery's order. A query that has no match
left in its gallery is *invalid* and takes no part in any average. Knows no files, datasets, draws or models.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vireid.errors import EvaluationError

Rule = Literal["sysu", "market", "none"]
CmcLevel = Literal["identity", "image"]

UNKNOWN = -1  # a person nobody has named: never a match, still somebody in the gallery
_BLOCK = 2_000_000  # matrix entries ranked at once: the working arrays stay near 100 MB


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Who is on each image and which camera took it.

    Attributes:
        person: identity numbers, (N,); -1 where unknown.
        camera: camera numbers, (N,).
    """

    person: Int64Array
    camera: Int64Array

    def __post_init__(self) -> None:
        if self.person.ndim != 1 or self.person.shape != self.camera.shape:
            raise EvaluationError(
                f"labels need one person and one camera per image; "
                f"got shapes {self.person.shape} and {self.camera.shape}"
            )

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: Int64Array | slice) -> "Labels":
        """Return the labels of some rows, in the order of ``rows``."""
        return Labels(self.person[rows], self.camera[rows])


@dataclass(frozen=True, slots=True, eq=False)
class QueryScores:
    """What each query scored on its own.

    Attributes:
        first: rank of the first match at the CMC's level, from 1; 0 where the query is invalid, (Q,).
        ap: average precision, 0 where invalid, (Q,).
        inp: inverse negative penalty, 0 where invalid, (Q,).
    """

    first: Int64Array
    ap: Float64Array
    inp: Float64Array

    @property
    def valid(self) -> BoolArray:
        """Which queries have a match, (Q,)."""
        return self.first > 0

    @staticmethod
    def empty(n: int) -> "QueryScores":
        """Return room for ``n`` queries, all invalid until ``put``."""
        return QueryScores(np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n))

    def put(self, rows: Int64Array, scored: "QueryScores") -> None:
        """Write the scores of some queries."""
        self.first[rows], self.ap[rows], self.inp[rows] = scored.first, scored.ap, scored.inp

    def take(self, rows: Int64Array) -> "QueryScores":
        """Return the scores of some queries."""
        return QueryScores(self.first[rows], self.ap[rows], self.inp[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The averages over valid queries, as fractions.

    Attributes:
        cmc: share of valid queries whose first match is at rank <= r, r = 1..R, (R,).
        hits: the same as counts, (R,).
        mean_ap: mean average precision.
        mean_inp: mean inverse negative penalty.
        n_query: queries asked.
        n_valid: queries that have a match; the denominator of every average.
        queries: what each query scored.
    """

    cmc: Float64Array
    hits: Int64Array
    mean_ap: float
    mean_inp: float
    n_query: int
    n_valid: int
    queries: QueryScores

    def rank(self, r: int) -> float:
        """Return the CMC at rank ``r``; beyond the last rank kept, the last value."""
        return float(self.cmc[min(r, len(self.cmc)) - 1])


def excluded(query: Labels, gallery: Labels, rule: Rule) -> BoolArray:
    """Return which gallery images each query must not see, (Q, G).

    ``sysu``: a query of camera 3 ignores every image of camera 2, of whatever identity (both stand in one
    room). ``market``: a query ignores the images of its own person in its own camera. ``none``: nothing.
    """
    unseen: BoolArray = np.zeros((len(query), len(gallery)), dtype=np.bool_)
    if rule == "sysu":
        unseen |= (query.camera == 3)[:, None] & (gallery.camera == 2)[None, :]
    elif rule == "market":
        unseen |= query.camera[:, None] == gallery.camera[None, :]
        unseen &= query.person[:, None] == gallery.person[None, :]
    return unseen


def score_queries(
    similarity: Float32Array | Float64Array,
    query: Labels,
    gallery: Labels,
    rule: Rule = "none",
    cmc: CmcLevel = "identity",
) -> QueryScores:
    """Score each query on its own.

    Args:
        similarity: the larger the more alike, (Q, G); infinite values are ranked, NaN is refused.
        query: labels of the rows.
        gallery: labels of the columns.
        rule: which gallery images a query must not see; see ``excluded``.
        cmc: ``identity`` ranks persons by their first image (SYSU-MM01, LLCM), ``image`` ranks images.

    Raises:
        EvaluationError: shapes that do not fit, an unknown rule or level, or NaN.
    """
    _check(similarity, query, gallery, rule, cmc)
    n_query, n_gallery = similarity.shape
    first = np.zeros(n_query, dtype=np.int64)
    ap = np.zeros(n_query)
    inp = np.zeros(n_query)
    persons, by_person, starts = _groups(gallery.person)
    step = max(1, _BLOCK // max(1, n_gallery))
    for begin in range(0, n_query if n_gallery else 0, step):
        rows = slice(begin, begin + step)
        asked = query.take(rows)
        visible = ~excluded(asked, gallery, rule)
        rank = _ranks(similarity[rows], visible)
        match = (asked.person[:, None] == gallery.person[None, :]) & visible
        match[asked.person == UNKNOWN] = False
        ap[rows], inp[rows], first[rows] = _precision(rank, match)
        if cmc == "identity":
            best = np.minimum.reduceat(rank[:, by_person], starts, axis=1)
            first[rows] = _identity_rank(best, first[rows], persons, asked.person)
    return QueryScores(first, ap, inp)


def summarise(queries: QueryScores, ranks: int = 50) -> Scores:
    """Average over the valid queries; the CMC has exactly ``ranks`` entries.

    Raises:
        EvaluationError: no query is valid.
    """
    valid = queries.valid
    n_query, n_valid = len(valid), int(valid.sum())
    if n_valid == 0:
        raise EvaluationError(
            f"none of the {n_query} queries has a match in its gallery, so there is nothing to average; "
            f"check that queries and gallery share persons seen by different cameras"
        )
    counts = np.bincount(np.minimum(queries.first[valid], ranks + 1), minlength=ranks + 2)
    hits = np.cumsum(counts[1 : ranks + 1]).astype(np.int64)
    return Scores(
        cmc=hits / n_valid,
        hits=hits,
        mean_ap=float(queries.ap[valid].mean()),
        mean_inp=float(queries.inp[valid].mean()),
        n_query=n_query,
        n_valid=n_valid,
        queries=queries,
    )


def scores(
    similarity: Float32Array | Float64Array,
    query: Labels,
    gallery: Labels,
    rule: Rule = "none",
    cmc: CmcLevel = "identity",
    ranks: int = 50,
) -> Scores:
    """Score a similarity matrix: ``score_queries`` then ``summarise``.

    Raises:
        EvaluationError: see both.
    """
    return summarise(score_queries(similarity, query, gallery, rule, cmc), ranks)


def _check(
    similarity: Float32Array | Float64Array, query: Labels, gallery: Labels, rule: Rule, cmc: CmcLevel
) -> None:
    if rule not in get_args(Rule):
        raise EvaluationError(f"the exclusion rule is one of {', '.join(get_args(Rule))}, not {rule!r}")
    if cmc not in get_args(CmcLevel):
        raise EvaluationError(f"the CMC level is one of {', '.join(get_args(CmcLevel))}, not {cmc!r}")
    if similarity.shape != (len(query), len(gallery)):
        raise EvaluationError(
            f"the similarity matrix is {similarity.shape}; "
            f"{len(query)} queries and {len(gallery)} gallery images need ({len(query)}, {len(gallery)})"
        )
    if similarity.dtype.kind != "f":
        raise EvaluationError(f"similarities are floating point, not {similarity.dtype}")
    bad = np.isnan(similarity).any(axis=1)
    if bad.any():
        raise EvaluationError(
            f"{int(bad.sum())} queries have NaN similarities (the first is row {int(bad.argmax())}); "
            f"a rank cannot be given to NaN: check the features"
        )


def _groups(person: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the distinct persons, columns ordered by person, and where each person's columns start."""
    by_person = np.argsort(person, kind="stable")
    persons, starts = np.unique(person[by_person], return_index=True)
    return persons, by_person, starts


def _ranks(similarity: Float32Array | Float64Array, visible: BoolArray) -> Int64Array:
    """Return each gallery image's rank among those its query sees; a number past the end for the others."""
    order = np.argsort(-similarity, axis=1, kind="stable")
    seen = np.take_along_axis(visible, order, axis=1)
    position = np.cumsum(seen, axis=1, dtype=np.int64)
    position[~seen] = similarity.shape[1] + 1
    rank = np.empty_like(position)
    np.put_along_axis(rank, order, position, axis=1)
    return rank


def _precision(rank: Int64Array, match: BoolArray) -> tuple[Float64Array, Float64Array, Int64Array]:
    """Return average precision, inverse negative penalty and the image-level rank of the first match."""
    n_match = match.sum(axis=1)
    has = n_match > 0
    row, column = np.nonzero(match)
    found = rank[row, column]
    order = np.lexsort((found, row))
    row, found = row[order], found[order]
    before = np.cumsum(n_match) - n_match
    nth = np.arange(1, len(row) + 1) - before[row]  # the k of the k-th match of its query
    ap = np.bincount(row, weights=nth / found, minlength=len(match)) / np.maximum(n_match, 1)
    first = np.zeros(len(match), dtype=np.int64)
    inp = np.zeros(len(match))
    first[has] = found[before[has]]
    inp[has] = n_match[has] / found[(before + n_match - 1)[has]]
    return ap, inp, first


def _identity_rank(best: Int64Array, first: Int64Array, persons: Int64Array, asked: Int64Array) -> Int64Array:
    """Return how many persons show up no later than the query's own, 0 where the query is invalid.

    Args:
        best: rank of each person's first image, (B, P).
        first: image-level rank of the query's first match, 0 where invalid, (B,).
        persons: the P persons.
        asked: the persons of the B queries.
    """
    own = np.minimum(np.searchsorted(persons, asked), len(persons) - 1)
    own_best = np.take_along_axis(best, own[:, None], axis=1)
    return np.where(first > 0, (best <= own_best).sum(axis=1), 0)
