"""Loops of the k-reciprocal encoding and its overlaps for the compiler. Rows are those of a CSR array. Knows no names."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.labels.neighbour_loops import cosine
from vireid.arrays import Float32Array, Int64Array
from vireid.compiled import compiled

Int32Array = NDArray[np.int32]
Lists = tuple[Int32Array, Int32Array]


class Rows(NamedTuple):
    """A sparse table by rows, or the same by columns.

    Attributes:
        start: where each row starts, (N + 1,).
        column: of each entry, ascending in a row, (E,).
        weight: (E,).
    """

    start: Int64Array
    column: Int32Array
    weight: Float32Array


@compiled()
def reciprocal(near: Int32Array, length: int) -> Lists:
    """Return who is in whose list and has them in theirs: members, (N, length), and how many, (N,)."""
    count = near.shape[0]
    member = np.empty((count, length), dtype=np.int32)
    size = np.zeros(count, dtype=np.int32)
    for i in range(count):
        for a in range(length):
            j = near[i, a]
            for b in range(length):
                if near[j, b] == i:
                    member[i, size[i]] = j
                    size[i] += 1
                    break
    return member, size


@compiled()
def _expand(i: int, far: Lists, short: Lists, stamp: Int64Array, out: Int32Array) -> int:
    """Write i's reciprocal neighbours, and those of the ones most of whose neighbours are i's too; return how many."""
    member, size = far
    close, few = short
    own, taken = 2 * i + 1, 2 * i + 2
    total = int(size[i])
    for a in range(total):
        out[a] = member[i, a]
        stamp[member[i, a]] = own
    reach = total
    for a in range(reach):
        q = member[i, a]
        shared = 0
        for b in range(few[q]):
            shared += stamp[close[q, b]] == own
        if 3 * shared > 2 * few[q]:
            for b in range(few[q]):
                j = close[q, b]
                if stamp[j] != own and stamp[j] != taken:
                    stamp[j] = taken
                    out[total] = j
                    total += 1
    return total


@compiled()
def encode(rows: Float32Array, near: Int32Array, half: int) -> Rows:
    """Weigh the expanded k-reciprocal neighbours of each row by a softmax of minus the squared distance."""
    count = rows.shape[0]
    far = reciprocal(near, near.shape[1])
    short = reciprocal(near, half)
    stamp = np.zeros(count, dtype=np.int64)
    start = np.zeros(count + 1, dtype=np.int64)
    out = np.empty(near.shape[1] * (half + 1), dtype=np.int32)
    column = np.empty(count * near.shape[1], dtype=np.int32)
    weight = np.empty(column.shape[0], dtype=np.float32)
    for i in range(count):
        total = _expand(i, far, short, stamp, out)
        first = start[i]
        if first + total > column.shape[0]:
            column = _longer(column, first + total)
            weight = _longer(weight, first + total)
        chosen = np.sort(out[:total])
        power = np.empty(total, dtype=np.float64)
        for a in range(total):
            power[a] = np.exp(2.0 * cosine(rows[i], rows[chosen[a]]) - 2.0)
        column[first : first + total] = chosen
        weight[first : first + total] = (power / power.sum()).astype(np.float32)
        start[i + 1] = first + total
    return Rows(start, column[: start[count]].copy(), weight[: start[count]].copy())


@compiled()
def _longer(array: np.ndarray, least: int) -> np.ndarray:
    """Copy an array into one at least half as long again."""
    grown = np.empty(max(least, array.shape[0] + array.shape[0] // 2 + 16), dtype=array.dtype)
    grown[: array.shape[0]] = array
    return grown


@compiled()
def average(rows: Rows, over: Int32Array) -> Rows:
    """Average each row with the rows of its first neighbours."""
    start, column, weight = rows
    count, width = over.shape
    total = np.zeros(count, dtype=np.float64)
    new_start = np.zeros(count + 1, dtype=np.int64)
    new_column = np.empty(2 * column.shape[0], dtype=np.int32)
    new_weight = np.empty(new_column.shape[0], dtype=np.float32)
    touched = np.empty(count, dtype=np.int32)
    for i in range(count):
        size = 0
        for a in range(width):
            q = over[i, a]
            for p in range(start[q], start[q + 1]):
                j = column[p]
                if total[j] == 0.0:
                    touched[size] = j
                    size += 1
                total[j] += weight[p]
        first = new_start[i]
        if first + size > new_column.shape[0]:
            new_column = _longer(new_column, first + size)
            new_weight = _longer(new_weight, first + size)
        chosen = np.sort(touched[:size])
        for a in range(size):
            new_column[first + a] = chosen[a]
            new_weight[first + a] = total[chosen[a]] / width
            total[chosen[a]] = 0.0
        new_start[i + 1] = first + size
    return Rows(new_start, new_column[: new_start[count]].copy(), new_weight[: new_start[count]].copy())


@compiled()
def dense(rows: Rows, columns: Rows) -> Float32Array:
    """Return one minus the sum of minima over the sum of maxima, of all pairs of rows; rows sum to 1."""
    start, column, weight = rows
    column_start, row, value = columns
    count = start.shape[0] - 1
    out = np.empty((count, count), dtype=np.float32)
    for i in range(count):
        overlap = np.zeros(count, dtype=np.float64)
        for p in range(start[i], start[i + 1]):
            k = column[p]
            for e in range(column_start[k], column_start[k + 1]):
                overlap[row[e]] += min(weight[p], value[e])
        for j in range(count):
            out[i, j] = max(0.0, 1.0 - overlap[j] / (2.0 - overlap[j]))
        out[i, i] = 0.0
    return out


@compiled()
def close_pairs(rows: Rows, columns: Rows, radius: float) -> tuple[Int32Array, Int32Array, Float32Array]:
    """Return the pairs of rows i < j at most a radius apart, and how far apart they are.

    Rows are visited in ascending order, so each column remembers where the rows after the present one begin, and
    every pair is looked at once.
    """
    start, column, weight = rows
    column_start, row, value = columns
    count = start.shape[0] - 1
    limit = np.float32(radius)
    need = 2.0 * (1.0 - radius) / (2.0 - radius) - 1e-6 if radius < 1.0 else -1.0
    after = column_start[:-1].copy()
    overlap = np.zeros(count, dtype=np.float64)
    one = np.empty(16 * count, dtype=np.int32)
    other = np.empty(one.shape[0], dtype=np.int32)
    distance = np.empty(one.shape[0], dtype=np.float32)
    total = 0
    for i in range(count):
        for p in range(start[i], start[i + 1]):
            k = column[p]
            after[k] += 1
            for e in range(after[k], column_start[k + 1]):
                overlap[row[e]] += min(weight[p], value[e])
        if total + count > one.shape[0]:
            one = _longer(one, total + count)
            other = _longer(other, total + count)
            distance = _longer(distance, total + count)
        for j in range(i + 1, count):
            if overlap[j] >= need:
                apart = np.float32(max(0.0, 1.0 - overlap[j] / (2.0 - overlap[j])))
                if apart <= limit:
                    one[total] = i
                    other[total] = j
                    distance[total] = apart
                    total += 1
            overlap[j] = 0.0
    return one[:total].copy(), other[:total].copy(), distance[:total].copy()


@compiled()
def overlapping(rows: Rows, columns: Rows) -> Rows:
    """Return one minus the distance of all pairs of rows that overlap at all, a row's with itself among them."""
    start, column, weight = rows
    column_start, row, value = columns
    count = start.shape[0] - 1
    overlap = np.zeros(count, dtype=np.float64)
    touched = np.empty(count, dtype=np.int32)
    new_start = np.zeros(count + 1, dtype=np.int64)
    new_column = np.empty(4 * column.shape[0] + 16, dtype=np.int32)
    new_weight = np.empty(new_column.shape[0], dtype=np.float32)
    for i in range(count):
        size = 0
        for p in range(start[i], start[i + 1]):
            k = column[p]
            for e in range(column_start[k], column_start[k + 1]):
                j = row[e]
                if overlap[j] == 0.0:
                    touched[size] = j
                    size += 1
                overlap[j] += min(weight[p], value[e])
        first = new_start[i]
        if first + size > new_column.shape[0]:
            new_column = _longer(new_column, first + size)
            new_weight = _longer(new_weight, first + size)
        chosen = np.sort(touched[:size])
        for a in range(size):
            j = chosen[a]
            new_column[first + a] = j
            new_weight[first + a] = min(1.0, overlap[j] / (2.0 - overlap[j]))
            overlap[j] = 0.0
        new_start[i + 1] = first + size
    return Rows(new_start, new_column[: new_start[count]].copy(), new_weight[: new_start[count]].copy())
