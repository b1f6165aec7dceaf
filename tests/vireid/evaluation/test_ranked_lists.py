"""Which queries are shown, and what was answered to them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.evaluation.evidence import gather
from vireid.evaluation.measure import Case
from vireid.evaluation.protocols import preset
from vireid.evaluation.ranked_lists import GROUPS, LENGTH, choose

queries = st.lists(st.tuples(st.integers(0, 4).map(lambda n: n / 4), st.integers(0, 5)), max_size=40)


@given(queries=queries, each=st.integers(1, 4))
def test_laws_of_the_choice(queries: list[tuple[float, int]], each: int) -> None:
    ap, person = np.array([q[0] for q in queries]), np.array([q[1] for q in queries], dtype=np.int64)
    chosen = choose(ap, person, each)
    places = [place for _, place in chosen]
    assert len(set(places)) == len(places)
    assert all(ap[place] > 0 for place in places)  # a query without a match shows nothing
    assert chosen == sorted(chosen, key=lambda one: GROUPS.index(one[0]))
    valid = [n for n, (value, _) in enumerate(queries) if value > 0]
    for group in GROUPS:
        members = [place for name, place in chosen if name == group]
        assert len(members) <= each
        assert max(Counter(person[members].tolist()).values(), default=0) <= 1
    if valid:
        assert chosen[0] == ("best", max(valid, key=lambda n: (ap[n], -n)))
    if len(valid) > each:
        worst = [place for name, place in chosen if name == "worst"]
        assert ap[worst[0]] <= min(ap[n] for n in valid if n not in {p for g, p in chosen if g == "best"})


def test_the_groups_of_a_plain_case() -> None:
    ap = np.array([0.1, 0.9, 0.5, 0.8, 0.2, 0.45, 0.0, 0.55, 0.5])
    person = np.arange(9)
    assert choose(ap, person, each=2) == [
        ("best", 1),
        ("best", 3),
        ("median", 8),
        ("median", 2),
        ("worst", 0),
        ("worst", 4),
    ]


@pytest.mark.parametrize("rule", ["none", "market", "sysu"])
def test_lists_are_the_ranking_without_what_is_hidden(rule: str, random_case: Callable[..., Case]) -> None:
    case = random_case(5, whole=True)
    found = gather(case, preset("folder", rule=rule))
    assert {shown.group for shown in found.lists} == set(GROUPS)
    for shown in found.lists:
        row = case.dataset.query.samples.index(shown.query)
        ranking = []
        for column, other in enumerate(case.dataset.gallery.samples):
            same_camera, same_person = shown.query.camera == other.camera, shown.query.person == other.person
            hidden = {
                "none": False,
                "market": same_camera and same_person,
                "sysu": shown.query.camera == 3 and other.camera == 2,
            }[rule]
            if not hidden:
                score = float(case.features.query[row] @ case.features.gallery[column])
                ranking.append((-score, column))
        ranking.sort()
        assert shown.seen == len(ranking)
        assert shown.hidden == len(case.dataset.gallery) - len(ranking)
        answers = [(a.score, case.dataset.gallery.samples.index(a.sample)) for a in shown.answers]
        assert answers == [(-score, column) for score, column in ranking[:LENGTH]]
        assert [a.rank for a in shown.answers] == list(range(1, len(answers) + 1))
        right = [case.dataset.gallery.samples[c].person == shown.query.person for _, c in ranking]
        assert [a.right for a in shown.answers] == right[:LENGTH]
        assert shown.matches == sum(right)
        assert shown.first == right.index(True) + 1
        assert shown.ap == found.trials[0].ap[row]


def test_a_gallery_of_fewer_than_ten(random_case: Callable[..., Case]) -> None:
    case = random_case(2, n_gallery=6)
    found = gather(replace(case), preset("folder", rule="none"))
    assert all(len(shown.answers) == 6 for shown in found.lists)
