"""Loops over similarities for the compiler: keep the best of each row, rank them precisely. Knows no features' origin."""

import numpy as np
from numpy.typing import NDArray

from vireid.arrays import Float32Array, Int64Array
from vireid.compiled import compiled

Int32Array = NDArray[np.int32]


@compiled(fastmath=True)
def cosine(one: Float32Array, other: Float32Array) -> float:
    """Return the dot product, summed in double precision; the same for the same rows wherever they stand."""
    total = 0.0
    for d in range(one.shape[0]):
        total += np.float64(one[d]) * np.float64(other[d])
    return total


@compiled()
def _insert(found: Int32Array, score: Float32Array, index: int, value: float) -> None:
    """Put an index into a list kept by descending score, then ascending index; the last one falls out."""
    place = score.shape[0] - 1
    if value == score[place] and index > found[place] >= 0:
        return
    while place > 0 and (
        score[place - 1] < value or (score[place - 1] == value and found[place - 1] > index)
    ):
        score[place] = score[place - 1]
        found[place] = found[place - 1]
        place -= 1
    score[place] = value
    found[place] = index


@compiled()
def offer(tile: Float32Array, top: int, left: int, found: Int32Array, score: Float32Array) -> None:
    """Offer every row of a tile its columns, and every column its rows; nobody is offered itself.

    Args:
        tile: similarities of rows from ``top`` with rows from ``left``; on the diagonal only the upper half counts.
        top: the first row.
        left: the first column, not before ``top``.
        found: the best so far, by descending score, (N, K); written.
        score: their scores, (N, K); written.
    """
    last = found.shape[1] - 1
    least = score[left : left + tile.shape[1], last].copy()
    for r in range(tile.shape[0]):
        i = top + r
        bar = score[i, last]
        begin = r + 1 if top == left else 0
        for c in range(begin, tile.shape[1]):
            value = tile[r, c]
            if value >= bar:
                _insert(found[i], score[i], left + c, value)
                bar = score[i, last]
            if value >= least[c]:
                _insert(found[left + c], score[left + c], i, value)
                least[c] = score[left + c, last]


@compiled()
def offer_columns(tile: Float32Array, top: int, left: int, found: Int32Array, score: Float32Array) -> None:
    """Offer every row of a tile its columns.

    Args:
        tile: similarities of rows from ``top`` with other rows from ``left``.
        top: the first row.
        left: the first column.
        found: the best so far, by descending score, (N, K); written.
        score: their scores, (N, K); written.
    """
    last = found.shape[1] - 1
    for r in range(tile.shape[0]):
        i = top + r
        bar = score[i, last]
        for c in range(tile.shape[1]):
            value = tile[r, c]
            if value >= bar:
                _insert(found[i], score[i], left + c, value)
                bar = score[i, last]


@compiled()
def ranked_among(rows: Float32Array, others: Float32Array, found: Int32Array, k: int) -> Int64Array:
    """Rank candidates among other rows in double precision: by descending cosine, then by index; (N, k)."""
    count, held = found.shape
    order = np.empty((count, k), dtype=np.int64)
    exact = np.empty(held, dtype=np.float64)
    for i in range(count):
        index = np.sort(found[i])
        for c in range(held):
            exact[c] = -cosine(rows[i], others[index[c]])
        best = np.argsort(exact, kind="mergesort")  # stable, so equal ones stay by index
        for c in range(k):
            order[i, c] = index[best[c]]
    return order


@compiled()
def ranked(rows: Float32Array, found: Int32Array, k: int) -> Int64Array:
    """Rank candidates in double precision: the row itself, then by descending cosine, then by index; (N, k)."""
    count, held = found.shape
    order = np.empty((count, k), dtype=np.int64)
    exact = np.empty(held, dtype=np.float64)
    for i in range(count):
        order[i, 0] = i
        index = np.sort(found[i])
        for c in range(held):
            exact[c] = -cosine(rows[i], rows[index[c]])
        best = np.argsort(exact, kind="mergesort")  # stable, so equal ones stay by index
        for c in range(k - 1):
            order[i, c + 1] = index[best[c]]
    return order
