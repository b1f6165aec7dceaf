"""Matching of prototypes: worked values, what becomes a class, and clusters that match nobody."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.method_settings.miot import MatchingSettings
from training.methods.miot_matching import Matching, match
from vireid.types import Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
# similarities of three infrared and four visible prototypes
WORKED = np.array([[0.9, 0.2, 0.1, 0.0], [0.7, 0.6, 0.1, 0.1], [0.3, 0.2, 0.8, 0.75]])


def of(similarity: np.ndarray, **wanted: Any) -> Matching:
    """Match prototypes that are as similar as asked for: any table with entries small enough has some."""
    rows, columns = similarity.shape
    infrared = np.hstack([similarity, np.zeros((rows, rows))])
    infrared[:, columns:] = np.diag(np.sqrt(np.maximum(0, 1 - (similarity**2).sum(1))))
    visible = np.eye(columns, columns + rows)
    return match(
        visible.astype(np.float32), infrared.astype(np.float32), MatchingSettings.model_validate(wanted)
    )


def test_worked_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the table are longer than a unit vector allows, so the similarities themselves are put in."""
    import torch

    from training.methods import miot_matching

    made = []
    original = miot_matching.solve

    def solve(problem: Any, **how: Any) -> Any:
        plan = original(
            type(problem)(-((torch.from_numpy(WORKED) + 1) / 2).log(), delta=problem.delta), **how
        )
        made.append(plan.matrix().numpy())
        return plan

    monkeypatch.setattr(miot_matching, "solve", solve)
    found = of(WORKED / 2)
    expected = [
        [0.245031, 0.000574, 0.072111, 0.015617],
        [0.004969, 0.249426, 0.023588, 0.05535],
        [0, 0, 0.154301, 0.179033],
    ]
    np.testing.assert_allclose(made[0], expected, atol=1e-5)
    # forward 0, 1, 3; nobody chose visible prototype 2, which the opposite transport gives to infrared 2
    assert found.pairs.tolist() == [[0, 0], [1, 1], [2, 2], [2, 3]]
    assert found.cross[INFRARED].tolist() == [0, 1, 2]
    assert found.cross[VISIBLE].tolist() == [0, 1, 2, 2]
    assert found.partner[VISIBLE].tolist() == [0, 1, 2, 2]
    assert found.partner[INFRARED].tolist() == [0, 1, 3]
    assert found.classes == 3
    assert found.told["matched_visible"] == found.told["matched_infrared"] == 1.0
    one_way = of(WORKED / 2, opposite=False)
    assert one_way.pairs.tolist() == [[0, 0], [1, 1], [2, 3]]
    assert one_way.cross[VISIBLE].tolist() == [0, 1, -1, 2]
    assert one_way.told["matched_visible"] == 0.75
    demand = of(WORKED / 2, cross="demand")
    assert demand.cross[VISIBLE].tolist() == [0, 1, -1, 2]
    assert demand.cross[INFRARED].tolist() == [0, 1, 2]
    assert demand.partner[VISIBLE].tolist() == [0, 1, 2, 2]
    # what infrared 2 sends to visible 2 and 3, of a quarter: 0.617 and 0.716
    assert of(WORKED / 2, min_mass=0.7).pairs.tolist() == [[0, 0], [1, 1], [2, 3]]


def test_without_a_prior_the_nearest_collapse() -> None:
    """The greedy choice of the worked values is 0, 0, 2: two infrared people become one."""
    found = of(WORKED / 2, way="nearest", opposite=False)
    assert found.pairs.tolist() == [[0, 0], [1, 0], [2, 2]]
    assert found.cross[INFRARED].tolist() == [0, 0, 1]
    assert found.cross[VISIBLE].tolist() == [0, -1, 1, -1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_offset_between_modalities_does_not_mislead_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    who = chance.normal(size=(30, 32))
    visible = who + 0.3 * chance.normal(size=who.shape)
    infrared = who + 0.3 * chance.normal(size=who.shape) + 1.5 * chance.normal(size=32)
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (visible, infrared)]
    found = match(*unit, MatchingSettings())
    assert found.pairs.tolist() == [[i, i] for i in range(30)]


@settings(max_examples=60, deadline=None)
@given(
    visible=st.integers(2, 12),
    infrared=st.integers(2, 12),
    seed=st.integers(0, 999),
    cross=st.sampled_from(["components", "demand"]),
    min_mass=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_laws(visible: int, infrared: int, seed: int, cross: str, min_mass: float) -> None:
    chance = np.random.default_rng(seed)
    rows = [chance.normal(size=(count, 6)) for count in (visible, infrared)]
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in rows]
    wanted = MatchingSettings.model_validate({"cross": cross, "min_mass": min_mass})
    found = match(*unit, wanted)
    held = {kind: set(found.cross[kind].tolist()) - {-1} for kind in Modality}
    # every class has clusters of both modalities, and they count from 0
    assert held[VISIBLE] == held[INFRARED] == set(range(found.classes))
    pairs = {tuple(pair) for pair in found.pairs.tolist()}
    for i, j in enumerate(found.partner[INFRARED].tolist()):
        assert (j == -1) == (i not in {pair[0] for pair in pairs})
        assert j == -1 or (i, j) in pairs
    for j, i in enumerate(found.partner[VISIBLE].tolist()):
        assert (i == -1) == (j not in {pair[1] for pair in pairs})
        assert i == -1 or (i, j) in pairs
    if not min_mass and cross == "components":
        assert (found.cross[VISIBLE] >= 0).all()
        assert (found.cross[INFRARED] >= 0).all()
        assert all(found.cross[INFRARED][i] == found.cross[VISIBLE][j] for i, j in pairs)
    # another order of the clusters is another order of the answer
    order = chance.permutation(visible)
    other = match(unit[0][order], unit[1], wanted)
    assert {(i, int(order[j])) for i, j in other.pairs.tolist()} == pairs


def test_a_least_mass_that_nobody_reaches_matches_nobody() -> None:
    found = of(np.full((3, 6), 0.1), min_mass=1.0)
    assert not len(found.pairs)
    assert found.classes == 0
    assert found.told["matched_visible"] == found.told["matched_infrared"] == found.told["cross_classes"] == 0
    assert (found.partner[VISIBLE] == -1).all()


def test_prototypes_that_point_away_from_each_other_have_a_cost() -> None:
    """A similarity of -1 has no logarithm, and what rounding leaves below it even less."""
    rows = np.eye(3, dtype=np.float32)
    found = match(rows, -np.float32(1.000001) * rows, MatchingSettings())
    assert all(i != j for i, j in found.pairs.tolist())
    assert found.told["matched_visible"] == found.told["matched_infrared"] == 1.0


def test_a_mass_is_a_share_of_a_transport() -> None:
    with pytest.raises(ValueError, match="set way=transport or min_mass=0"):
        MatchingSettings(way="nearest", min_mass=0.1)


def test_a_plan_that_is_not_finished_is_told(caplog: pytest.LogCaptureFixture) -> None:
    of(WORKED / 2, max_iterations=1)
    assert "matching stopped after 1 iterations" in caplog.text
    caplog.clear()
    of(WORKED / 2)
    assert not caplog.text
