"""Features of a dataset in, a protocol's scores out: one for each trial, their mean and spread.

Knows no model and no image. Similarity is the inner product in float64: the cosine, for unit vectors. It is
computed once and shared by trials and by protocols of one direction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vireid.arrays import Float64Array, Int64Array
from vireid.datasets import sysu
from vireid.datasets.split import Dataset, Split
from vireid.errors import EvaluationError
from vireid.evaluation import draws, refusals, rerank
from vireid.evaluation.features import Features
from vireid.evaluation.metrics import Labels, QueryScores, score_queries, summarise
from vireid.evaluation.protocol import Protocol, Rerank
from vireid.evaluation.result import CURVE, REPORTED_RANKS, Result, Trial

_BLOCK = 4_000_000  # similarities held at once, 32 MB
_RERANKED = 8  # queries re-ranked at once, where each re-ranks by itself

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which rows ask and which are found in a trial.

    Attributes:
        number: the trial.
        query: rows of the split that asks, (q,).
        gallery: rows of the split that is found, in drawn order, (g,).
    """

    number: int
    query: Int64Array
    gallery: Int64Array


def evaluate(
    features: Features,
    dataset: Dataset,
    protocol: Protocol,
    ranks: Sequence[int] = REPORTED_RANKS,
    permutations: Path | None = None,
    advance: Advance | None = None,
) -> Result:
    """Measure features under a protocol.

    Args:
        features: vectors of the dataset's query and gallery splits.
        dataset: where they come from.
        protocol: how they are asked and counted.
        ranks: of the CMC, reported by name.
        permutations: ``rand_perm_cam.mat`` for the official draw; None takes the one in the dataset's folder.
        advance: told the number of queries of each block once it is scored; what it raises ends the evaluation.

    Raises:
        EvaluationError: the protocol belongs to another dataset or split, features do not fit or are not
            finite, or no query has a match.
        DatasetError: the official draw's file is missing or does not fit.
    """
    return evaluate_all(features, dataset, [protocol], ranks, permutations, advance)[0]


def evaluate_all(
    features: Features,
    dataset: Dataset,
    protocols: Sequence[Protocol],
    ranks: Sequence[int] = REPORTED_RANKS,
    permutations: Path | None = None,
    advance: Advance | None = None,
) -> tuple[Result, ...]:
    """Measure features under several protocols that share their similarities, such as modes and shots.

    Args:
        features: vectors of the dataset's query and gallery splits.
        dataset: where they come from.
        protocols: how they are asked and counted.
        ranks: of the CMC, reported by name.
        permutations: see ``evaluate``.
        advance: see ``evaluate``.

    Returns:
        One result for each protocol, in their order.

    Raises:
        EvaluationError: see ``evaluate``; also ranks below 1.
        DatasetError: see ``evaluate``.
    """
    if not ranks or min(ranks) < 1:
        raise EvaluationError(f"CMC ranks start from 1, not {', '.join(map(str, ranks)) or 'none'}")
    length = max(CURVE, *ranks)
    planned = [plan(dataset, protocol, permutations) for protocol in protocols]
    refusals.check_features(features, dataset)
    scores = _scored(features, dataset, protocols, planned, advance or _unwatched)
    results = []
    for protocol, plans in zip(protocols, scores, strict=True):
        trials = tuple(
            Trial(p.number, len(p.gallery), summarise(scored.take(p.query), length)) for p, scored in plans
        )
        results.append(Result(protocol, dataset.synthetic, trials, tuple(ranks)))
    return tuple(results)


def plan(dataset: Dataset, protocol: Protocol, permutations: Path | None = None) -> Sequence[Plan]:
    """Choose who asks and who is found in each trial; needs no features, so what cannot be drawn is told early.

    Raises:
        EvaluationError: the protocol belongs to another dataset or split, a side is empty or of another
            modality, or more shots are asked for than there are.
        DatasetError: the official draw's file is missing or does not fit.
    """
    refusals.check_protocol(dataset, protocol)
    query, gallery = sides(dataset, protocol)
    refusals.check_sides(query, gallery, protocol)
    every_query, every_gallery = np.arange(len(query)), np.arange(len(gallery))
    if protocol.cameras:
        every_gallery = np.flatnonzero(np.isin(gallery.cameras, np.array(protocol.cameras)))
    if protocol.draw == "none":
        return [Plan(number, every_query, every_gallery) for number in protocol.trials]
    pool = query if protocol.drawn == "query" else gallery
    grouped = draws.groups(labels(pool), protocol.cameras if protocol.drawn == "gallery" else ())
    if protocol.draw == "official":
        orders = sysu.orders(permutations) if permutations else sysu.permutations(dataset.root)
        drawn = [draws.official_draw(grouped, orders, t, protocol.shots) for t in protocol.trials]
    else:
        drawn = [draws.python_draw(grouped, t, protocol.shots) for t in protocol.trials]
    return [
        Plan(number, rows, every_gallery) if protocol.drawn == "query" else Plan(number, every_query, rows)
        for number, rows in zip(protocol.trials, drawn, strict=True)
    ]


def sides(dataset: Dataset, protocol: Protocol) -> tuple[Split, Split]:
    """Return the split that asks and the split that is found."""
    pair = (dataset.query, dataset.gallery)
    return pair[::-1] if protocol.turned else pair


def vectors(features: Features, protocol: Protocol) -> tuple[Float64Array, Float64Array]:
    """Return the vectors that ask and those that are found, in float64."""
    pair = (features.query.astype(np.float64), features.gallery.astype(np.float64))
    return pair[::-1] if protocol.turned else pair


def labels(split: Split) -> Labels:
    """Return who is on each image of a split and which camera took it."""
    return Labels(split.persons, split.cameras)


def similarity_blocks(
    query: Float64Array, gallery: Float64Array, asked: Int64Array, found: Int64Array
) -> Iterator[tuple[Int64Array, Float64Array]]:
    """Compare some rows with some rows, a block at a time.

    Args:
        query: vectors that ask.
        gallery: vectors that are found.
        asked: rows of ``query``.
        found: rows of ``gallery``.

    Yields:
        Some of ``asked``, and their similarities to all of ``found``.
    """
    wanted = np.ascontiguousarray(gallery[found].T)
    step = max(1, _BLOCK // max(1, len(found)))
    for begin in range(0, len(asked), step):
        rows = asked[begin : begin + step]
        yield rows, query[rows] @ wanted


def reranked_blocks(
    query: Float64Array, gallery: Float64Array, plan: Plan, parameters: Rerank
) -> Iterator[tuple[Int64Array, Float64Array]]:
    """Re-rank a trial, a block at a time; the published algorithm, where all queries see each other, is one block.

    Yields:
        Some of the trial's query rows, and numbers that rank its gallery for them.
    """
    wanted = gallery[plan.gallery]
    step = _RERANKED if parameters.candidates else max(1, len(plan.query))
    for begin in range(0, len(plan.query), step):
        rows = plan.query[begin : begin + step]
        yield rows, rerank.similarities(query[rows], wanted, parameters)


Scored = list[tuple[Plan, QueryScores]]


def _unwatched(_queries: int) -> None:
    """Nobody asked how far it is."""


def _scored(
    features: Features,
    dataset: Dataset,
    protocols: Sequence[Protocol],
    planned: Sequence[Sequence[Plan]],
    advance: Advance,
) -> Sequence[Scored]:
    """Score every plan of every protocol; one direction at a time shares its similarities."""
    outcome: list[Scored] = [
        [(p, QueryScores.empty(len(sides(dataset, protocol)[0]))) for p in plans]
        for protocol, plans in zip(protocols, planned, strict=True)
    ]
    for turned in (False, True):
        mine = [
            (protocol, scored)
            for protocol, scored in zip(protocols, outcome, strict=True)
            if protocol.turned == turned
        ]
        plain = [work for work in mine if work[0].rerank is None]
        if plain:
            _score(features, dataset, plain, advance)
        for protocol, scored in mine:
            if protocol.rerank is not None:
                _score_reranked(features, dataset, protocol, scored, advance)
    return outcome


def _score_reranked(
    features: Features, dataset: Dataset, protocol: Protocol, scored: Scored, advance: Advance
) -> None:
    """Fill in the scores of one protocol that re-ranks: each trial's gallery is re-ranked by itself."""
    assert protocol.rerank is not None
    query, gallery = (labels(split) for split in sides(dataset, protocol))
    q, g = vectors(features, protocol)
    for p, scores in scored:
        found = gallery.take(p.gallery)
        for rows, similarity in reranked_blocks(q, g, p, protocol.rerank):
            scores.put(rows, score_queries(similarity, query.take(rows), found, protocol.rule, protocol.cmc))
            advance(len(rows))


def _score(
    features: Features, dataset: Dataset, work: Sequence[tuple[Protocol, Scored]], advance: Advance
) -> None:
    """Fill in the scores of protocols of one direction."""
    query, gallery = (labels(split) for split in sides(dataset, work[0][0]))
    q, g = vectors(features, work[0][0])
    asked = np.unique(np.concatenate([p.query for _, scored in work for p, _ in scored]))
    found = np.unique(np.concatenate([p.gallery for _, scored in work for p, _ in scored]))
    for rows, similarity in similarity_blocks(q, g, asked, found):
        for protocol, scored in work:
            for p, scores in scored:
                mine = np.flatnonzero(np.isin(rows, p.query))
                part = similarity if len(mine) == len(rows) else similarity[mine]
                scores.put(
                    rows[mine],
                    score_queries(
                        part,
                        query.take(rows[mine]),
                        gallery.take(p.gallery),
                        protocol.rule,
                        protocol.cmc,
                        columns=np.searchsorted(found, p.gallery),
                    ),
                )
        advance(len(rows))
