"""Self-paced reliability: the worked example, and the same by comparing images pairwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels.reliability import Reliability, judge
from vireid.errors import TrainingError

MIDDLE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
TIGHT = np.array([0, 0, 0, -1, 1, 1, 1, 2, 2, -1])
LOOSE = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, -1])


def test_the_worked_example() -> None:
    found = judge(MIDDLE, TIGHT, LOOSE)
    np.testing.assert_allclose(found.compactness, [0.25, 0.25, 0.25, 0.75, 0, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.independence, [0, 0, 0, 0, 0.4, 0.4, 0.4, 0.6, 0.6, 0], atol=1e-12)
    assert found.threshold() == pytest.approx(0.6)
    assert found.kept(found.threshold()).tolist() == [True] * 3 + [False] + [True] * 6
    assert found.kept(0.4).astype(int).tolist() == [1, 1, 1, 0, 1, 1, 1, 0, 0, 1]
    assert found.kept(0.0).astype(int).tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 1]
    assert found.filtered(0.4).tolist() == [0, 0, 0, -1, 1, 1, 1, -1, -1, -1]


def test_the_last_member_may_be_spared() -> None:
    found = judge(MIDDLE, TIGHT, LOOSE)
    assert found.kept(0.0, spare_last=True).astype(int).tolist() == [1, 1, 1, 0, 0, 0, 1, 0, 1, 1]
    assert found.filtered(0.0, spare_last=True).tolist() == [0, 0, 0, -1, -1, -1, 1, -1, 2, -1]


def test_the_place_of_the_threshold_is_rounded_and_kept_inside() -> None:
    def values(count: int) -> Reliability:
        labels = np.repeat(np.arange(count), 2)
        return Reliability(labels, np.zeros(2 * count), np.repeat(np.arange(count) / 100, 2))

    # place min(n - 1, round(0.9 n)) among n clusters; 4.5 is rounded to even
    for count, place in ((1, 0), (2, 1), (5, 4), (10, 9), (15, 14), (20, 18), (25, 22), (100, 90)):
        assert values(count).threshold() == pytest.approx(place / 100)
    assert values(100).threshold(0.5) == pytest.approx(0.5)


def test_clusters_of_one_image_set_no_threshold() -> None:
    found = Reliability(np.array([0, 0, 1, 2, 2]), np.zeros(5), np.array([0.1, 0.3, 0.9, 0.2, 0.2]))
    assert found.threshold() == pytest.approx(0.2)
    with pytest.raises(TrainingError, match="none of 3 images shares a cluster with another"):
        judge(*[np.array([0, 1, -1])] * 3).threshold()


def test_clusterings_of_other_images() -> None:
    with pytest.raises(TrainingError, match="clusterings of 2, 3 and 2 images"):
        judge(np.zeros(2, dtype=int), np.zeros(3, dtype=int), np.zeros(2, dtype=int))


def pairwise(middle: np.ndarray, other: np.ndarray) -> np.ndarray:
    def sets(labels: np.ndarray) -> list[set[int]]:
        return [
            {j for j, its in enumerate(labels) if j == i or (its == mine and mine >= 0)}
            for i, mine in enumerate(labels)
        ]

    return np.array([1 - len(a & b) / len(a | b) for a, b in zip(sets(middle), sets(other), strict=True)])


def brute_kept(
    middle: np.ndarray, compact: np.ndarray, independent: np.ndarray, threshold: float
) -> list[bool]:
    kept = []
    for i, label in enumerate(middle):
        members = [j for j in range(len(middle)) if j == i or (label >= 0 and middle[j] == label)]
        fine = min(independent[j] for j in members) <= threshold
        kept.append(bool(fine and compact[i] <= min(compact[j] for j in members)))
    return kept


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.tuples(*[st.integers(-1, 4)] * 3), min_size=1, max_size=25),
    threshold=st.sampled_from([0.0, 0.2, 0.5, 0.75, 1.0]),
)
def test_counting_pairs_is_comparing_images(labels: list[tuple[int, int, int]], threshold: float) -> None:
    middle, tight, loose = np.array(labels).T
    found = judge(middle, tight, loose)
    np.testing.assert_allclose(found.compactness, pairwise(middle, tight), atol=1e-12)
    np.testing.assert_allclose(found.independence, pairwise(middle, loose), atol=1e-12)
    kept = found.kept(threshold)
    assert kept.tolist() == brute_kept(middle, found.compactness, found.independence, threshold)
    assert (found.filtered(threshold)[middle == -1] == -1).all()
    # sparing the last member is what going through the images one by one gives
    left = {int(c): int((middle == c).sum()) for c in np.unique(middle)}
    one_by_one = kept.copy()
    for i, label in enumerate(middle.tolist()):
        if not kept[i]:
            one_by_one[i] = label == -1 or left[label] == 1
            left[label] -= not one_by_one[i]
    assert found.kept(threshold, spare_last=True).tolist() == one_by_one.tolist()


def test_names_of_clusters_do_not_matter() -> None:
    renamed = judge(np.where(MIDDLE >= 0, 7 - MIDDLE, -1), np.where(TIGHT >= 0, 5 * TIGHT + 2, -1), LOOSE)
    np.testing.assert_array_equal(renamed.compactness, judge(MIDDLE, TIGHT, LOOSE).compactness)
    np.testing.assert_array_equal(renamed.kept(0.4), judge(MIDDLE, TIGHT, LOOSE).kept(0.4))


def test_it_does_not_compare_images_pairwise() -> None:
    labels = np.random.default_rng(0).integers(-1, 50_000, 300_000)  # N x N would be 90 thousand million
    assert judge(labels, labels, labels).compactness.max() == 0
