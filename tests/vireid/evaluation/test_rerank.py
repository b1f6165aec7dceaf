"""k-reciprocal re-ranking against a dense, slow reading of the paper's equations."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.errors import EvaluationError
from vireid.evaluation import rerank
from vireid.evaluation.rerank import Rerank


def published(query, gallery, k1, k2, weight):
    """Equations 2 to 12 row by row, over all queries and all gallery rows, everything dense."""
    rows = np.concatenate([query, gallery]).astype(np.float64)
    n, q = len(rows), len(query)
    distance = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    most = distance.max(axis=1, keepdims=True)
    distance = distance / np.where(most > 0, most, 1)
    ranked = np.argsort(distance, axis=1, kind="stable")

    def nearest(i, k):
        return ranked[i][: k + 1].tolist()

    def reciprocal(i, k):
        return {j for j in nearest(i, k) if i in nearest(j, k)}

    encoding = np.zeros((n, n))
    for i in range(n):
        mutual = reciprocal(i, k1)
        grown = set(mutual)
        for j in mutual:
            theirs = reciprocal(j, int(np.around(k1 / 2)))
            if len(theirs & mutual) > 2 / 3 * len(theirs):
                grown |= theirs
        members = sorted(grown)
        share = np.exp(-distance[i, members])
        encoding[i, members] = share / share.sum()
    if k2 > 1:
        encoding = np.array([encoding[ranked[i][:k2]].mean(axis=0) for i in range(n)])
    found = np.empty((q, n - q))
    for i in range(q):
        for j in range(q, n):
            smaller = np.minimum(encoding[i], encoding[j]).sum()
            larger = np.maximum(encoding[i], encoding[j]).sum()
            # among more equal rows than k1 counts, a row is not its own neighbour: both may have none at all
            shared = smaller / larger if larger > 0 else 0
            found[i, j - q] = (1 - weight) * (1 - shared) + weight * distance[i, j]
    return found


def drawn(seed, persons, each, dim=24, spread=0.7):
    """Unit rows around persons' centres, in a shuffled order, with the persons."""
    random = np.random.default_rng(seed)
    person = random.permutation(np.repeat(np.arange(persons), each))
    rows = random.standard_normal((persons, dim))[person] + spread * random.standard_normal(
        (len(person), dim)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), person


def test_defaults_are_the_published_ones():
    assert (Rerank().k1, Rerank().k2, Rerank().weight) == (20, 6, 0.3)


@pytest.mark.parametrize(("persons", "each", "queries"), [(12, 6, 10), (30, 5, 1), (25, 8, 60)])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 1, 0.0), (5, 5, 1.0), (1, 1, 0.5)])
def test_together_is_the_published_algorithm(persons, each, queries, k1, k2, weight):
    rows, _ = drawn(persons, persons, each)
    found = rerank.together(rows[:queries], rows[queries:], Rerank(k1, k2, weight))
    np.testing.assert_allclose(found, published(rows[:queries], rows[queries:], k1, k2, weight), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_are_taken_by_row(data):
    """Whole numbers, exact in every order of adding, with many equal rows and equal distances."""
    n = data.draw(st.integers(2, 40))
    queries = data.draw(st.integers(1, n - 1))
    rows = np.array(
        data.draw(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=n, max_size=n)),
        dtype=np.float64,
    )
    k1 = data.draw(st.integers(1, 25))
    k2 = data.draw(st.integers(1, k1))
    found = rerank.together(rows[:queries], rows[queries:], Rerank(k1, k2, 0.3))
    expected = published(rows[:queries], rows[queries:], k1, k2, 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_search_with_the_whole_gallery_is_the_published_algorithm_asked_with_one_query():
    rows, _ = drawn(3, 40, 6)
    gallery = rows[1:]
    best_first = gallery[np.argsort(-(gallery @ rows[0]), kind="stable")]
    found = rerank.search(rows[0], best_first, Rerank())
    expected = published(rows[:1], best_first, 20, 6, 0.3)[0]
    np.testing.assert_array_equal(found.order, np.argsort(expected, kind="stable"))
    np.testing.assert_allclose(found.distance, np.sort(expected), atol=1e-6)


def test_candidates_are_reranked_and_the_rest_follows_in_its_order():
    rows, _ = drawn(4, 30, 6)
    query, gallery = rows[:5], rows[5:]
    found = rerank.similarities(query, gallery, Rerank(k1=8, k2=3, candidates=50))
    for asked, scores in zip(query, found, strict=True):
        plain = np.argsort(-(gallery.astype(np.float64) @ asked), kind="stable")
        expected = published(asked[None], gallery[plain[:50]], 8, 3, 0.3)[0]
        order = np.argsort(-scores, kind="stable")
        np.testing.assert_array_equal(order[:50], plain[:50][np.argsort(expected, kind="stable")])
        np.testing.assert_array_equal(order[50:], plain[50:])


def test_no_bound_ranks_as_the_published_algorithm_over_all_queries():
    rows, _ = drawn(5, 20, 6)
    found = rerank.similarities(rows[:20], rows[20:], Rerank())
    np.testing.assert_allclose(-found, published(rows[:20], rows[20:], 20, 6, 0.3), atol=1e-6)


def test_mutual_neighbours_find_more_of_the_same_person():
    rows, person = drawn(6, 60, 8, spread=1.0)

    def precision(scores):
        best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        return (person[60:][best] == person[:60, None]).mean()

    plain = precision(rows[:60] @ rows[60:].T)
    assert precision(rerank.similarities(rows[:60], rows[60:], Rerank(k1=8, k2=4))) > plain + 0.02
    assert (
        precision(rerank.similarities(rows[:60], rows[60:], Rerank(k1=8, k2=4, candidates=150)))
        > plain + 0.02
    )


def test_blocks_change_nothing(monkeypatch):
    rows, _ = drawn(7, 20, 6)
    whole = rerank.together(rows[:20], rows[20:], Rerank())
    monkeypatch.setattr(rerank, "_CELLS", 500)
    np.testing.assert_allclose(rerank.together(rows[:20], rows[20:], Rerank()), whole, atol=1e-9)


@pytest.mark.parametrize("dim", [512, 2048])
def test_two_thousand_candidates_take_less_than_64_mb(dim):
    rows, _ = drawn(8, 200, 10, dim=dim)
    query, candidates = rows[0], rows
    tracemalloc.start()
    rerank.search(query, candidates, Rerank())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64e6


def test_few_candidates():
    rows, _ = drawn(9, 3, 1)
    assert len(rerank.search(rows[0], rows[:0], Rerank()).order) == 0
    np.testing.assert_array_equal(rerank.search(rows[0], rows[1:2], Rerank()).order, [0])
    np.testing.assert_array_equal(rerank.search(rows[0], rows[[0, 0, 0]], Rerank()).order, [0, 1, 2])


@pytest.mark.parametrize(
    ("query", "gallery", "words"),
    [
        (np.zeros((1, 3)), np.zeros((2, 4)), "one length"),
        (np.zeros(3), np.zeros((2, 3)), "one length"),
        (np.full((1, 3), np.nan), np.zeros((2, 3)), "NaN"),
        (np.zeros((1, 3)), np.full((2, 3), np.inf), "NaN"),
    ],
)
def test_bad_vectors_are_refused(query, gallery, words):
    with pytest.raises(EvaluationError, match=words):
        rerank.together(query, gallery, Rerank())
    with pytest.raises(EvaluationError):
        rerank.search(np.zeros((1, 3)), np.zeros((2, 3)), Rerank())
