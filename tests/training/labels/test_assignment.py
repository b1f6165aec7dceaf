"""Labels by transport: the worked examples, the rule for rows, and what a biased classifier gains."""

import logging

import numpy as np
import pytest
import torch
from scipy.special import softmax

from training.labels.assignment import Assigned, most_likely, transported
from training.transport import Problem, assign, solve
from vireid.errors import TrainingError

FOUR = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])


def test_balance_decides_against_the_greatest_answer() -> None:
    two = np.array([[0.6, 0.4], [0.7, 0.3]])
    assert transported(two, delta=25).labels.tolist() == [1, 0]
    assert most_likely(two).labels.tolist() == [0, 0]


def test_four_images_of_two_classes() -> None:
    found = transported(FOUR, delta=25, max_iterations=10_000)
    assert found.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.confidence, [1, 0.249704 / 0.25, 0.249704 / 0.25, 1], atol=1e-5)
    assert found.histogram.tolist() == [2, 2]
    soft = transported(FOUR, delta=1)
    np.testing.assert_allclose(
        soft.confidence, [0.18258 / 0.25, 0.13655 / 0.25, 0.146877 / 0.25, 0.172253 / 0.25], atol=4e-5
    )
    plain = most_likely(FOUR)
    assert plain.labels.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(plain.confidence, [0.9, 0.8, 0.7, 0.6], atol=1e-6)
    assert plain.histogram.tolist() == [4, 0]


def test_the_published_rule_stops_where_it_did() -> None:
    found = transported(FOUR, delta=25, stop="published")
    assert found.made["iterations"] == 31
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.confidence[2] == pytest.approx(0.241354 / 0.25, abs=1e-5)


def test_balance_of_forty_images() -> None:
    logits = np.random.default_rng(0).standard_normal((40, 5))
    probabilities = softmax(logits, axis=1)
    assert transported(probabilities).histogram.tolist() == [9, 8, 8, 7, 8]
    assert most_likely(probabilities).histogram.tolist() == [4, 13, 10, 4, 9]


def test_it_is_the_row_rule_of_the_plan_and_its_share() -> None:
    probabilities = softmax(np.random.default_rng(1).standard_normal((300, 70)), axis=1)
    found = transported(probabilities)
    plan = solve(Problem(-np.log(probabilities), delta=25.0))
    np.testing.assert_array_equal(found.labels, assign(plan, "row").rows.numpy())
    matrix = plan.matrix().numpy()
    np.testing.assert_allclose(found.confidence, matrix.max(axis=1) / matrix.sum(axis=1), rtol=1e-5)
    assert found.made["converged"]
    assert found.made["error"] <= 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_biased_classifier_is_repaired(seed: int) -> None:
    chance = np.random.default_rng(seed)
    true = np.repeat(np.arange(20), 10)
    bias = 1.5 * chance.standard_normal(20)
    logits = 2 * np.eye(20)[true] + bias + chance.standard_normal((200, 20))
    probabilities = softmax(logits, axis=1)

    def right(found: Assigned) -> float:
        return float((found.labels == true).mean())

    found, plain = transported(probabilities), most_likely(probabilities)
    assert right(found) > right(plain) + 0.08
    assert (found.histogram > 0).all()
    assert found.histogram.max() <= 12
    assert plain.histogram.max() > 30


def test_shares_of_ones_own() -> None:
    probabilities = softmax(np.random.default_rng(2).standard_normal((100, 2)), axis=1)
    found = transported(probabilities, columns=np.array([0.8, 0.2]))
    assert abs(int(found.histogram[0]) - 80) <= 2


def test_answers_that_underflowed() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1e-30]], dtype=np.float32)
    found = transported(probabilities)
    assert found.labels[:3].tolist() == [0, 0, 1]
    assert np.isfinite(found.confidence).all()


def test_tensors_of_any_precision_give_no_gradient() -> None:
    logits = torch.randn(30, 4, generator=torch.manual_seed(0), requires_grad=True)
    found = transported(logits.softmax(1))
    assert found.labels.shape == (30,)
    half = most_likely(logits.detach().softmax(1).bfloat16())
    assert (half.labels == logits.argmax(1).numpy()).mean() > 0.9


def test_stopping_early_is_said(caplog: pytest.LogCaptureFixture) -> None:
    probabilities = softmax(5 * np.random.default_rng(3).standard_normal((200, 30)), axis=1)
    with caplog.at_level(logging.WARNING):
        found = transported(probabilities, max_iterations=3)
    assert not found.made["converged"]
    assert "transport of 200 images to 30 classes stopped after 3 iterations" in caplog.text


def test_as_pseudo_labels() -> None:
    labels = transported(FOUR).pseudo_labels()
    assert labels.labels.tolist() == [0, 0, 1, 1]
    assert not labels.outlier.any()
    assert labels.made["by"] == "transport"
    assert (labels.made["images"], labels.made["classes"], labels.made["delta"]) == (4, 2, 25.0)
    assert len(labels.sha256) == 64


@pytest.mark.parametrize("row", [[0.5, 0.2], [-0.5, 1.5], [np.nan, 1.0]])
def test_rows_that_are_no_probabilities(row: list[float]) -> None:
    with pytest.raises(TrainingError, match="1 of 2 rows are no probabilities, the first is row 1"):
        transported(np.array([[0.5, 0.5], row]))


def test_tables_that_are_none() -> None:
    with pytest.raises(TrainingError, match=r"shape \(0, 3\)"):
        most_likely(np.zeros((0, 3)))
