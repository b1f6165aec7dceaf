"""Re-ranking by k-reciprocal neighbours.

Zhong, Zheng, Cao, Li: Re-ranking person re-identification with k-reciprocal encoding, CVPR 2017.

Two rows that are among each other's neighbours are more alike than a distance says. Each row becomes a vector of
weights over its mutual neighbours (V in the paper), averaged over the rows nearest to it; the distance of two such
vectors is that of Jaccard, mixed with the original one. Three uses, which differ in who is a neighbour:

- ``together``: the published algorithm. All queries and all gallery rows are neighbours of each other, so what a
  query is answered depends on the other queries. For comparing with numbers of the literature.
- ``search``: one query and the best candidates it found are neighbours of each other. What a search can do; with the
  whole gallery as candidates it is the published algorithm asked with that one query.
- ``similarities``: either of the two for the queries of an evaluation.

Neighbours are ranked in float64, equals by their row, so the same input gives the same order on any machine whose
products are exact to 1e-12. Memory beyond the vectors grows with the number of rows, never with its square. Knows no labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vireid.errors import EvaluationError
from vireid.evaluation.protocol import Rerank

__all__ = ["Rerank", "Reranked", "search", "similarities", "together"]

Vectors = Float32Array | Float64Array

_CELLS = 1 << 18  # numbers of a block: 2 MB as float64


@dataclass(frozen=True, slots=True, eq=False)
class Reranked:
    """A search's candidates in a new order.

    Attributes:
        order: candidates, best first, as rows of what was given, (N,).
        distance: of each in that order, 0 to 1, (N,).
    """

    order: Int64Array
    distance: Float64Array


def search(query: Vectors, candidates: Vectors, rerank: Rerank) -> Reranked:
    """Re-rank what one query found.

    Args:
        query: a unit vector, (D,).
        candidates: unit rows, best first (equals keep their order), (N, D); all of them are re-ranked,
            whatever ``rerank.candidates`` says.
        rerank: the parameters.

    Raises:
        EvaluationError: shapes that do not fit, or values that are not finite.
    """
    if query.ndim != 1:
        raise EvaluationError(f"re-ranking a search takes one query vector, found the shape {query.shape}")
    if len(candidates) == 0:
        return Reranked(np.zeros(0, dtype=np.int64), np.zeros(0))
    distance = together(query[None, :], candidates, rerank)[0]
    order = np.argsort(distance, kind="stable")
    return Reranked(order, distance[order])


def similarities(query: Vectors, gallery: Vectors, rerank: Rerank) -> Float64Array:
    """Give every gallery row a number that ranks it, for an evaluation.

    With ``rerank.candidates`` 0 it is the published algorithm: all queries and the whole gallery together. Else each
    query re-ranks its best candidates by itself, as a search does, and the others follow in their order.

    Args:
        query: unit rows, (Q, D).
        gallery: unit rows, (G, D).
        rerank: the parameters.

    Returns:
        Higher is better; only the order within a row means anything, (Q, G).

    Raises:
        EvaluationError: shapes that do not fit, or values that are not finite.
    """
    if not rerank.candidates:
        return -together(query, gallery, rerank)
    _check(query, gallery)
    found = np.empty((len(query), len(gallery)))
    wide = gallery.astype(np.float64)
    for row, asked in enumerate(query.astype(np.float64)):
        order = np.argsort(-(wide @ asked), kind="stable")
        best = order[: rerank.candidates]
        order = np.concatenate([best[search(asked, wide[best], rerank).order], order[len(best) :]])
        found[row, order] = -np.arange(len(order), dtype=np.float64)
    return found


def together(query: Vectors, gallery: Vectors, rerank: Rerank) -> Float64Array:
    """Return the published distance of every query to every gallery row, 0 to 1, (Q, G).

    Args:
        query: unit rows, (Q, D).
        gallery: unit rows, (G, D).
        rerank: the parameters; ``candidates`` does not count here.

    Raises:
        EvaluationError: shapes that do not fit, or values that are not finite.
    """
    _check(query, gallery)
    rows = np.concatenate([query, gallery]).astype(np.float64)
    near, farthest = _neighbours(rows, rerank.k1 + 1)
    encoded = _encode(rows, near, farthest, rerank.k1)
    if rerank.k2 > 1:
        encoded = _average(encoded, near[:, : rerank.k2])
    distance = _jaccard(encoded, len(query))
    distance *= 1 - rerank.weight
    for begin, end in _blocks(len(query), len(gallery)):
        original = _squared(rows, begin, end)[:, len(query) :] / farthest[begin:end, None]
        distance[begin:end] += rerank.weight * original
    return distance


@dataclass(frozen=True, slots=True, eq=False)
class _Sparse:
    """Rows of few numbers.

    Attributes:
        starts: where each row begins in the other two, (n + 1,).
        columns: ascending within a row.
        values: none of them 0.
    """

    starts: Int64Array
    columns: NDArray[np.int32]
    values: Float32Array

    def places(self, rows: Int64Array) -> Int64Array:
        """Return where the entries of some rows lie, one row after the other."""
        first, count = self.starts[rows], np.diff(self.starts)[rows]
        shift = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        return shift + np.arange(len(shift))

    def turned(self) -> "_Sparse":
        """Return the transpose."""
        order = np.argsort(self.columns, kind="stable")
        count = np.bincount(self.columns, minlength=len(self.starts) - 1)
        row = np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))
        return _Sparse(_starts(count), row[order], self.values[order])


def _check(query: Vectors, gallery: Vectors) -> None:
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise EvaluationError(
            f"re-ranking takes rows of one length; found queries of the shape {query.shape} and candidates of "
            f"the shape {gallery.shape}"
        )
    if not (np.isfinite(query).all() and np.isfinite(gallery).all()):
        raise EvaluationError("re-ranking found NaN or infinity in the vectors; they cannot be ranked")


def _blocks(rows: int, width: int) -> list[tuple[int, int]]:
    step = max(1, _CELLS // max(1, width))
    return [(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


def _squared(rows: Float64Array, begin: int, end: int) -> Float64Array:
    """Squared distances of some rows to all rows, exactly 0 to themselves."""
    norms = np.einsum("ij,ij->i", rows, rows)
    found: Float64Array = rows[begin:end] @ rows.T
    found *= -2
    found += norms
    found += norms[begin:end, None]
    np.maximum(found, 0, out=found)
    found[np.arange(end - begin), np.arange(begin, end)] = 0
    return found


def _neighbours(rows: Float64Array, k: int) -> tuple[Int64Array, Float64Array]:
    """Rank each row's nearest rows, itself among them, and find its farthest.

    Returns:
        The ``k`` nearest (all, if there are fewer), equals by row number, (n, k); the largest squared distance
        of each row, 1 where all are 0, (n,).
    """
    n = len(rows)
    k = min(k, n)
    near = np.empty((n, k), dtype=np.int64)
    farthest = np.empty(n)
    for begin, end in _blocks(n, n):
        distance = _squared(rows, begin, end)
        farthest[begin:end] = distance.max(axis=1)
        limit = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
        within = distance <= limit
        plain = within.sum(axis=1) == k
        chosen = np.nonzero(within[plain])[1].reshape(-1, k)
        order = np.argsort(np.take_along_axis(distance[plain], chosen, axis=1), axis=1, kind="stable")
        near[begin:end][plain] = np.take_along_axis(chosen, order, axis=1)
        for row in np.flatnonzero(~plain):  # equals at the edge
            near[begin + row] = np.argsort(distance[row], kind="stable")[:k]
    farthest[farthest == 0] = 1
    return near, farthest


def _mutual(near: Int64Array, begin: int, end: int) -> BoolArray:
    """Say which of some rows' neighbours count them among their own, (rows, k)."""
    back = near[near[begin:end]]
    found: BoolArray = (back == np.arange(begin, end)[:, None, None]).any(axis=2)
    return found


def _encode(rows: Float64Array, near: Int64Array, farthest: Float64Array, k1: int) -> _Sparse:
    """Weigh each row's mutual neighbours and theirs: the k-reciprocal encoding, equations 3, 4 and 7."""
    n, k = near.shape
    half = near[:, : int(np.around(k1 / 2)) + 1]
    counts, columns, values = [], [], []
    blocks = _blocks(n, max(n, k * k))
    mutual_half = np.concatenate([_mutual(half, begin, end) for begin, end in blocks])
    for begin, end in blocks:
        mutual = _mutual(near, begin, end)
        mine = np.arange(end - begin)
        chosen = np.zeros((end - begin, n), dtype=bool)
        row, place = np.nonzero(mutual)
        neighbour = near[begin:end][row, place]
        chosen[row, neighbour] = True
        theirs, valid = half[neighbour], mutual_half[neighbour]
        shared = (chosen[row[:, None], theirs] & valid).sum(axis=1)
        grown = valid & (shared > 2 / 3 * valid.sum(axis=1))[:, None]
        chosen[np.broadcast_to(row[:, None], grown.shape)[grown], theirs[grown]] = True
        row, column = np.nonzero(chosen)
        weight = np.exp(-_pairs(rows, begin + row, column) / farthest[begin + row])
        weight /= np.bincount(row, weight, minlength=len(mine))[row]
        counts.append(chosen.sum(axis=1))
        columns.append(column.astype(np.int32))
        values.append(weight.astype(np.float32))
    return _Sparse(_starts(np.concatenate(counts)), np.concatenate(columns), np.concatenate(values))


def _pairs(rows: Float64Array, left: Int64Array, right: Int64Array) -> Float64Array:
    """Squared distances of pairs of rows."""
    found = np.empty(len(left))
    for begin, end in _blocks(len(left), rows.shape[1]):
        apart = rows[left[begin:end]] - rows[right[begin:end]]
        found[begin:end] = np.einsum("ij,ij->i", apart, apart)
    return found


def _average(encoded: _Sparse, near: Int64Array) -> _Sparse:
    """Average each row's encoding over its nearest rows: local query expansion, equation 11."""
    n, k = near.shape
    counts, columns, values = [], [], []
    for begin, end in _blocks(n, n):
        asked = near[begin:end].ravel()
        at = encoded.places(asked)
        size = np.diff(encoded.starts)[asked]
        row = np.repeat(np.repeat(np.arange(end - begin), k), size)
        cell = row * n + encoded.columns[at]
        dense = np.bincount(cell, encoded.values[at], minlength=(end - begin) * n).reshape(-1, n)
        row, column = np.nonzero(dense)
        counts.append(np.bincount(row, minlength=end - begin))
        columns.append(column.astype(np.int32))
        values.append((dense[row, column] / k).astype(np.float32))
    return _Sparse(_starts(np.concatenate(counts)), np.concatenate(columns), np.concatenate(values))


def _jaccard(encoded: _Sparse, queries: int) -> Float64Array:
    """Return the Jaccard distance of the first rows to all after them, equation 10, (queries, n - queries)."""
    n = len(encoded.starts) - 1
    found = np.empty((queries, n - queries))
    turned = encoded.turned()
    length = np.diff(turned.starts)
    for row in range(queries):
        mine = slice(encoded.starts[row], encoded.starts[row + 1])
        column = encoded.columns[mine].astype(np.int64)
        at = turned.places(column)
        smaller = np.minimum(np.repeat(encoded.values[mine], length[column]), turned.values[at])
        overlap = np.bincount(turned.columns[at], smaller, minlength=n)[queries:]
        found[row] = 1 - overlap / (2 - overlap)
    return found


def _starts(counts: Int64Array) -> Int64Array:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
