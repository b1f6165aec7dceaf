"""CMC, mAP and mINP of a similarity matrix under a named exclusion rule and CMC level.

Ranking is by descending similarity; equal similarities keep the gallery's order. A query that has no match
left in its gallery is *invalid* and takes no part in any average. Knows no files, datasets, draws or models.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vireid.errors import EvaluationError

if TYPE_CHECKING:
    from vireid.evaluation.ranker import Found

Rule = Literal["sysu", "market", "none"]
CmcLevel = Literal["identity", "image"]

UNKNOWN = -1  # a person nobody has named: never a match, still somebody in the gallery
_BLOCK = 2_000_000  # matrix entries ranked at once; between blocks a key press may end it


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
    columns: Int64Array | None = None,
) -> QueryScores:
    """Score each query on its own.

    The matrix is read in place, once; the working memory is a few of its rows. The first call in a process
    loads the compiled loops, and the very first on a machine compiles them, which takes seconds.

    Args:
        similarity: the larger the more alike, (Q, C); infinite values are ranked, NaN is refused.
        query: labels of the rows.
        gallery: labels of the gallery's images, (G,).
        rule: which gallery images a query must not see; see ``excluded``.
        cmc: ``identity`` ranks persons by their first image (SYSU-MM01, LLCM), ``image`` ranks images.
        columns: where the gallery's images stand in ``similarity``, in gallery order, (G,), so that trials
            share one matrix without copies; other columns are not looked at. None: they are its columns.

    Raises:
        EvaluationError: shapes that do not fit, an unknown rule or level, or NaN.
    """
    _check(similarity, query, gallery, rule, cmc, columns)
    from vireid.evaluation import ranker  # imports numba, which nothing else here needs

    hides = {"none": ranker.NOTHING, "sysu": ranker.SAME_ROOM, "market": ranker.ITSELF}[rule]
    question = ranker.Question(hides, cmc == "identity")
    persons, found = _gallery(gallery, columns)
    room = ranker.make_room(found, _kind(similarity))
    asked = ranker.Asked(_numbers(query.person, persons), _plain(query.camera))
    scored, nan = QueryScores.empty(len(query)), np.zeros(len(query), dtype=np.bool_)
    step = max(1, _BLOCK // max(1, similarity.shape[1]))
    for begin in range(0, len(query) if len(gallery) else 0, step):
        rows = slice(begin, begin + step)
        ranker.rank_rows(
            np.require(similarity[rows], dtype=_kind(similarity), requirements=["A"]),  # seldom a copy
            found,
            ranker.Asked(asked.person[rows], asked.camera[rows]),
            question,
            room,
            ranker.Outcome(scored.first[rows], scored.ap[rows], scored.inp[rows], nan[rows]),
        )
    if nan.any():
        raise EvaluationError(
            f"{int(nan.sum())} queries have NaN similarities (the first is row {int(nan.argmax())}); "
            f"a rank cannot be given to NaN: check the features"
        )
    return scored


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
    similarity: Float32Array | Float64Array,
    query: Labels,
    gallery: Labels,
    rule: Rule,
    cmc: CmcLevel,
    columns: Int64Array | None,
) -> None:
    if rule not in get_args(Rule):
        raise EvaluationError(f"the exclusion rule is one of {', '.join(get_args(Rule))}, not {rule!r}")
    if cmc not in get_args(CmcLevel):
        raise EvaluationError(f"the CMC level is one of {', '.join(get_args(CmcLevel))}, not {cmc!r}")
    if columns is not None:
        _check_columns(columns, similarity.shape[-1] if similarity.ndim else 0, len(gallery))
    width = len(gallery) if columns is None else similarity.shape[-1]
    if similarity.shape != (len(query), width):
        raise EvaluationError(
            f"the similarity matrix is {similarity.shape}; "
            f"{len(query)} queries and {len(gallery)} gallery images need ({len(query)}, {width})"
        )
    if similarity.dtype.kind != "f" or similarity.dtype.itemsize > 8:
        raise EvaluationError(
            f"similarities are floating point, not {similarity.dtype}; give float32 or float64"
        )


def _check_columns(columns: Int64Array, width: int, n_gallery: int) -> None:
    if columns.shape != (n_gallery,) or columns.dtype.kind not in "iu":
        raise EvaluationError(
            f"{n_gallery} gallery images need as many whole column numbers; "
            f"got {columns.dtype} of shape {columns.shape}"
        )
    if n_gallery and not 0 <= columns.min() <= columns.max() < width:
        raise EvaluationError(
            f"columns {columns.min()} to {columns.max()} are asked for; the similarity matrix has {width}"
        )


def _gallery(gallery: Labels, columns: Int64Array | None) -> tuple[Int64Array, "Found"]:
    """Return the persons in ascending order, and the gallery with persons numbered by their places there."""
    from vireid.evaluation.ranker import Found

    persons, person = np.unique(gallery.person, return_inverse=True)
    start = np.zeros(len(persons) + 1, dtype=np.int64)
    np.cumsum(np.bincount(person, minlength=len(persons)), out=start[1:])
    column = np.zeros(0, dtype=np.int64) if columns is None else columns
    member = np.argsort(person, kind="stable")
    return persons, Found(_plain(column), _plain(person), _plain(gallery.camera), start, _plain(member))


def _numbers(person: Int64Array, persons: Int64Array) -> Int64Array:
    """Return the place of each person among ``persons``, -1 for those who match nobody."""
    place = np.searchsorted(persons, person)
    here = (place < len(persons)) & (person != UNKNOWN)
    here[here] = persons[place[here]] == person[here]
    return np.where(here, place, -1)


def _plain(numbers: Int64Array) -> Int64Array:
    """Return numbers in the one form that the loops are compiled for, without a copy where they have it."""
    return np.require(numbers, dtype=np.int64, requirements=["C", "A", "W"])


def _kind(similarity: Float32Array | Float64Array) -> type[np.float32] | type[np.float64]:
    """Return the type that the loops read: float16 is widened, and foreign byte orders are turned, by the block."""
    return np.float64 if similarity.dtype.itemsize == 8 else np.float32
