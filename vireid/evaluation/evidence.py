"""More than scores: what a report's pictures are drawn from, and the pass over all similarities that gathers it.

The pass computes the similarities the scores are made of a second time, block by block, and keeps a few numbers for
each query and a histogram for each pair of modalities. Re-ranking changes ranks and lists; scores stay what they were
before it, because only those can be compared between queries. Needs NumPy only. Knows no pictures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vireid.arrays import BoolArray, Float64Array, Int64Array
from vireid.errors import EvaluationError
from vireid.evaluation import precision_recall, ranked_lists
from vireid.evaluation.det import Det, det
from vireid.evaluation.evaluate import (
    Advance,
    Plan,
    labels,
    plan,
    reranked_blocks,
    sides,
    similarity_blocks,
    vectors,
)
from vireid.evaluation.histogram import Histogram, Tally, merged
from vireid.evaluation.measure import Case
from vireid.evaluation.metrics import UNKNOWN, Labels, Rule, excluded
from vireid.evaluation.precision_recall import PrecisionRecall, PrecisionTally
from vireid.evaluation.protocol import Protocol
from vireid.evaluation.ranked_lists import RankedList, Searches

COSINE, PRODUCT = "cosine similarity", "inner product"
_UNIT = 1e-4  # how far from 1 the length of a unit row may be
_CELLS = 500_000  # of a block, looked at at once: 4 MB as float64


@dataclass(frozen=True, slots=True, eq=False)
class TrialEvidence:
    """One trial, query by query.

    Attributes:
        number: its number in the protocol.
        n_gallery: images in its gallery.
        named: whether the query's person is known, (Q,).
        match: best score of an image of the query's person, -inf where there is none, (Q,).
        other: best score of an image of anybody else, -inf where there is none, (Q,).
        ap: average precision, 0 where there is no match, (Q,).
        curve: precision over recall, the mean over queries with a match.
    """

    number: int
    n_gallery: int
    named: BoolArray
    match: Float64Array
    other: Float64Array
    ap: Float64Array
    curve: PrecisionRecall

    @property
    def det(self) -> Det:
        """FNIR against FPIR; see ``vireid.evaluation.det``."""
        return det(self.match[np.isfinite(self.match)], self.other[self.named])


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What pictures show of one result.

    Attributes:
        score: what a score is: ``cosine similarity``, or ``inner product`` where rows have other lengths than 1.
        trials: one by one, in the result's order.
        histograms: scores of pairs of images, by modalities; each pair that some trial compares counts once.
        lists: first answers of the best, the median and the worst queries of the first trial.
        listed: the number of that trial.
    """

    score: str
    trials: tuple[TrialEvidence, ...]
    histograms: tuple[Histogram, ...]
    lists: tuple[RankedList, ...]
    listed: int

    @property
    def curve(self) -> PrecisionRecall:
        """Precision over recall, the plain mean of the trials; the area is their mean average precision."""
        return precision_recall.mean([t.curve for t in self.trials])


def gather(
    case: Case,
    protocol: Protocol,
    permutations: Path | None = None,
    advance: Advance | None = None,
) -> Evidence:
    """Look at every similarity of a test set once.

    Memory beyond the vectors is about 100 MB, however many images there are; published re-ranking holds a whole trial.

    Args:
        case: the test set and its features.
        protocol: how they were asked and counted; of one identity split.
        permutations: ``rand_perm_cam.mat`` for the official draw; None takes the one in the dataset's folder.
        advance: told the number of queries of each block; what it raises ends the pass.

    Raises:
        EvaluationError: the protocol and the features do not fit, or no query of a trial has a match.
        DatasetError: the official draw's file is missing or does not fit.
    """
    query, gallery = sides(case.dataset, protocol)
    q, g = vectors(case.features, protocol)
    plans = plan(case.dataset, protocol, permutations)
    tallies = [_Trial(p, labels(query), labels(gallery), protocol.rule) for p in plans]
    limit = float(np.linalg.norm(q, axis=1).max() * np.linalg.norm(g, axis=1).max())
    cosine = abs(limit - 1) < _UNIT and _unit(q) and _unit(g)
    histogram = Tally(query, gallery, 1.0 if cosine else limit)
    asked = np.unique(np.concatenate([p.query for p in plans]))
    found = np.unique(np.concatenate([p.gallery for p in plans]))
    columns = [np.searchsorted(found, p.gallery) for p in plans]
    for rows, similarity in similarity_blocks(q, g, asked, found):
        for part in _parts(len(rows), len(found)):
            histogram.add(rows[part], found, similarity[part], protocol.rule)
            for tally, column in zip(tallies, columns, strict=True):
                tally.take(rows[part], similarity[part], column, ranks=protocol.rerank is None)
        if advance is not None:
            advance(len(rows))
    if protocol.rerank is not None:
        for tally, p in zip(tallies, plans, strict=True):
            for rows, similarity in reranked_blocks(q, g, p, protocol.rerank):
                if advance is not None:
                    advance(0)  # they are counted already; it may still end the pass
                for part in _parts(len(rows), len(p.gallery)):
                    tally.rank(rows[part], similarity[part])
    trials = tuple(t.evidence() for t in tallies)
    return Evidence(
        score=COSINE if cosine else PRODUCT,
        trials=trials,
        histograms=histogram.histograms(),
        lists=ranked_lists.lists(Searches((query, q), (gallery, g), plans[0], protocol), trials[0].ap),
        listed=plans[0].number,
    )


def merge(parts: Sequence[Evidence]) -> Evidence:
    """Put the evidence of several identity splits together; lists are the first one's.

    Raises:
        EvaluationError: there is none, or the splits' scores are of different kinds.
    """
    kinds = {part.score for part in parts}
    if len(kinds) != 1:
        found = " and ".join(sorted(kinds)) or "nothing"
        raise EvaluationError(f"splits of one kind of score go together, found {found}; make them alike")
    return Evidence(
        score=parts[0].score,
        trials=tuple(t for part in parts for t in part.trials),
        histograms=merged([part.histograms for part in parts]),
        lists=parts[0].lists,
        listed=parts[0].listed,
    )


class _Trial:
    """Collects one trial's numbers."""

    def __init__(self, planned: Plan, query: Labels, gallery: Labels, rule: Rule) -> None:
        self.plan, self.query, self.rule = planned, query, rule
        self.gallery = gallery.take(planned.gallery)
        n = len(planned.query)
        self.place = np.full(len(query), -1, dtype=np.int64)
        self.place[planned.query] = np.arange(n)
        self.match, self.other, self.ap = np.full(n, -np.inf), np.full(n, -np.inf), np.zeros(n)
        self.precision = PrecisionTally()

    def take(self, rows: Int64Array, similarity: Float64Array, column: Int64Array, *, ranks: bool) -> None:
        """Take in some rows of all queries; ``column`` says where the trial's gallery is."""
        mine = np.flatnonzero(self.place[rows] >= 0)
        if not len(mine):
            return
        rows, similarity = rows[mine], similarity[np.ix_(mine, column)]
        seen, match = self._truth(rows)
        place = self.place[rows]
        self.match[place] = np.where(match, similarity, -np.inf).max(axis=1, initial=-np.inf)
        self.other[place] = np.where(seen & ~match, similarity, -np.inf).max(axis=1, initial=-np.inf)
        if ranks:
            self.rank(rows, similarity)

    def rank(self, rows: Int64Array, similarity: Float64Array) -> None:
        """Rank the trial's gallery for some of its queries and keep where matches stand."""
        seen, match = self._truth(rows)
        order = np.argsort(-similarity, axis=1, kind="stable")
        position = np.cumsum(np.take_along_axis(seen, order, axis=1), axis=1)
        row, column = np.nonzero(np.take_along_axis(match, order, axis=1))
        n_match = match.sum(axis=1)
        nth = np.arange(1, len(row) + 1) - (np.cumsum(n_match) - n_match)[row]
        precision = nth / position[row, column]
        total = np.bincount(row, precision, minlength=len(rows))
        self.ap[self.place[rows]] = total / np.maximum(n_match, 1)
        for n in np.unique(n_match[n_match > 0]).tolist():
            self.precision.add(n, precision[n_match[row] == n].reshape(-1, n))

    def evidence(self) -> TrialEvidence:
        """Return what was collected."""
        if not np.isfinite(self.match).any():
            raise EvaluationError(
                f"no query of trial {self.plan.number} has a match in its gallery, so there is nothing to show; "
                f"check that queries and gallery share persons seen by different cameras"
            )
        return TrialEvidence(
            number=self.plan.number,
            n_gallery=len(self.gallery),
            named=self.query.person[self.plan.query] != UNKNOWN,
            match=self.match,
            other=self.other,
            ap=self.ap,
            curve=self.precision.curve(),
        )

    def _truth(self, rows: Int64Array) -> tuple[BoolArray, BoolArray]:
        """Return which gallery images some queries see, and which of those are matches."""
        asked = self.query.take(rows)
        seen = ~excluded(asked, self.gallery, self.rule)
        alike = asked.person[:, None] == self.gallery.person[None, :]
        return seen, seen & alike & (asked.person != UNKNOWN)[:, None]


def _unit(rows: Float64Array) -> bool:
    return bool((np.abs(np.linalg.norm(rows, axis=1) - 1) < _UNIT).all())


def _parts(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(1, width))
    return (slice(begin, min(begin + step, rows)) for begin in range(0, rows, step))
