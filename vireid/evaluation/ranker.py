"""Where each query's matches stand in its ranking, without sorting the ranking: loops for the compiler.

A match's rank is one more than the number of images before it, so one pass over a row that counts them is
enough: with few matches one comparison for each, which the processor does many at a time; with many a binary
search among the sorted matches and a histogram. Images come by descending similarity, equal ones in gallery
order. Working memory is a few rows. Knows no names of rules and no averages.
"""

from typing import Any, NamedTuple

import numpy as np

from vireid.arrays import BoolArray, Float64Array, Int64Array
from vireid.compiled import compiled

NOTHING, SAME_ROOM, ITSELF = (
    0,
    1,
    2,
)  # what a query does not see: nothing, camera 2 from camera 3, its own person in its own camera
FEW = 256  # matches; above it searching is faster than counting


class Found(NamedTuple):
    """The gallery, persons numbered from 0.

    Attributes:
        column: where each image stands in the similarities, in gallery order, (G,); empty if in their order.
        person: (G,).
        camera: (G,).
        start: where each person's images start in ``member``, (P + 1,).
        member: positions in the gallery, by person and then in gallery order, (G,).
    """

    column: Int64Array
    person: Int64Array
    camera: Int64Array
    start: Int64Array
    member: Int64Array


class Asked(NamedTuple):
    """The queries: the number of each one's person, -1 where the gallery does not know it, and its camera."""

    person: Int64Array
    camera: Int64Array


class Outcome(NamedTuple):
    """What is written for each query; what it holds before stays where a query has no match.

    Attributes:
        first: rank of the first match, by persons or by images.
        ap: average precision.
        inp: number of matches over the rank of the last.
        nan: whether one of its similarities is NaN; then nothing else is written.
    """

    first: Int64Array
    ap: Float64Array
    inp: Float64Array
    nan: BoolArray


class Question(NamedTuple):
    """What the queries do not see, and whether the first match's rank counts persons instead of images."""

    hides: int
    by_person: bool


class Room(NamedTuple):
    """Working memory for one query at a time.

    Attributes:
        value: similarities of what it sees, (G,).
        person: their persons, where it does not see everything, (G + 1,).
        match: places of its matches among them, (G + 1,).
        rank: ranks of its matches in ascending order, (G + 1,).
        before: persons before its first match, (G + 1,).
        met: the last query that met each person, (P,).
        zero: a zero as wide as a similarity: then one instruction compares as many as it counts.
    """

    value: Any
    person: Int64Array
    match: Int64Array
    rank: Int64Array
    before: Int64Array
    met: Int64Array
    zero: Any


def make_room(found: Found, kind: Any) -> Room:
    """Return room for queries over a gallery, for similarities of a kind, float32 or float64."""
    size = len(found.person)
    person, match, rank, before = np.zeros((4, size + 1), np.int64)
    met = np.zeros(len(found.start) - 1, np.int64)
    zero = np.int32(0) if kind == np.float32 else np.int64(0)
    return Room(np.zeros(size, kind), person, match, rank, before, met, zero)


@compiled()
def rank_rows(
    similarity: Any, found: Found, asked: Asked, question: Question, room: Room, outcome: Outcome
) -> None:
    """Score queries.

    Args:
        similarity: float32 or float64, (B, anything).
        found: the gallery.
        asked: the queries, (B,).
        question: how they are asked.
        room: made for this gallery.
        outcome: room for the scores, (B,).
    """
    size = len(found.person)
    room.met[:] = -1
    for q in range(similarity.shape[0]):
        if len(found.column):
            outcome.nan[q] = _gather(similarity[q], found.column, room.value)
        else:
            outcome.nan[q] = _copy(similarity[q], room.value)
        if outcome.nan[q] or asked.person[q] < 0:
            continue
        seen, matches = _see(found, asked.person[q], asked.camera[q], question.hides, room)
        if matches == 0:
            continue
        value, match, rank = room.value[:seen], room.match[:matches], room.rank[:matches]
        if matches <= FEW:
            _count(value, match, rank, room.zero)
        else:
            _search(value, match, rank)
        precision = 0.0
        for k in range(matches):
            precision += (k + 1) / rank[k]
        outcome.ap[q] = precision / matches
        outcome.inp[q] = matches / rank[matches - 1]
        outcome.first[q] = rank[0]
        if question.by_person and rank[0] > 1:
            person = room.person if seen < size else found.person
            outcome.first[q] = _persons_until(value, person, _best(value, match), room.before, room.met, q)


@compiled()
def _copy(row: Any, value: Any) -> bool:
    """Copy the gallery's similarities; return whether one is NaN."""
    nan = False
    for j in range(len(value)):
        s = row[j]
        value[j] = s
        nan |= s != s
    return nan


@compiled()
def _gather(row: Any, column: Int64Array, value: Any) -> bool:
    """Copy the gallery's similarities; return whether one is NaN."""
    nan = False
    for j in range(len(column)):
        s = row[column[j]]
        value[j] = s
        nan |= s != s
    return nan


@compiled()
def _see(found: Found, own: int, camera: int, hides: int, room: Room) -> tuple[int, int]:
    """Move what a query sees to the front of the room, and note its matches.

    Where nothing is hidden, the persons are left alone: they would be the gallery's.

    Returns:
        How many images it sees, and how many of them match.
    """
    begin, end = found.start[own], found.start[own + 1]
    hidden = hides == SAME_ROOM and camera == 3
    if hides == ITSELF:
        for m in range(begin, end):
            hidden |= found.camera[found.member[m]] == camera
    if not hidden:
        for m in range(begin, end):
            room.match[m - begin] = found.member[m]
        return len(found.person), end - begin
    seen = matches = 0
    for j in range(len(found.person)):
        p, c = found.person[j], found.camera[j]
        if (hides == SAME_ROOM and c == 2) or (hides == ITSELF and p == own and c == camera):
            continue
        room.value[seen], room.person[seen] = room.value[j], p
        if p == own:
            room.match[matches] = seen
            matches += 1
        seen += 1
    return seen, matches


@compiled()
def _count(value: Any, match: Int64Array, rank: Int64Array, zero: Any) -> None:
    """Give the ranks of few matches, in ascending order."""
    for k in range(len(match)):
        place = match[k]
        s = value[place]
        found = 1 + _at_least(value[:place], s, zero) + _above(value[place + 1 :], s, zero)
        at = k
        while at > 0 and rank[at - 1] > found:
            rank[at] = rank[at - 1]
            at -= 1
        rank[at] = found


@compiled()
def _at_least(value: Any, limit: Any, zero: Any) -> Any:
    number, n = type(zero), zero
    for j in range(value.size):
        n = number(n + number(value[j] >= limit))
    return n


@compiled()
def _above(value: Any, limit: Any, zero: Any) -> Any:
    number, n = type(zero), zero
    for j in range(value.size):
        n = number(n + number(value[j] > limit))
    return n


@compiled()
def _search(value: Any, match: Int64Array, rank: Int64Array) -> None:
    """Give the ranks of many matches, in ascending order."""
    n = len(match)
    order = np.argsort(-value[match], kind="mergesort")  # stable
    place = match[order]
    limit = value[place]
    rank[:] = 0
    for j in range(len(value)):
        low, high = 0, n  # images before match ``low`` stand before this one
        while low < high:
            middle = (low + high) // 2
            s = limit[middle]
            if s > value[j] or (s == value[j] and place[middle] < j):
                low = middle + 1
            else:
                high = middle
        if low < n:
            rank[low] += 1
    for k in range(1, n):
        rank[k] += rank[k - 1]


@compiled()
def _best(value: Any, match: Int64Array) -> int:
    """Return the place of the first match in the ranking."""
    best = match[0]
    for place in match[1:]:
        if value[place] > value[best]:
            best = place
    return int(best)


@compiled()
def _persons_until(
    value: Any, person: Int64Array, best: int, before: Int64Array, met: Int64Array, q: int
) -> int:
    """Return the rank of an image among the first images of all persons.

    Args:
        value: similarities, (N,).
        person: (N,) or more.
        best: place of the image.
        before: room for N + 1 persons.
        met: which query met each person last; updated.
        q: this query.
    """
    s, n = value[best], 0
    for j in range(best):  # without a branch, as it could not be foreseen
        before[n] = person[j]
        n += int(value[j] >= s)
    for j in range(best + 1, len(value)):
        before[n] = person[j]
        n += int(value[j] > s)
    rank = 1
    for p in before[:n]:
        rank += int(met[p] != q)
        met[p] = q
    return rank
