"""Rounded rows: the bound on what rounding takes from a score holds, for any row and any query."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import rounded
from vireid.arrays import Float32Array


def held(rows: Float32Array) -> tuple[rounded.Held, float]:
    count, dim = rows.shape
    into = rounded.Held(np.full((count, rounded.width(dim)), 99, np.int8), np.empty((count, 2), np.float32))
    return into, rounded.take_in(rows, into, 0)


def drawn(random: np.random.Generator, count: int, dim: int, kind: str) -> Float32Array:
    rows = random.standard_normal((count, dim))
    if kind == "few large":
        rows *= np.where(random.random((count, dim)) < 1.5 / dim, 1.0, 1e-3)
    elif kind == "one":
        rows *= np.arange(dim) == random.integers(dim)
    rows[0] = rows[0] if kind == "dense" else 0.0
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms, norms, 1)).astype(np.float32)


kinds = st.sampled_from(["dense", "few large", "one"])


@settings(max_examples=150, deadline=None)
@given(
    dim=st.integers(1, 300),
    seed=st.integers(0, 10**6),
    kind=kinds,
    asked=kinds,
    length=st.sampled_from([1.0, 1e-3, 40.0]),
)
def test_no_score_is_further_off(dim: int, seed: int, kind: str, asked: str, length: float) -> None:
    random = np.random.default_rng(seed)
    rows = drawn(random, 12, dim, kind)
    queries = (drawn(random, 5, dim, asked) * length).astype(np.float32)
    into, longest = held(rows)
    of = rounded.asked(queries, longest)
    products = of.wholes.astype(np.int64) @ into.codes.astype(np.int64).T
    assert np.abs(products).max(initial=0) < 2**31
    scores = products * (of.steps.astype(np.float64)[:, None] * into.notes[:, 0].astype(np.float64))
    true = queries.astype(np.float64) @ rows.astype(np.float64).T
    bound = of.lengths[:, None] * into.notes[:, 1].astype(np.float64) + of.margins[:, None]
    assert (np.abs(scores - true) <= bound).all()
    assert not into.codes[:, dim:].any()
    assert not of.wholes[:, dim:].any()


def test_the_bound_is_no_wider_than_rounding() -> None:
    """Half a step a number, and next to nothing for the query: else sweeps would name too many."""
    random = np.random.default_rng(1)
    rows = drawn(random, 50, 512, "dense")
    into, longest = held(rows)
    steps, errors = into.notes.T
    np.testing.assert_allclose(steps, np.abs(rows).max(axis=1) / 127, rtol=1e-6)
    assert (errors <= np.sqrt(512) * steps / 2).all()
    np.testing.assert_allclose(errors, np.linalg.norm(rows - into.codes * steps[:, None], axis=1), rtol=1e-4)
    assert rounded.asked(rows, longest).margins.max() < 1e-4


def test_products_fit_into_32_bits_at_the_worst() -> None:
    """All numbers alike and large: where sums of products are largest."""
    dim = 40_000
    rows = np.full((1, dim), dim**-0.5, np.float32)
    into, longest = held(rows)
    of = rounded.asked(rows, longest)
    product = int(of.wholes.astype(np.int64)[0] @ into.codes.astype(np.int64)[0])
    assert 2**30 < product < 2**31
    assert product * float(of.steps[0]) * float(into.notes[0, 0]) == pytest.approx(1.0, abs=1e-2)
