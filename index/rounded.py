"""Vectors rounded to a byte a number, queries to two, and how far that takes a score from the true one at most.

A row x is held as whole numbers c of at most 127 and a step s, a query q as whole numbers p of at most 32767 and a
step t. Their product of whole numbers is exact, so a score is off by no more than

    |q.x - st(p.c)|  <=  |q| |x - sc|  +  |q - tp| |sc|        (Cauchy-Schwarz)

and both lengths on the right are known. Knows no search.
"""

from typing import NamedTuple

import numpy as np

from index.products import LANES
from vireid.arrays import Float32Array, Float64Array, Int8Array, Int16Array
from vireid.compiled import compiled

LARGEST, LARGEST_ASKED = 127, 32767
WHOLE_LIMIT = 2.0**31
# what single precision may add, per length of query and row: some roundings of 2^-24 in a sweep, one in the score
ROUNDINGS = 2.0**-20


class Held(NamedTuple):
    """Rows at one byte a number.

    Attributes:
        codes: whole numbers, zeros at the end, (N, W) with W a multiple of ``LANES``.
        notes: of each row what 1 stands for, and how far it is from what its numbers stand for, rounded up, (N, 2).
    """

    codes: Int8Array
    notes: Float32Array


class Asked(NamedTuple):
    """Queries as whole numbers.

    Attributes:
        wholes: zeros at the end, (Q, W).
        steps: what 1 stands for, (Q,).
        lengths: of the queries, rounded up, (Q,).
        margins: what a score may be off by for the query's own rounding and that of single precision, (Q,).
    """

    wholes: Int16Array
    steps: Float32Array
    lengths: Float32Array
    margins: Float32Array


def width(dim: int) -> int:
    """Return the numbers that a row of some length is held with."""
    return -(-dim // LANES) * LANES


def asked(queries: Float32Array, longest: float) -> Asked:
    """Turn queries into whole numbers.

    Args:
        queries: (Q, D).
        longest: no row's numbers stand for more than this length.
    """
    many, dim = queries.shape
    wide = queries.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1))
    # no sum of products may leave 32 bits: it is at most the product of both lengths
    room = WHOLE_LIMIT / (LARGEST * np.sqrt(dim)) - np.sqrt(dim)
    steps = np.maximum(np.abs(wide).max(axis=1) / LARGEST_ASKED, lengths / room).astype(np.float32)
    steps = np.maximum(steps, np.finfo(np.float32).tiny)
    wholes = np.zeros((many, width(dim)), np.int16)
    exact = steps.astype(np.float64)[:, None]
    np.rint(np.clip(wide / exact, -LARGEST_ASKED, LARGEST_ASKED), out=wide)
    wholes[:, :dim] = wide
    off = np.sqrt(((queries - wide * exact) ** 2).sum(axis=1))
    margins = (off + ROUNDINGS * lengths) * longest
    return Asked(wholes, steps, _up(lengths), _up(margins))


def _up(numbers: Float64Array) -> Float32Array:
    return np.nextafter(numbers.astype(np.float32), np.float32(np.inf))


@compiled(fastmath=True)  # sums of squares, whose last digit the notes allow for
def take_in(rows: Float32Array, held: Held, first: int) -> float:
    """Write rows as bytes.

    Args:
        rows: (M, D).
        held: with room for them.
        first: where the first of them goes.

    Returns:
        The greatest length that the numbers of one of them stand for.
    """
    longest = 0.0
    for at in range(rows.shape[0]):
        row, to = rows[at], held.codes[first + at]
        step = np.float32(np.abs(row).max() / LARGEST)
        squares, length = 0.0, 0.0
        for column in range(row.size):
            number = 0.0
            if step > 0:
                number = min(max(np.rint(row[column] / step), -LARGEST), LARGEST)
            to[column] = np.int8(number)
            stood = number * step
            squares += float(row[column] - stood) ** 2
            length += float(stood * stood)
        for column in range(row.size, to.size):
            to[column] = 0
        held.notes[first + at, 0] = step
        held.notes[first + at, 1] = np.sqrt(squares) * (1 + 1e-6)
        longest = max(longest, float(np.sqrt(length)) * (1 + 1e-6))
    return longest
