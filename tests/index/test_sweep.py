"""Sweeps name everyone who may be among the best, nearly nobody else, and say so when there are too many."""

import numpy as np
import pytest

from index import rounded, sweep
from index.products import BLOCK
from vireid.arrays import Float32Array, Int64Array


def unit(random: np.random.Generator, count: int, dim: int) -> Float32Array:
    rows = random.standard_normal((count, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def swept(
    vectors: Float32Array, queries: Float32Array, rows: Int64Array, k: int
) -> tuple[list[set[int]], list[bool]]:
    held = rounded.Held(
        np.empty((len(vectors), rounded.width(vectors.shape[1])), np.int8),
        np.empty((len(vectors), 2), np.float32),
    )
    longest = rounded.take_in(vectors, held, 0)
    named, counts, given_up = sweep.candidates(held, rows, rounded.asked(queries, longest), k)
    found = [named[query, :count].tolist() for query, count in enumerate(counts)]
    assert all(len(set(one)) == len(one) for one in found)
    return [set(one) for one in found], given_up.tolist()


@pytest.mark.parametrize("dim", [1, 31, 32, 100])
@pytest.mark.parametrize("queries", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("count", [1, 7, 8, BLOCK, BLOCK + 3, 1000])
def test_the_best_are_named(dim: int, queries: int, count: int) -> None:
    random = np.random.default_rng(count * 1000 + queries * 10 + dim)
    vectors, asked = unit(random, count + 40, dim), unit(random, queries, dim)
    rows = np.sort(random.choice(count + 40, count, replace=False))
    scores = asked.astype(np.float64) @ vectors[rows].astype(np.float64).T
    for k in {1, min(5, count), count}:
        found, given_up = swept(vectors, asked, rows, k)
        for query in range(queries):
            if not given_up[query]:
                best = rows[np.argsort(-scores[query], kind="stable")[:k]]
                assert set(best.tolist()) <= found[query] <= set(rows.tolist())


def test_few_others_are_named() -> None:
    random = np.random.default_rng(2)
    vectors, asked = unit(random, 5000, 256), unit(random, 6, 256)
    found, given_up = swept(vectors, asked, np.arange(5000), 10)
    assert not any(given_up)
    assert max(map(len, found)) < 60


def test_a_crowd_is_given_up_for_its_query_only() -> None:
    random = np.random.default_rng(3)
    vectors = unit(random, 20_000, 64)
    vectors[2000:] = vectors[0] + random.standard_normal((18_000, 64)).astype(np.float32) * 1e-5
    found, given_up = swept(vectors, np.stack([vectors[0], -vectors[1]]), np.arange(20_000), 10)
    assert given_up == [True, False]
    scores = -vectors[1].astype(np.float64) @ vectors.astype(np.float64).T
    assert set(np.argsort(-scores)[:10].tolist()) <= found[1]
