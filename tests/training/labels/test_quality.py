"""Label quality: the worked example, scikit-learn's contingency, and pairs looked at one by one."""

import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from training.labels.quality import Agreement, accuracy, assess
from vireid.errors import TrainingError

PERSON = np.array([0, 0, 0, 1, 1, 1, 2, 2])
LABEL = np.array([5, 5, 6, 7, 7, 5, 8, 9])


def test_the_worked_example() -> None:
    found = assess(PERSON, LABEL)
    assert (found.images, found.persons, found.clusters) == (8, 3, 2)
    assert found.r_gt == pytest.approx(0.833333, abs=1e-5)
    assert found.r_ct == pytest.approx(0.833333, abs=1e-5)
    assert found.p_v == 0.625
    assert found.q_v == pytest.approx(0.666667, abs=1e-5)
    assert found.r_plq == pytest.approx(0.347222, abs=1e-5)
    assert found.ari == pytest.approx(adjusted_rand_score(PERSON, LABEL))
    assert found.within == Agreement(2 / 4, 2 / 7)  # pairs 01 and 34 of 01, 05, 15, 34; seven true ones
    assert math.isnan(found.across.precision)
    assert math.isnan(found.across.recall)
    assert found.accuracy is None


def test_outliers_are_in_no_cluster() -> None:
    marked = np.where(np.isin(LABEL, (6, 8, 9)), -1, LABEL)
    assert same(assess(PERSON, marked), assess(PERSON, LABEL))


def test_perfect_labels() -> None:
    found = assess(PERSON, PERSON + 10, np.array([0, 0, 1, 0, 1, 1, 0, 1]))
    assert found.r_plq == found.ari == 1
    assert found.within == found.across == Agreement(1.0, 1.0)


def test_no_cluster_at_all() -> None:
    found = assess(PERSON, np.full(8, -1))
    assert (found.clusters, found.p_v, found.q_v, found.r_plq) == (0, 0.0, 0.0, 0.0)
    assert math.isnan(found.within.precision)
    assert found.within.recall == 0


def test_accuracy_where_classes_are_persons() -> None:
    classes = np.array([70, 80, 90])
    assert accuracy(np.array([70, 80, 80, 90]), np.array([0, 1, 2, -1]), classes) == 0.5
    assert assess(np.array([70, 80]), np.array([0, 0]), class_person=classes).accuracy == 0.5
    with pytest.raises(TrainingError, match="label 3 of 3 classes"):
        accuracy(np.array([70]), np.array([3]), classes)


@pytest.mark.parametrize(("label", "modality"), [(LABEL[:-1], None), (LABEL, np.zeros(3, dtype=int))])
def test_arrays_of_several_lengths(label: np.ndarray, modality: np.ndarray | None) -> None:
    with pytest.raises(TrainingError, match=r"8 persons, \d labels and \d modalities; expected one of each"):
        assess(PERSON, label, modality)


def test_no_image() -> None:
    with pytest.raises(TrainingError, match="0 persons"):
        assess(PERSON[:0], LABEL[:0])


def same(one: object, other: object) -> bool:
    return repr(asdict(one)) == repr(asdict(other))  # type: ignore[call-overload]


def brute_pairs(
    person: np.ndarray, label: np.ndarray, modality: np.ndarray, across: bool
) -> tuple[float, float]:
    pairs = [
        (person[i] == person[j], label[i] == label[j] >= 0)
        for i, j in itertools.combinations(range(len(person)), 2)
        if (modality[i] != modality[j]) == across
    ]
    both, taken, true = sum(a and b for a, b in pairs), sum(b for _, b in pairs), sum(a for a, _ in pairs)
    return both / taken if taken else math.nan, both / true if true else math.nan


def brute_scores(person: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    mask = np.array([(label == own).sum() > 1 and own >= 0 for own in label])
    if not mask.any():
        return 0.0, 0.0
    who, own = person[mask], label[mask]
    r_gt = [max(np.mean(own[who == p] == c) for c in set(own)) for p in sorted(set(who))]
    r_ct = [max(np.mean(who[own == c] == p) for p in set(who)) for c in sorted(set(own))]
    return float(np.mean(r_gt)), float(np.mean(r_ct))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6), st.integers(0, 1)), min_size=1, max_size=25))
def test_counting_is_looking_at_every_pair(rows: list[tuple[int, int, int]]) -> None:
    person, label, modality = np.array(rows, dtype=np.int64).T
    found = assess(person, label, modality)
    assert (found.r_gt, found.r_ct) == pytest.approx(brute_scores(person, label))
    for part, across in ((found.within, False), (found.across, True)):
        assert (part.precision, part.recall) == pytest.approx(
            brute_pairs(person, label, modality, across), nan_ok=True
        )
    alone = np.where(label < 0, 100 + np.arange(len(label)), label)
    assert found.ari == pytest.approx(adjusted_rand_score(person, alone))


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6)), min_size=1, max_size=25),
    persons=st.permutations(range(6)),
    labels=st.permutations(range(7)),
    order=st.randoms(use_true_random=False),
)
def test_names_and_order_do_not_matter(
    rows: list[tuple[int, int]], persons: list[int], labels: list[int], order: object
) -> None:
    person, label = np.array(rows, dtype=np.int64).T
    found = assess(person, label)
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    renamed = assess(
        np.array(persons)[person][shuffled], np.where(label >= 0, 3 * np.array(labels)[label], -1)[shuffled]
    )
    for name in ("images", "persons", "clusters", "r_gt", "r_ct", "p_v", "q_v", "r_plq", "ari"):
        assert getattr(renamed, name) == pytest.approx(getattr(found, name)), name
    assert (renamed.within.precision, renamed.within.recall) == pytest.approx(
        (found.within.precision, found.within.recall), nan_ok=True
    )


def test_too_many_clusters_count_as_too_few_do() -> None:
    people, pairs = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert assess(people, pairs).q_v == pytest.approx(1 / 2)
    assert assess(pairs, people).q_v == pytest.approx(1 / 2)
