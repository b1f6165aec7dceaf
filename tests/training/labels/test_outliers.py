"""What becomes of outliers, and numbering."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.labels.outliers import renumber, settle
from vireid.errors import TrainingError

LABELS = np.array([5, -1, 2, 5, -1, 9])


def test_drop() -> None:
    found = settle(LABELS, "drop")
    assert found.labels.tolist() == [1, -1, 0, 1, -1, 2]
    assert found.used.tolist() == [True, False, True, True, False, True]


def test_singleton() -> None:
    found = settle(LABELS, "singleton")
    assert found.labels.tolist() == [1, 3, 0, 1, 4, 2]
    assert found.used.all()
    assert settle(np.array([-1, -1]), "singleton").labels.tolist() == [0, 1]


def test_keep() -> None:
    found = settle(LABELS, "keep")
    assert found.labels.tolist() == [1, -1, 0, 1, -1, 2]
    assert found.used.all()


def test_what_is_given_stays_as_it_was() -> None:
    labels = LABELS.copy()
    settle(labels, "singleton")
    np.testing.assert_array_equal(labels, LABELS)


def test_nothing_left() -> None:
    with pytest.raises(
        TrainingError, match="all 3 images are outliers, so dropping them leaves none; raise eps"
    ):
        settle(np.full(3, -1), "drop")


def test_an_unknown_policy() -> None:
    with pytest.raises(TrainingError, match="'ignore'; expected one of drop, singleton, keep"):
        settle(LABELS, "ignore")  # type: ignore[arg-type]


@given(st.lists(st.integers(-3, 1000), max_size=40))
def test_numbering_keeps_who_is_together(labels: list[int]) -> None:
    given_ = np.array(labels, dtype=np.int64)
    made = renumber(given_)
    inside = made >= 0
    np.testing.assert_array_equal(inside, given_ >= 0)
    assert sorted(set(made[inside].tolist())) == list(range(len(set(given_[inside].tolist()))))
    for a, b in zip(given_[inside], made[inside], strict=True):
        assert set(made[given_ == a]) == {b}
    np.testing.assert_array_equal(renumber(made), made)
