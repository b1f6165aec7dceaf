"""A sweep over rounded rows: compiled loops that name every row that may be among the best.

A row is left out only where the bound of ``index.rounded`` proves it to be worse than k others; whoever is named is
scored again elsewhere. Knows no ids and no order of equal scores.
"""

from typing import NamedTuple

import numpy as np

from index.products import BLOCK, LANES, order_of_note, products
from index.rounded import Asked, Held
from vireid.arrays import BoolArray, Float32Array, Int8Array, Int16Array, Int32Array, Int64Array
from vireid.compiled import compiled

LOWEST = np.float32(-3.0e38)
# named rows a query may have before it is given up: at least, and for each hit asked for
FIRST_ROOM, ROOM_A_HIT = 2048, 8
# one query: eight rows, and the memory is asked for what comes; several: four of each, which then lie in the cache
_eight_rows, _sixteen, _one = products(8, 1, LANES, 16), products(4, 4, LANES // 2), products(1, 1, LANES)
_order_note = order_of_note()


class _Race(NamedTuple):
    """What is known of each query's best while rows go by.

    Attributes:
        named: rows that may be among the best, (Q, room).
        highs: what each of them may score at most, (Q, room).
        counts: how many they are, (Q,).
        lows: the k greatest scores that rows are known to reach, the least of them first, (Q, k).
        given_up: whether there were too many, (Q,).
    """

    named: Int64Array
    highs: Float32Array
    counts: Int64Array
    lows: Float32Array
    given_up: BoolArray


@compiled()
def candidates(
    held: Held, rows: Int64Array, asked: Asked, k: int
) -> tuple[Int64Array, Int64Array, BoolArray]:
    """Name all rows that may be among the k best of each query.

    Args:
        held: all rows.
        rows: those that may be named, (M,).
        asked: Q queries.
        k: 1 to M.

    Returns:
        Rows, (Q, room); how many of them are meant, (Q,); and whether there were too many, so that those
        meant are not all, (Q,).
    """
    many = asked.steps.size
    room = min(max(FIRST_ROOM, ROOM_A_HIT * k), 2 * rows.size) + BLOCK
    race = _Race(
        np.empty((many, room), np.int64),
        np.empty((many, room), np.float32),
        np.zeros(many, np.int64),
        np.full((many, k), LOWEST),
        np.zeros(many, np.bool_),
    )
    wholes, notes = np.zeros((many, BLOCK), np.int32), np.zeros((2, BLOCK), np.float32)
    for start in range(0, rows.size, BLOCK):
        block = rows[start : start + BLOCK]
        for at in range(start + BLOCK, min(start + 2 * BLOCK, rows.size)):
            _order_note(held.notes, rows[at])
        _multiply(held.codes, rows, start, block.size, asked.wholes, wholes)
        for at in range(block.size):
            notes[0, at], notes[1, at] = held.notes[block[at], 0], held.notes[block[at], 1]
        for query in range(many):
            if not race.given_up[query]:
                _take(race, query, block, wholes[query], notes, asked)
    for query in range(many):
        _clear(race, query)
    return race.named, race.counts, race.given_up


@compiled()
def _take(
    race: _Race, query: int, block: Int64Array, line: Int32Array, notes: Float32Array, asked: Asked
) -> None:
    """Name those of a block that may be among a query's best."""
    step, by, margin = asked.steps[query], asked.lengths[query], asked.margins[query]
    named, highs, lows = race.named[query], race.highs[query], race.lows[query]
    count = race.counts[query]
    if not _some_reach(line, notes, step, by, lows[0] - margin):
        return
    for at in range(block.size):
        off = by * notes[1, at] + margin
        score = np.float32(line[at]) * (step * notes[0, at])
        if score + off >= lows[0]:
            named[count], highs[count] = block[at], score + off
            count += 1
            if score - off > lows[0]:
                _replace_lowest(lows, score - off)
    race.counts[query] = count
    if count > named.size - BLOCK:
        _clear(race, query)
        race.given_up[query] = race.counts[query] > named.size // 2


@compiled()
def _clear(race: _Race, query: int) -> None:
    """Take out whoever is known by now to be worse than k others."""
    named, highs, lowest = race.named[query], race.highs[query], race.lows[query, 0]
    kept = 0
    for at in range(race.counts[query]):
        if highs[at] >= lowest:
            named[kept], highs[kept] = named[at], highs[at]
            kept += 1
    race.counts[query] = kept


@compiled()
def _multiply(
    codes: Int8Array, rows: Int64Array, start: int, length: int, queries: Int16Array, out: Int32Array
) -> None:
    """Multiply a block of rows with all queries, some rows and some queries at a time."""
    many, flat = queries.shape[0], out.reshape(-1)
    together = many - many % 4
    for query in range(0, together, 4):
        done = length - length % 4
        for at in range(0, done, 4):
            _sixteen(codes, rows, start + at, queries, query, flat, at)
        for at in range(done, length):
            for one in range(query, query + 4):
                _one(codes, rows, start + at, queries, one, flat, at)
    for query in range(together, many):
        done = length - length % 8
        for at in range(0, done, 8):
            _eight_rows(codes, rows, start + at, queries, query, flat, at)
        for at in range(done, length):
            _one(codes, rows, start + at, queries, query, flat, at)


@compiled(fastmath=True)
def _some_reach(line: Int32Array, notes: Float32Array, step: float, by: float, least: float) -> bool:
    """Say whether any of a block may score so high; a rounding less or more is within the margin."""
    reaching = 0
    for at in range(BLOCK):
        reaching += np.float32(line[at]) * (step * notes[0, at]) + by * notes[1, at] >= least
    return reaching > 0


@compiled()
def _replace_lowest(heap: Float32Array, number: float) -> None:
    """Put a number in the place of the lowest of a heap, which stands first."""
    at, size = 0, heap.size
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= number:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = number
