"""Labels against the truth, for the metrics: worked by hand."""

import numpy as np
import pytest

from training.judge import NOBODY, counted, judge, represented, words
from training.labels.pseudo import PseudoLabels

PERSONS = np.array([7, 7, 7, 9, 9, 4, 7, 7, 9, 9, 9, 4])
LABELS = np.array([0, 0, 1, 1, 1, -1, 0, 1, 1, 0, 3, 3])
MODALITY = np.repeat([0, 1], 6)


def labels() -> PseudoLabels:
    return PseudoLabels(LABELS, np.ones(12, np.float32), LABELS < 0)


def test_a_class_stands_for_whom_most_of_its_visible_images_show() -> None:
    # class 0: 7 7 visible; class 1: 7 9 9 visible; class 2: nobody; class 3: infrared alone, 9 and 4, the last of equals
    assert represented(PERSONS, LABELS, MODALITY).tolist() == [7, 9, NOBODY, 9]
    # visible images have the last word, however many infrared ones there are
    assert represented(np.array([5, 6, 6, 6]), np.zeros(4, np.int64), np.array([0, 1, 1, 1])).tolist() == [5]


def test_accuracy_is_told_for_each_modality() -> None:
    found = judge(PERSONS, MODALITY)(labels())
    # visible: 7 7 right, 7 in class 1 wrong, 9 9 right, 4 without a class wrong
    assert found["accuracy"]["visible"] == pytest.approx(4 / 6)
    # infrared: 7 in 0, 9 in 1 and 9 in 3 right; 7 in 1, 9 in 0, 4 in 3 wrong
    assert found["accuracy"]["infrared"] == pytest.approx(3 / 6)
    assert found["accuracy"]["all"] == pytest.approx(7 / 12)
    assert found["persons"] == 3
    assert set(found["within"]) == {"precision", "recall"}


def test_classes_are_counted_without_persons() -> None:
    found = counted(labels(), MODALITY)
    assert (found["classes"], found["outliers"]) == (3, 1)
    assert found["sizes"] == {"visible": [3, 2], "infrared": [2, 2, 2]}
    assert found["sha256"] == labels().sha256


def test_labels_that_name_nobody() -> None:
    none = PseudoLabels(np.full(12, -1), np.zeros(12, np.float32), np.ones(12, bool))
    assert judge(PERSONS, MODALITY)(none)["accuracy"]["all"] == 0
    assert counted(none, MODALITY)["sizes"] == {"visible": [], "infrared": []}


def test_an_epochs_labels_in_a_line() -> None:
    told = counted(labels(), MODALITY)
    assert words(told, 12) == "3 classes; 8% of the images in none"
    judged = told | judge(PERSONS, MODALITY)(labels())
    right = "right: visible 67%, infrared 50%, all 58%"
    assert words(judged, 12) == f"3 classes; 8% of the images in none; {right}"
    assert words({"classes": 2, "outliers": 0, "accuracy": {"visible": 1.0, "infrared": None}}, 5) == (
        "2 classes; right: visible 100%"
    )
