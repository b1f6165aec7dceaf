"""The first answers of a few telling queries: the best, the median and the worst by average precision.

Which ones depends on nothing but the scores: equals come in the order of the queries, and each group shows a person
once, so that three queries of one easy person do not stand for all. Knows no pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vireid.arrays import Float64Array, Int64Array
from vireid.datasets.split import Split
from vireid.evaluation import rerank
from vireid.evaluation.evaluate import Plan, labels
from vireid.evaluation.metrics import UNKNOWN, excluded
from vireid.evaluation.protocol import Protocol
from vireid.types import Sample

Group = Literal["best", "median", "worst"]
GROUPS: tuple[Group, ...] = ("best", "median", "worst")
EACH = 3  # queries of a group
LENGTH = 10  # answers of a list


@dataclass(frozen=True, slots=True)
class Answer:
    """One image of a list.

    Attributes:
        rank: 1 for the first.
        score: before any re-ranking.
        right: whether it shows the person asked for.
        sample: the image.
    """

    rank: int
    score: float
    right: bool
    sample: Sample


@dataclass(frozen=True, slots=True)
class RankedList:
    """What one query was answered.

    Attributes:
        group: why it is shown.
        query: the image that asked.
        ap: its average precision.
        matches: images of its person that it could find.
        seen: images it could find in all.
        hidden: images the exclusion rule kept from it.
        first: rank of its first match among images.
        answers: the first ones.
    """

    group: Group
    query: Sample
    ap: float
    matches: int
    seen: int
    hidden: int
    first: int
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """The searches of one trial.

    Attributes:
        query: what asks, and its vectors, (Q, D).
        gallery: what is found or drawn from, and its vectors, (G, D).
        plan: which of them take part.
        protocol: its rule hides, its re-ranking orders.
    """

    query: tuple[Split, Float64Array]
    gallery: tuple[Split, Float64Array]
    plan: Plan
    protocol: Protocol


def lists(searches: Searches, ap: Float64Array) -> tuple[RankedList, ...]:
    """Choose queries of a trial and list their first answers.

    Args:
        searches: the trial.
        ap: average precision of its queries, 0 where one has no match, (q,).
    """
    chosen = choose(ap, searches.query[0].persons[searches.plan.query])
    ranking = _ranking(searches, np.array([place for _, place in chosen], dtype=np.int64))
    return tuple(
        _list(searches, group, place, order, float(ap[place]))
        for (group, place), order in zip(chosen, ranking, strict=True)
    )


def choose(ap: Float64Array, person: Int64Array, each: int = EACH) -> list[tuple[Group, int]]:
    """Choose the best, median and worst queries; a query stands in one group only.

    Args:
        ap: average precision, 0 where a query has no match, (Q,).
        person: who asks, (Q,).
        each: at most so many of a group.

    Returns:
        Group and place of each: best from the top down, median from the middle outwards, worst from the bottom up.
    """
    order = np.lexsort((np.arange(len(ap)), -ap))
    order = order[ap[order] > 0]
    outwards = np.argsort(np.abs(np.arange(len(order)) - len(order) // 2), kind="stable")
    taken: set[int] = set()
    found: dict[Group, list[int]] = {}
    walks: dict[Group, Int64Array] = {"best": order, "worst": order[::-1], "median": order[outwards]}
    for group, walk in walks.items():
        found[group] = []
        persons: set[int] = set()
        for place in walk.tolist():
            who = int(person[place])
            if len(found[group]) < each and place not in taken and who not in persons:
                found[group].append(place)
                taken.add(place)
                persons.add(who)
    return [(group, place) for group in GROUPS for place in found[group]]


def _ranking(searches: Searches, places: Int64Array) -> Iterator[Int64Array]:
    """Return each query's gallery, best first, as places in the trial's gallery."""
    asked, wanted = searches.query[1][searches.plan.query], searches.gallery[1][searches.plan.gallery]
    parameters = searches.protocol.rerank
    if parameters is None:
        score = asked[places] @ wanted.T
    elif parameters.candidates:
        score = rerank.similarities(asked[places], wanted, parameters)
    else:  # the published algorithm: all queries see each other
        score = rerank.similarities(asked, wanted, parameters)[places]
    return (np.argsort(-row, kind="stable") for row in score)


def _list(searches: Searches, group: Group, place: int, order: Int64Array, ap: float) -> RankedList:
    query, gallery, plan = searches.query, searches.gallery, searches.plan
    row = int(plan.query[place])
    asked, found = labels(query[0]).take(plan.query[[place]]), labels(gallery[0]).take(plan.gallery)
    hidden = excluded(asked, found, searches.protocol.rule)[0]
    order = order[~hidden[order]]
    right = (found.person[order] == asked.person[0]) & (asked.person[0] != UNKNOWN)
    shown = plan.gallery[order[:LENGTH]]
    score = gallery[1][shown] @ query[1][row]
    answers = zip(score.tolist(), right.tolist(), shown.tolist(), strict=False)
    return RankedList(
        group=group,
        query=query[0].samples[row],
        ap=ap,
        matches=int(right.sum()),
        seen=len(order),
        hidden=int(hidden.sum()),
        first=int(right.argmax()) + 1,
        answers=tuple(
            Answer(rank, value, is_right, gallery[0].samples[one])
            for rank, (value, is_right, one) in enumerate(answers, start=1)
        ),
    )
