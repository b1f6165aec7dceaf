"""Exact plans against POT's network simplex."""

import numpy as np
import ot
import pytest

from training.transport import Problem, exact
from vireid.errors import TrainingError


@pytest.mark.parametrize("shape", [(7, 7), (12, 4), (4, 12), (6, 4), (1, 5)])
@pytest.mark.parametrize("uniform", [True, False])
def test_costs_what_the_network_simplex_costs(shape: tuple[int, int], uniform: bool) -> None:
    random = np.random.default_rng(0)
    cost = random.random(shape)
    a, b = (np.full(n, 1 / n) if uniform else random.dirichlet(np.ones(n)) for n in shape)
    plan = exact(Problem(cost, a, b)).numpy()
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-9)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-9)
    assert (plan >= 0).all()
    assert (plan * cost).sum() == pytest.approx(ot.emd2(a, b, cost), abs=1e-9)


def test_totals_other_than_one() -> None:
    cost = np.random.default_rng(1).random((6, 3))
    plan = exact(Problem(cost, np.full(6, 2.0), np.full(3, 4.0)))
    np.testing.assert_allclose(plan.sum(0), 4)
    assert set(plan.unique().tolist()) == {0.0, 2.0}


def test_what_it_cannot_do() -> None:
    with pytest.raises(TrainingError, match="penalties"):
        exact(Problem(np.ones((3, 3)), penalties=(1.0, None)))
    with pytest.raises(TrainingError, match="too large"):
        exact(Problem(np.ones((1000, 997))))
