"""What two engines find, against a slow reference: overlap of first places, accuracy, and what chance gives."""

from itertools import combinations

import numpy as np
import pytest

from export import ranking
from export.exam import Exam


def slow_agreement(truth: np.ndarray, found: np.ndarray, k: int) -> float:
    """Without ties the first k are sets, and the share in common is plain."""
    shares = []
    for left, right in zip(truth, found, strict=True):
        shares.append(len(set(np.argsort(-left)[:k]) & set(np.argsort(-right)[:k])) / k)
    return float(np.mean(shares))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_agreement_is_the_share_of_first_places_in_common(k: int) -> None:
    random = np.random.default_rng(k)
    truth = random.uniform(-1, 1, (20, 30))
    found = truth + random.normal(0, 0.2, truth.shape)
    assert ranking.agreement(truth, found, k) == pytest.approx(slow_agreement(truth, found, k))
    assert ranking.agreement(truth, truth, k) == 1.0
    assert ranking.agreement(truth, -truth, k) == pytest.approx(slow_agreement(truth, -truth, k))


def test_order_among_the_first_does_not_matter() -> None:
    truth = np.array([[0.9, 0.8, 0.7, 0.1, 0.0]])
    assert ranking.agreement(truth, np.array([[0.7, 0.8, 0.9, 0.1, 0.0]]), 3) == 1.0
    assert ranking.agreement(truth, np.array([[0.7, 0.1, 0.9, 0.8, 0.0]]), 3) == pytest.approx(2 / 3)


def test_images_that_tie_with_the_last_may_stand_for_one_another() -> None:
    truth = np.array([[0.9, 0.5, 0.5, 0.5, 0.1]])
    for second in (1, 2, 3):
        found = np.array([[0.9, 0.4, 0.4, 0.4, 0.1]])
        found[0, second] = 0.6
        assert ranking.agreement(truth, found, 2) == 1.0
    # ties of the candidate are no fault of its either
    assert ranking.agreement(np.array([[0.9, 0.8, 0.2, 0.1, 0.0]]), np.array([[0.5] * 4 + [0.0]]), 2) == 1.0
    # but what is lower by more than rounding is
    assert ranking.agreement(truth, np.array([[0.9, 0.4, 0.4, 0.4, 0.6]]), 2) == 0.5


def test_where_all_images_are_among_the_first_nothing_is_said() -> None:
    truth = np.random.default_rng(0).uniform(size=(2, 10))
    assert ranking.agreement(truth, -truth, 10) is None
    assert ranking.agreement(truth, -truth, 9) is not None


@pytest.fixture
def exam() -> Exam:
    """Four people, an infrared and two visible images each."""
    person = np.repeat(np.arange(4), 3)
    modality = np.tile([1, 0, 0], 4)
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    return Exam(images, person.astype(np.int64), np.tile([3, 1, 2], 4).astype(np.int64), modality)


def test_accuracy_is_that_of_infrared_asking_and_visible_being_found(exam: Exam) -> None:
    perfect = np.eye(4, dtype=np.float32)[exam.person]
    wrong = perfect.copy()
    wrong[0] = perfect[3]  # the first person's infrared image looks like the second person
    found = ranking.rank(perfect, wrong, exam)
    assert (found.source.mean_ap, found.source.rank1) == (1.0, 1.0)
    assert found.candidate.rank1 == 0.75
    # the two images of the other person come first; the rest tie and keep their order
    ranks = [r + 1 for r, place in enumerate([2, 3, 0, 1, 4, 5, 6, 7]) if place in (0, 1)]
    ap = np.mean([(n + 1) / rank for n, rank in enumerate(ranks)])
    assert found.candidate.mean_ap == pytest.approx((3 + ap) / 4)
    assert found.map_change == pytest.approx(100 * (found.candidate.mean_ap - 1))
    assert found.rank1_change == pytest.approx(-25)


def test_chance_is_the_mean_over_every_order(exam: Exam) -> None:
    rows = np.eye(4, dtype=np.float32)[exam.person]
    # where two right images of eight may stand
    every = [np.mean([1 / first, 2 / second]) for first, second in combinations(range(1, 9), 2)]
    assert ranking.rank(rows, rows, exam).chance == pytest.approx(np.mean(every))
    # with one right image of four it is twice the share of right ones
    kept = exam.camera != 2
    single = Exam(exam.images[kept], exam.person[kept], exam.camera[kept], exam.modality[kept])
    assert ranking.rank(rows[kept], rows[kept], single).chance == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    )


def test_strangers_are_compared_within_their_modality_only(exam: Exam) -> None:
    rows = np.eye(4, dtype=np.float32)[exam.person]
    rows[exam.modality == 1] = [1, 0, 0, 0]  # blind at night
    means = ranking.strangers(rows, exam.person, exam.modality)
    assert means == {"visible": pytest.approx(0.0), "infrared": pytest.approx(1.0)}
