"""The order of hits: scores that do not depend on how they were found, ties by id.

A fast product rounds a score by where its row lies and by what is computed beside it. So a fast product only
nominates: everyone who could be among the best by its error bound is scored again in double precision, row by
row. Equal vectors then score equal, a query alone scores as in a batch, a filter changes no score, and every
backend gives the same bits. Knows no index.
"""

from collections.abc import Sequence

import numpy as np

from vireid.arrays import Float32Array, Int64Array
from vireid.compiled import compiled
from vireid.errors import EmbeddingNotFinite

Answer = tuple[Float32Array, Int64Array]

# above so many rows, finding the k-th best first is faster than sorting all
MANY = 1024
SINGLE_ROUNDING = 2.0**-24


def slack(dim: int) -> float:
    """Bound how far two single-precision scores of unit rows can be out of order.

    Any order of summing D products of unit rows errs by at most D roundings (Cauchy-Schwarz); two scores are
    compared, and rows may be longer than 1 by a thousandth.
    """
    return 2.01 * dim * SINGLE_ROUNDING


def nominees(rough: Float32Array, k: int, dim: int) -> Int64Array:
    """Return the places that may be among the k best, (M,), M >= min(k, N).

    Args:
        rough: single-precision scores, (N,).
        k: at least 1.
        dim: embedding dimension D.
    """
    if k >= len(rough):
        return np.arange(len(rough))
    last = np.partition(rough, len(rough) - k)[len(rough) - k]
    return np.flatnonzero(rough >= last - slack(dim))


def settle(query: Float32Array, vectors: Float32Array, places: Int64Array, ids: Int64Array, k: int) -> Answer:
    """Score nominees for good and take the k best.

    Args:
        query: (D,).
        vectors: all rows, (N, D).
        places: rows nominated, (M,).
        ids: of all rows, (N,).
        k: at least 1.

    Returns:
        Scores, best first, (min(k, M),), and ids; equal scores in ascending order of ids.
    """
    scores = _scores(query, vectors, places)
    if MANY < len(places) > k:
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        good = np.flatnonzero(scores >= least)
        scores, places = scores[good], places[good]
    found = ids[places]
    best = np.lexsort((found, -scores))[:k]
    return scores[best], found[best]


@compiled(fastmath=True)
def _scores(query: Float32Array, vectors: Float32Array, places: Int64Array) -> Float32Array:
    """Multiply a query with some rows in double precision, each by the very same steps wherever it lies."""
    scores = np.empty(places.size, np.float32)
    for at in range(places.size):
        row, total = vectors[places[at]], 0.0
        for column in range(query.size):
            total += np.float64(row[column]) * np.float64(query[column])
        scores[at] = total
    return scores


def merged(answers: Sequence[Answer], k: int) -> Answer:
    """Take the k best of answers that have no id in common."""
    scores = np.concatenate([scores for scores, _ in answers])
    ids = np.concatenate([ids for _, ids in answers])
    best = np.lexsort((ids, -scores))[:k]
    return scores[best], ids[best]


def stacked(found: Sequence[Answer], width: int) -> Answer:
    """Put the answers to Q queries together, (Q, width) each, also where one of the two is 0."""
    scores = np.empty((len(found), width), np.float32)
    ids = np.empty((len(found), width), np.int64)
    for row, answer in enumerate(found):
        scores[row], ids[row] = answer
    return scores, ids


def check_finite(vectors: Float32Array) -> None:
    """Refuse NaN and infinity.

    Raises:
        EmbeddingNotFinite: there is one.
    """
    finite = np.isfinite(vectors).all(axis=-1)
    if not finite.all():
        raise EmbeddingNotFinite(
            f"{int((~finite).sum())} of {len(vectors)} embeddings hold NaN or infinity", field="embedding"
        )


def check_rows(ids: Int64Array, vectors: Float32Array, dim: int) -> None:
    """Refuse rows that are not one vector an id.

    Raises:
        ValueError: shapes disagree.
        EmbeddingNotFinite: a row holds NaN or infinity.
    """
    if vectors.shape != (len(ids), dim):
        raise ValueError(f"found vectors {vectors.shape} for {len(ids)} ids; expected ({len(ids)}, {dim})")
    check_finite(vectors)
