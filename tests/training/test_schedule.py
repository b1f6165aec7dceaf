"""The learning rate over a run, worked by hand."""

import math

import pytest
from pydantic import ValidationError

from training import schedule
from training.settings import ScheduleSettings


def test_linear_growth_then_a_half_cosine() -> None:
    wanted = ScheduleSettings(warmup_epochs=4)
    found = [schedule.share(at, wanted, 12) for at in (0, 2, 4, 8, 12)]
    assert found == pytest.approx([0.1, 0.55, 1.0, 0.5, 0.0])
    assert schedule.share(6, wanted, 12) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_steps() -> None:
    wanted = ScheduleSettings(name="step", warmup_epochs=10, at=(20, 50), factor=0.1)
    found = [schedule.share(at, wanted, 60) for at in (0, 5, 10, 19.99, 20, 49.9, 50, 59)]
    assert found == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_no_growth_and_a_single_epoch() -> None:
    assert schedule.share(0, ScheduleSettings(warmup_epochs=0), 1) == 1
    assert schedule.share(0.5, ScheduleSettings(warmup_epochs=5), 1) == pytest.approx(0.19)


@pytest.mark.parametrize("values", [{"name": "step"}, {"name": "cosine", "at": (3,)}])
def test_steps_and_their_epochs_go_together(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="names the epochs of a step schedule"):
        ScheduleSettings.model_validate(values)


def test_a_stepped_rate_is_constant_within_an_epoch() -> None:
    wanted = ScheduleSettings(warmup_epochs=4, stepped=True)
    assert [schedule.share(at, wanted, 12) for at in (0, 0.99, 1, 3, 3.9)] == [0.25, 0.25, 0.5, 1, 1]
    assert schedule.share(8.7, wanted, 12) == schedule.share(8, wanted, 12) == pytest.approx(0.5)
