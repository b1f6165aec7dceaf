"""Rank-k, mAP and mINP from ranked hits, in plain Python.

Counts as ``vireid.evaluation.metrics`` does: hits by descending score, equal ones in gallery order; a query
with no match it may see takes no part. Knows no wire and no time.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from clients.replies import SearchReply
from vireid.errors import EvaluationError
from vireid.image_folder import Entry
from vireid.types import ItemMeta

Rule = Literal["sysu", "market", "none"]
CmcLevel = Literal["identity", "image"]

RANKS = (1, 5, 10, 20)
RULES: Mapping[Rule, str] = {
    "sysu": "camera 3 queries ignore every image of camera 2",
    "market": "a query ignores its own person's images in its own camera",
    "none": "nothing is ignored",
}
LEVELS: Mapping[CmcLevel, str] = {"identity": "ranks count persons", "image": "ranks count images"}
_NUMBERED = re.compile(r"(?:cam(?:era)?|c)?[-_ ]?(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well people were found.

    Attributes:
        rule: what a query did not see.
        cmc: what ranks count.
        rank: k -> share of queries whose person is among the first k.
        mean_ap: mean average precision.
        mean_inp: mean inverse negative penalty: a person's images over the rank of the last of them.
        queries: queries asked.
        scored: queries with a match in the gallery; the denominator of every average.
        gallery: images that could be found.
        depth: hits asked for; a match beyond them counts as not found.
        complete: whether the hits could hold the whole gallery; else every figure is a lower bound.
    """

    rule: Rule
    cmc: CmcLevel
    rank: Mapping[int, float]
    mean_ap: float
    mean_inp: float
    queries: int
    scored: int
    gallery: int
    depth: int
    complete: bool


def hidden(rule: Rule, query: ItemMeta, found: ItemMeta) -> bool:
    """Whether a query does not see an image."""
    if rule == "sysu":
        return _number(query.camera) == 3 and _number(found.camera) == 2
    return rule == "market" and (query.person, query.camera) == (found.person, found.camera)


def score(
    queries: Sequence[Entry],
    gallery: Sequence[Entry],
    replies: Sequence[SearchReply | None],
    *,
    rule: Rule,
    cmc: CmcLevel,
    depth: int,
) -> Accuracy:
    """Score answers.

    Args:
        queries: what was asked.
        gallery: what was enrolled.
        replies: the answers, in the order of ``queries``; one that failed found nobody.
        rule: what a query does not see.
        cmc: what ranks count.
        depth: hits asked for.

    Raises:
        EvaluationError: nobody asked for is in the gallery.
    """
    place = {entry.item_id: number for number, entry in enumerate(gallery)}
    cameras: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in gallery:
        cameras[entry.meta.person][entry.meta.camera] += 1
    first: list[float] = []
    precision: list[float] = []
    penalty: list[float] = []
    for query, reply in zip(queries, replies, strict=True):
        person = query.meta.person
        relevant = sum(
            count
            for camera, count in cameras[person].items()
            if not hidden(rule, query.meta, ItemMeta(person=person, camera=camera))
        )
        if relevant == 0:
            continue
        hits = () if reply is None else reply.hits
        ranked = sorted(hits, key=lambda hit: (-hit.score, place[hit.item.item_id]))
        seen = [gallery[place[hit.item.item_id]].meta for hit in ranked]
        persons = [meta.person for meta in seen if not hidden(rule, query.meta, meta)]
        ranks = [rank for rank, found in enumerate(persons, start=1) if found == person]
        first.append(_first(persons, ranks, cmc))
        precision.append(sum(n / rank for n, rank in enumerate(ranks, start=1)) / relevant)
        penalty.append(relevant / ranks[-1] if len(ranks) == relevant else 0.0)
    if not first:
        raise EvaluationError(
            f"no query's person is in the gallery where it may be found (rule {rule}: {RULES[rule]}); nothing can "
            "be scored: see the persons and cameras of the queries and the gallery, or choose another --rule"
        )
    return Accuracy(
        rule=rule,
        cmc=cmc,
        rank={k: sum(rank <= k for rank in first) / len(first) for k in RANKS},
        mean_ap=statistics.fmean(precision),
        mean_inp=statistics.fmean(penalty),
        queries=len(queries),
        scored=len(first),
        gallery=len(gallery),
        depth=depth,
        complete=depth >= len(gallery),
    )


def _number(camera: str) -> int | None:
    """Read the number of a camera that is called by one: ``3``, ``cam3``, ``c03``."""
    named = _NUMBERED.fullmatch(camera)
    return int(named.group(1)) if named else None


def _first(persons: Sequence[str], ranks: Sequence[int], cmc: CmcLevel) -> float:
    if not ranks:
        return math.inf
    return ranks[0] if cmc == "image" else 1 + len(set(persons[: ranks[0] - 1]))
