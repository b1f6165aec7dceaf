"""Label transfer: worked values, its fixed point in closed form, its invariants, and blocks against dense matrices."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from training.labels import affinity, transfer
from training.labels.affinity import Heterogeneous, Homogeneous
from training.labels.transfer import Recursion, Side
from training.transport import Problem, solve
from vireid.errors import TrainingError

A_VV = np.array([[0.6, 0.4, 0], [0.4, 0.6, 0], [0, 0, 1]])
A_RR = np.array([[0.7, 0.3], [0.3, 0.7]])
SQUARES = np.array([[0.2, 1.4], [0.5, 1.0], [1.6, 0.3]])
V0 = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
R0 = np.eye(2)
ALPHA = 0.2


class Case:
    """Dense affinities of two modalities, and the sides made of them."""

    def __init__(self, a_vv: Any, a_rr: Any, squares: Any, v0: Any, r0: Any) -> None:
        self.a_vv, self.a_rr, self.v0, self.r0 = a_vv, a_rr, v0, r0
        plan = solve(Problem(squares, delta=25), tolerance=1e-13, max_iterations=20_000)
        assert plan.converged
        matrix = plan.matrix().numpy()
        self.a_vr = matrix / matrix.sum(1, keepdims=True)
        self.a_rv = (matrix / matrix.sum(0)).T
        across = Heterogeneous(plan, np.float64)
        self.owner = Side(v0, across.to_rows, Homogeneous(csr_array(a_vv)).smooth)
        self.guest = Side(r0, across.to_columns, Homogeneous(csr_array(a_rr)).smooth)

    def run(self, **more: Any) -> transfer.Transferred:
        return transfer.transfer(self.owner, self.guest, Recursion(**{"alpha": ALPHA, **more}))

    def closed(self, symmetric: bool = False, alpha: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
        """The fixed point as the solution of a linear system."""
        h_v = (self.a_vv + np.eye(len(self.a_vv))) / 2
        h_r = (self.a_rr + np.eye(len(self.a_rr))) / 2
        back = self.a_rv @ h_v if symmetric else self.a_rv
        left = np.eye(len(h_v)) - (1 - alpha) ** 2 * self.a_vr @ h_r @ back
        u = alpha * np.linalg.solve(left, (1 - alpha) * self.a_vr @ h_r @ self.r0 + self.v0)
        return h_v @ u, h_r @ ((1 - alpha) * back @ u + alpha * self.r0)


@pytest.fixture
def worked() -> Case:
    return Case(A_VV, A_RR, SQUARES, V0, R0)


def stochastic(random: np.random.Generator, count: int) -> np.ndarray:
    table = random.random((count, count)) * (random.random((count, count)) < 0.5) + np.eye(count)
    made: np.ndarray = table / table.sum(1, keepdims=True)
    return made


def drawn(seed: int, n: int, m: int, classes: int) -> Case:
    random = np.random.default_rng(seed)
    v0 = random.dirichlet(np.full(classes, 0.5), n)
    r0 = np.eye(classes)[random.integers(0, classes, m)]
    return Case(stochastic(random, n), stochastic(random, m), random.uniform(0, 1, (n, m)), v0, r0)


# ---- worked values --------------------------------------------------------------------
def test_shares_of_the_worked_plan(worked: Case) -> None:
    np.testing.assert_allclose(worked.a_vr, [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], atol=2e-5)
    np.testing.assert_allclose(worked.a_rv, [[2 / 3, 1 / 3, 0.0], [0.0, 1 / 3, 2 / 3]], atol=2e-5)
    np.testing.assert_allclose(worked.owner.take(R0), worked.a_vr, atol=1e-12)
    np.testing.assert_allclose(worked.guest.take(np.eye(3)), worked.a_rv, atol=1e-12)


def test_one_sweep(worked: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "PUBLISHED_SWEEPS", 1)
        once = worked.run(stop="published")
    np.testing.assert_allclose(once.owner, [[0.888, 0.112], [0.612, 0.388], [0.04, 0.96]], atol=1e-5)
    np.testing.assert_allclose(once.guest, [[0.756133, 0.243867], [0.2652, 0.7348]], atol=1e-5)
    assert not once.converged


def test_the_published_rule_stops_after_five_sweeps(worked: Case) -> None:
    made = worked.run(stop="published")
    np.testing.assert_allclose(made.errors, [0.509067, 0.265813, 0.077448, 0.021888, 0.007278], atol=1e-5)
    assert made.converged
    owner = [[0.677301, 0.322699], [0.57412, 0.42588], [0.347759, 0.652241]]
    np.testing.assert_allclose(made.owner, owner, atol=1e-5)
    np.testing.assert_allclose(made.guest, [[0.664383, 0.335617], [0.388513, 0.611487]], atol=1e-5)
    assert transfer.hard(made.owner).tolist() == [0, 0, 1]


def test_the_fixed_point_is_the_closed_form(worked: Case) -> None:
    made = worked.run(tolerance=1e-12)
    owner = [[0.67943, 0.32057], [0.577635, 0.422365], [0.354046, 0.645954]]
    np.testing.assert_allclose(made.owner, owner, atol=1e-5)
    np.testing.assert_allclose(made.guest, [[0.666702, 0.333298], [0.392557, 0.607443]], atol=1e-5)
    for found, expected in zip((made.owner, made.guest), worked.closed(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)
    mixed = [[0.903829, 0.096171], [0.873291, 0.126709], [0.106214, 0.893786]]
    np.testing.assert_allclose(transfer.sharpened(made.owner, 0.7), mixed, atol=1e-5)


def test_a_wrong_label_is_repaired() -> None:
    block = np.kron(np.eye(2), np.full((2, 2), 0.5))
    squares = np.kron(1 - np.eye(2), np.ones((2, 2)))
    v0 = np.array([[1, 0], [0.4, 0.6], [0, 1], [0, 1]])
    r0 = np.eye(2)[[0, 0, 1, 1]]
    made = Case(block, block, squares, v0, r0).run(stop="published")
    assert made.sweeps == 6
    assert made.owner[1, 0] == pytest.approx(0.8148, abs=1e-4)
    assert transfer.hard(made.owner).tolist() == [0, 0, 1, 1]
    assert transfer.hard(made.guest).tolist() == [0, 0, 1, 1]


# ---- invariants -----------------------------------------------------------------------
@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000), n=st.integers(2, 9), m=st.integers(2, 9), classes=st.integers(1, 5),
    alpha=st.floats(0.05, 1), symmetric=st.booleans(),
)  # fmt: skip
def test_rows_stay_probabilities_and_meet_the_closed_form(
    seed: int, n: int, m: int, classes: int, alpha: float, symmetric: bool
) -> None:
    case = drawn(seed, n, m, classes)
    made = case.run(alpha=alpha, symmetric=symmetric, tolerance=1e-12, max_sweeps=2000)
    assert made.converged
    for found, expected in zip((made.owner, made.guest), case.closed(symmetric, alpha), strict=True):
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
        np.testing.assert_allclose(found, expected, atol=1e-9)
        mixed = transfer.sharpened(found, 0.7)
        np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-9)
        assert (transfer.hard(mixed) == transfer.hard(found)).all()


def test_with_alpha_one_each_side_smooths_what_it_began_with(worked: Case) -> None:
    made = worked.run(alpha=1.0)
    np.testing.assert_allclose(made.owner, (A_VV + np.eye(3)) / 2 @ V0, atol=1e-12)
    np.testing.assert_allclose(made.guest, (A_RR + np.eye(2)) / 2 @ R0, atol=1e-12)


def test_labels_constant_on_blocks_stay() -> None:
    block = np.kron(np.eye(2), np.full((2, 2), 0.5))
    squares = np.kron(1 - np.eye(2), np.full((2, 2), 100.0))
    start = np.repeat([[0.8, 0.2], [0.3, 0.7]], 2, axis=0)
    made = Case(block, block, squares, start, start).run(tolerance=1e-12)
    np.testing.assert_allclose(made.owner, start, atol=1e-9)
    np.testing.assert_allclose(made.guest, start, atol=1e-9)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_owners_homogeneous_affinities_reach_the_guest_in_the_symmetric_order_alone(
    worked: Case, symmetric: bool
) -> None:
    other = replace(worked.owner, smooth=Homogeneous(csr_array(np.full((3, 3), 1 / 3))).smooth)
    one = worked.run(symmetric=symmetric, tolerance=1e-12)
    two = transfer.transfer(other, worked.guest, Recursion(ALPHA, symmetric, tolerance=1e-12))
    assert not np.allclose(one.owner, two.owner, atol=1e-3)
    assert np.allclose(one.guest, two.guest, atol=1e-12) is not symmetric


def test_renaming_classes_renames_labels() -> None:
    case = drawn(3, 7, 5, 4)
    order = [2, 0, 3, 1]
    renamed = transfer.transfer(
        replace(case.owner, start=case.v0[:, order]), replace(case.guest, start=case.r0[:, order])
    )
    np.testing.assert_allclose(renamed.owner, case.run().owner[:, order], atol=1e-12)


def test_what_does_not_fit_is_refused(worked: Case) -> None:
    with pytest.raises(TrainingError, match=r"alpha is 1\.5"):
        worked.run(alpha=1.5)
    with pytest.raises(TrainingError, match="stop is 'never'"):
        worked.run(stop="never")
    with pytest.raises(TrainingError, match="tolerance is 0 and max_sweeps 100"):
        worked.run(tolerance=0)
    with pytest.raises(TrainingError, match="2 and 3 classes"):
        transfer.transfer(worked.owner, replace(worked.guest, start=np.ones((2, 3)) / 3))


def test_sweeps_end_where_they_may(worked: Case) -> None:
    made = worked.run(tolerance=1e-12, max_sweeps=3)
    assert (made.sweeps, made.converged) == (3, False)


# ---- blocks ---------------------------------------------------------------------------
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("height", [1, 3, 1024])
def test_blocks_of_the_plan_are_the_dense_shares(
    monkeypatch: pytest.MonkeyPatch, held: bool, height: int
) -> None:
    monkeypatch.setattr(affinity, "HEIGHT", height)
    monkeypatch.setattr(affinity, "HELD_BYTES", 1 << 20 if held else 0)
    case = drawn(5, 8, 6, 3)
    labels = np.random.default_rng(0).random((8, 3))
    np.testing.assert_allclose(case.owner.take(case.r0), case.a_vr @ case.r0, atol=1e-12)
    np.testing.assert_allclose(case.guest.take(labels), case.a_rv @ labels, atol=1e-12)


def test_shares_of_a_plan_that_did_not_converge_still_sum_to_1() -> None:
    plan = solve(Problem(SQUARES, delta=25), stop="published", max_iterations=1)
    across = Heterogeneous(plan, np.float64)
    np.testing.assert_allclose(across.to_rows(np.ones((2, 1))), 1, atol=1e-12)
    np.testing.assert_allclose(across.to_columns(np.ones((3, 1))), 1, atol=1e-12)


def test_it_goes_on_until_no_row_changes(worked: Case) -> None:
    """The first sweep moves the second guest most; their mean would be 0.509067."""
    found = worked.run(stop="change", tolerance=1e-3)
    assert found.errors[0] == pytest.approx(2 * 0.2652, abs=1e-5)
    assert found.errors[-1] <= 1e-3 < found.errors[-2]


@pytest.mark.parametrize("height", [2, 1024])
def test_rows_that_send_more_count_more(monkeypatch: pytest.MonkeyPatch, height: int) -> None:
    """Shares of rows, and of columns, are those of the plan, whatever each row sends."""
    monkeypatch.setattr(affinity, "HEIGHT", height)
    plan = solve(Problem(SQUARES, rows=[0.6, 0.3, 0.1], delta=5))
    matrix = plan.matrix().numpy()
    random = np.random.default_rng(0)
    labels = {count: random.random((count, 4)) for count in SQUARES.shape}
    across = Heterogeneous(plan, np.float64)
    to_rows = matrix / matrix.sum(1, keepdims=True) @ labels[2]
    to_columns = (matrix / matrix.sum(0)).T @ labels[3]
    np.testing.assert_allclose(across.to_rows(labels[2]), to_rows, atol=1e-12)
    np.testing.assert_allclose(across.to_columns(labels[3]), to_columns, atol=1e-12)


@pytest.mark.parametrize("dense", [0.0, 2.0])
def test_homogeneous_shares_with_and_without_their_zeros(
    monkeypatch: pytest.MonkeyPatch, dense: float
) -> None:
    monkeypatch.setattr(affinity, "DENSE", dense)
    monkeypatch.setattr(affinity, "HEIGHT", 3)
    table = stochastic(np.random.default_rng(1), 8)
    within = Homogeneous(csr_array(7 * table))
    labels = np.random.default_rng(0).random((8, 3))
    np.testing.assert_allclose(within.smooth(labels), (table + np.eye(8)) / 2 @ labels, atol=1e-12)
    assert within.pairs == (table > 0).sum()


def test_an_image_like_none_is_refused() -> None:
    with pytest.raises(TrainingError, match="1 images are like none"):
        Homogeneous(csr_array(np.diag([1.0, 0.0])))


def test_the_plan_of_features_is_that_of_their_squared_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "HEIGHT", 4)
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(count, 5)) for count in (9, 6))
    first, second = (
        (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32) for each in (first, second)
    )
    squares = ((first[:, None] - second[None]) ** 2).sum(2)
    cost = affinity.squared_distances(first, second)
    made = solve(Problem(cost, delta=5)).matrix()
    expected = solve(Problem(squares, delta=5)).matrix()
    np.testing.assert_allclose(made, expected, atol=1e-6)
    # a solver reads fewer rows at a time than are multiplied at once, and not always in order
    for start, stop in ((0, 2), (2, 4), (3, 7), (8, 9), (0, 9)):
        np.testing.assert_allclose(cost.rows(start, stop), squares[start:stop], atol=1e-5)
