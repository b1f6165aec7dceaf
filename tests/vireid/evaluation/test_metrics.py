"""CMC, mAP and mINP against hand-worked cases, a slow reference written here, and scikit-learn."""

import math
import subprocess
import sys
import time
import tracemalloc
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from vireid.errors import EvaluationError
from vireid.evaluation import metrics, ranker
from vireid.evaluation.metrics import CmcLevel, Labels, QueryScores, Rule, excluded, scores, summarise

RULES: tuple[Rule, ...] = ("sysu", "market", "none")
LEVELS: tuple[CmcLevel, ...] = ("identity", "image")


def labels(*pairs: tuple[int, int]) -> Labels:
    return Labels(
        np.array([p for p, _ in pairs], dtype=np.int64), np.array([c for _, c in pairs], dtype=np.int64)
    )


# five gallery images, best first: persons 2, 2, 1, 3, 1
FIVE = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
FIVE_GALLERY = labels((2, 1), (2, 2), (1, 1), (3, 4), (1, 2))


def hidden(rule: Rule, query: tuple[int, int], image: tuple[int, int]) -> bool:
    if rule == "sysu":
        return query[1] == 3 and image[1] == 2
    return rule == "market" and query == image


def slow(
    similarity: list[list[float]],
    query: list[tuple[int, int]],
    gallery: list[tuple[int, int]],
    rule: Rule,
    level: CmcLevel,
) -> list[tuple[int, float, float]]:
    """Score each query with plain loops: (first, AP, INP), zeros where invalid."""
    outcome = []
    for row, asked in zip(similarity, query, strict=True):
        ranked = sorted(range(len(gallery)), key=lambda j, row=row: -row[j])  # sorted() is stable
        kept = [gallery[j] for j in ranked if not hidden(rule, asked, gallery[j])]
        places = [place for place, image in enumerate(kept, 1) if image[0] == asked[0]]
        if not places:
            outcome.append((0, 0.0, 0.0))
            continue
        persons: list[int] = []
        for person, _ in kept:
            if person not in persons:
                persons.append(person)
        first = persons.index(asked[0]) + 1 if level == "identity" else places[0]
        ap = math.fsum(k / place for k, place in enumerate(places, 1)) / len(places)
        outcome.append((first, ap, len(places) / places[-1]))
    return outcome


@st.composite
def problems(
    draw: st.DrawFn, ties: bool = True
) -> tuple[list[list[float]], list[tuple[int, int]], list[tuple[int, int]]]:
    n_gallery = draw(st.integers(1, 14))
    pair = st.tuples(st.integers(0, 5), st.integers(1, 6))
    gallery = draw(st.lists(pair, min_size=n_gallery, max_size=n_gallery))
    query = draw(st.lists(pair, min_size=1, max_size=6))
    value = st.integers(-2, 2).map(float) if ties else st.floats(-1, 1)
    row = st.lists(value, min_size=n_gallery, max_size=n_gallery, unique=not ties)
    return draw(st.lists(row, min_size=len(query), max_size=len(query))), query, gallery


@given(problems(), st.sampled_from(RULES), st.sampled_from(LEVELS), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=400, deadline=None)
def test_the_slow_reference_agrees_ties_included(problem, rule: Rule, level: CmcLevel, kind) -> None:
    similarity, query, gallery = problem
    want = slow(similarity, query, gallery, rule, level)
    found = metrics.score_queries(
        np.array(similarity, dtype=kind), labels(*query), labels(*gallery), rule, level
    )
    assert found.first.tolist() == [w[0] for w in want]
    assert found.ap.tolist() == pytest.approx([w[1] for w in want], abs=1e-12)
    assert found.inp.tolist() == pytest.approx([w[2] for w in want], abs=1e-12)
    valid = [w for w in want if w[0]]
    if not valid:
        with pytest.raises(EvaluationError):
            summarise(found)
        return
    total = summarise(found, ranks=10)
    assert total.hits.tolist() == [sum(w[0] <= r for w in valid) for r in range(1, 11)]
    assert total.mean_ap == pytest.approx(math.fsum(w[1] for w in valid) / len(valid), abs=1e-12)


@given(problems(), st.sampled_from(RULES), st.sampled_from(LEVELS))
@settings(max_examples=60, deadline=None)
def test_ranking_in_small_blocks_changes_nothing(problem, rule: Rule, level: CmcLevel) -> None:
    similarity, query, gallery = np.array(problem[0]), labels(*problem[1]), labels(*problem[2])
    whole = metrics.score_queries(similarity, query, gallery, rule, level)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK", 1)
        parts = metrics.score_queries(similarity, query, gallery, rule, level)
    for name in ("first", "ap", "inp"):
        assert getattr(whole, name).tolist() == getattr(parts, name).tolist()


def drawn(seed: int, n_gallery: int, persons: int, levels: int) -> tuple[np.ndarray, Labels, Labels]:
    """Draw 12 queries, of whom some know nobody and one is unknown, over a gallery of many matches."""
    random = np.random.default_rng(seed)
    similarity = random.integers(-levels, levels + 1, (12, n_gallery)) / 7
    similarity[random.random(similarity.shape) < 0.02] = np.inf
    similarity[random.random(similarity.shape) < 0.02] = -np.inf
    query = Labels(random.integers(-1, persons + 2, 12), random.integers(1, 7, 12))
    gallery = Labels(random.integers(-1, persons, n_gallery), random.integers(1, 7, n_gallery))
    return similarity, query, gallery


def check(reference: ModuleType, found: QueryScores, *problem: object) -> None:
    similarity, query, gallery, rule, level = problem
    first, ap, inp = reference.score(
        similarity, (query.person, query.camera), (gallery.person, gallery.camera), rule, level
    )
    assert found.first.tolist() == first.tolist()
    assert found.ap == pytest.approx(ap, abs=1e-12)
    assert found.inp == pytest.approx(inp, abs=1e-12)


@given(
    st.integers(0, 2**32), st.integers(1, 900), st.integers(1, 9), st.sampled_from([0, 1, 3, 10**6]),
    st.sampled_from(RULES), st.sampled_from(LEVELS), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_many_matches_and_many_ties(
    reference: ModuleType, seed: int, size: int, persons: int, levels: int, rule: Rule, level: CmcLevel, kind
) -> None:
    similarity, query, gallery = drawn(seed, size, persons, levels)
    similarity = similarity.astype(kind)
    found = metrics.score_queries(similarity, query, gallery, rule, level)
    check(reference, found, similarity, query, gallery, rule, level)


@pytest.mark.parametrize("matches", [ranker.FEW - 1, ranker.FEW, ranker.FEW + 1])
@pytest.mark.parametrize("levels", [1, 10**6])
def test_counting_and_searching_meet(reference: ModuleType, matches: int, levels: int) -> None:
    random = np.random.default_rng(matches)
    person = random.permutation(np.repeat([1, 2, 3], [matches, 40, 60]))
    gallery = Labels(person, np.ones_like(person))
    query = Labels(np.array([1]), np.array([6]))
    similarity = random.integers(0, levels + 1, (1, len(person))).astype(float)
    found = metrics.score_queries(similarity, query, gallery)
    check(reference, found, similarity, query, gallery, "none", "identity")


class TestColumns:
    """Trials that share one matrix."""

    @given(st.integers(0, 2**32), st.sampled_from(RULES), st.sampled_from(LEVELS))
    @settings(max_examples=60, deadline=None)
    def test_are_as_good_as_a_matrix_of_them(self, seed: int, rule: Rule, level: CmcLevel) -> None:
        similarity, query, gallery = drawn(seed, 50, 6, 3)
        columns = np.random.default_rng(seed).permutation(50)[:20]
        part = gallery.take(columns)
        found = metrics.score_queries(similarity, query, part, rule, level, columns=columns)
        want = metrics.score_queries(similarity[:, columns], query, part, rule, level)
        for name in ("first", "ap", "inp"):
            assert getattr(found, name).tolist() == getattr(want, name).tolist()

    def test_of_others_nan_is_not_seen(self) -> None:
        wide = np.hstack([np.full((1, 1), np.nan), FIVE])
        found = metrics.score_queries(wide, labels((1, 6)), FIVE_GALLERY, columns=np.arange(1, 6))
        assert found.first.tolist() == [2]
        with pytest.raises(EvaluationError, match="NaN"):
            metrics.score_queries(wide, labels((1, 6)), FIVE_GALLERY, columns=np.arange(5))

    def test_one_for_each_image(self) -> None:
        for columns in (np.arange(4), np.arange(5.0), np.zeros((5, 1), dtype=int)):
            with pytest.raises(EvaluationError, match="5 gallery images need as many whole column numbers"):
                metrics.score_queries(FIVE, labels((1, 6)), FIVE_GALLERY, columns=columns)

    def test_inside_the_matrix(self) -> None:
        for columns in (np.array([0, 1, 2, 3, 5]), np.array([-1, 0, 1, 2, 3])):
            with pytest.raises(EvaluationError, match="the similarity matrix has 5"):
                metrics.score_queries(FIVE, labels((1, 6)), FIVE_GALLERY, columns=columns)

    def test_none_at_all(self) -> None:
        none = metrics.score_queries(FIVE, labels((1, 6)), labels(), columns=np.zeros(0, dtype=int))
        assert none.first.tolist() == [0]


def unaligned(array: np.ndarray) -> np.ndarray:
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[:] = array
    return moved


def frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


FORMS = {
    "float32": lambda s: s.astype(np.float32),
    "float16": lambda s: s.astype(np.float16),
    "big_endian": lambda s: s.astype(">f8"),
    "big_endian_float32": lambda s: s.astype(">f4"),
    "columns_first": np.asfortranarray,
    "transposed": lambda s: s.T.copy().T,
    "backwards": lambda s: s[:, ::-1].copy()[:, ::-1],
    "every_other": lambda s: np.repeat(np.repeat(s, 2, axis=0), 2, axis=1)[::2, ::2],
    "unaligned": unaligned,
    "read_only": frozen,
}


class TestForms:
    """Matrices as numpy may hold them."""

    @pytest.mark.parametrize("form", FORMS)
    def test_any_is_read(self, form: str) -> None:
        similarity, query, gallery = drawn(1, 60, 4, 3)
        similarity = np.rint(7 * similarity)  # exact in float16
        want = metrics.score_queries(similarity, query, gallery, "sysu")
        found = metrics.score_queries(FORMS[form](similarity), query, gallery, "sysu")
        assert found.first.tolist() == want.first.tolist()
        assert found.ap.tolist() == want.ap.tolist()

    def test_labels_of_any_width(self) -> None:
        similarity, query, gallery = drawn(2, 60, 4, 3)
        want = metrics.score_queries(similarity, query, gallery, "market")
        narrow = [
            Labels(frozen(x.person.astype(np.int16)), x.camera.astype(np.uint8)) for x in (query, gallery)
        ]
        found = metrics.score_queries(similarity, *narrow, "market")
        assert found.first.tolist() == want.first.tolist()

    @pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")
    def test_what_the_loops_cannot_hold_is_refused(self) -> None:
        with pytest.raises(EvaluationError, match="give float32 or float64"):
            scores(FIVE.astype(np.longdouble), labels((1, 6)), FIVE_GALLERY)

    def test_the_input_is_left_alone(self) -> None:
        similarity, query, gallery = drawn(3, 60, 4, 3)
        before = similarity.copy()
        metrics.score_queries(similarity, query, gallery, "market")
        assert (similarity == before).all()


def test_nan_is_refused_where_it_would_not_count_too() -> None:
    # hidden from the query, and before a query that matches nobody
    hidden = np.array([[0.9, np.nan, 0.7, 0.6, 0.5]])
    for query in (labels((1, 3)), labels((9, 6)), labels((-1, 6))):
        with pytest.raises(EvaluationError, match=r"the first is row 0"):
            scores(hidden, query, FIVE_GALLERY, rule="sysu")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_working_memory_is_a_few_rows(kind: type) -> None:
    size = 2500
    similarity = np.random.default_rng(0).random((size, size)).astype(kind)
    person = Labels(np.arange(size) % 250, np.arange(size) % 6 + 1)
    scores(similarity[:2], person.take(slice(0, 2)), person, "sysu")  # compiles
    tracemalloc.start()
    scores(similarity, person, person, "sysu")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # a matrix of indices would be 50 MB


def test_who_only_asks_for_labels_does_not_wait_for_the_compiler() -> None:
    code = (
        "import sys; import server.app, server.command; from vireid.evaluation import metrics; "
        "metrics.Labels; sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(problems(ties=False))
@settings(max_examples=100, deadline=None)
def test_average_precision_is_scikit_learns_where_nothing_ties(problem) -> None:
    similarity, query, gallery = np.array(problem[0]), labels(*problem[1]), labels(*problem[2])
    found = metrics.score_queries(similarity, query, gallery)
    for row in np.flatnonzero(found.valid):
        match = gallery.person == query.person[row]
        assert found.ap[row] == pytest.approx(average_precision_score(match, similarity[row]), abs=1e-12)


@given(problems(), st.sampled_from(RULES))
@settings(max_examples=100, deadline=None)
def test_laws(problem, rule: Rule) -> None:
    similarity, query, gallery = np.array(problem[0]), labels(*problem[1]), labels(*problem[2])
    by_person = metrics.score_queries(similarity, query, gallery, rule, "identity")
    by_image = metrics.score_queries(similarity, query, gallery, rule, "image")
    assert by_person.valid.tolist() == by_image.valid.tolist()
    assert ((by_person.first == 1) == (by_image.first == 1)).all()  # rank 1 is the same
    assert (by_person.first <= by_image.first).all()
    assert (by_person.ap == by_image.ap).all()
    monotone = metrics.score_queries(np.exp(similarity), query, gallery, rule, "identity")
    assert monotone.ap.tolist() == by_person.ap.tolist()  # only the order counts
    assert excluded(query, gallery, rule).tolist() == [
        [hidden(rule, q, g) for g in problem[2]] for q in problem[1]
    ]


def test_room_for_queries_is_filled_row_by_row() -> None:
    room = QueryScores.empty(3)
    room.put(np.array([2]), QueryScores(np.array([1]), np.array([0.5]), np.array([0.25])))
    assert room.valid.tolist() == [False, False, True]
    assert room.take(np.array([2])).ap.tolist() == [0.5]


@pytest.mark.slow
def test_a_multi_shot_trial_of_sysu_takes_less_than_a_fifth_of_a_second_of_one_core() -> None:
    rs = np.random.default_rng(0)
    query = Labels(rs.integers(0, 96, 3803), rs.choice([3, 6], 3803))
    gallery = Labels(np.repeat(np.arange(301) % 96, 10), np.repeat(rs.choice([1, 2, 4, 5], 301), 10))
    similarity = rs.random((3803, 3010))
    scores(similarity[:2], query.take(slice(0, 2)), gallery, "sysu")  # compiles
    begin = time.process_time()
    scores(similarity, query, gallery, "sysu")
    assert time.process_time() - begin < 0.2
