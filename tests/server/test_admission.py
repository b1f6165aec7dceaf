"""A permit at once, or a refusal at once."""

from contextlib import ExitStack

import pytest

from server.admission import Admission, Lane
from server.metrics import Metrics
from vireid.errors import Overloaded, Unavailable


def permits(admission: Admission, lane: Lane, count: int) -> ExitStack:
    held = ExitStack()
    for _ in range(count):
        held.enter_context(admission.admit(lane))
    return held


def test_as_many_as_the_limit() -> None:
    admission = Admission(4, 2, Metrics())
    with permits(admission, Lane.INTERACTIVE, 4):
        with pytest.raises(Overloaded) as caught, admission.admit(Lane.INTERACTIVE):
            pass
        assert caught.value.stable_reason == "QUEUE_FULL"
        assert caught.value.metadata == {"limit": "4"}
    with permits(admission, Lane.INTERACTIVE, 4):
        pass


def test_bulk_holds_half_at_most_and_never_keeps_people_out() -> None:
    admission = Admission(4, 2, Metrics())
    with permits(admission, Lane.BULK, 2):
        with pytest.raises(Overloaded), admission.admit(Lane.BULK):
            pass
        with (
            permits(admission, Lane.INTERACTIVE, 2),
            pytest.raises(Overloaded),
            admission.admit(Lane.INTERACTIVE),
        ):
            pass


def test_people_do_not_use_up_what_bulk_may_hold() -> None:
    admission = Admission(4, 2, Metrics())
    with permits(admission, Lane.INTERACTIVE, 4), permits(admission, Lane.BULK, 2):
        pass


def test_a_permit_comes_back_after_a_failure() -> None:
    admission = Admission(1, 1, Metrics())
    with pytest.raises(ZeroDivisionError), admission.admit(Lane.INTERACTIVE):
        raise ZeroDivisionError
    with admission.admit(Lane.INTERACTIVE):
        pass


def refused_for(admission: Admission) -> float:
    with pytest.raises(Overloaded) as caught, admission.admit(Lane.INTERACTIVE):
        pass
    return caught.value.retry_after_s


def test_the_time_to_come_back_is_what_those_inside_will_take() -> None:
    admission = Admission(10, 2, Metrics())
    for _ in range(200):
        admission.took(0.4)
    with permits(admission, Lane.INTERACTIVE, 10):
        assert refused_for(admission) == pytest.approx(10 * 0.4 / 2, rel=0.01)
        for _ in range(200):
            admission.took(0.04)
        assert refused_for(admission) == pytest.approx(10 * 0.04 / 2, rel=0.01)
        for _ in range(200):
            admission.took(1e6)
        assert refused_for(admission) == 30.0


def test_draining() -> None:
    admission = Admission(10, 2, Metrics())
    with admission.admit(Lane.INTERACTIVE):
        admission.drain()
        with pytest.raises(Unavailable) as caught, admission.admit(Lane.INTERACTIVE):
            pass
    assert caught.value.stable_reason == "DRAINING"


def test_what_waits_and_what_was_refused_is_counted() -> None:
    metrics = Metrics()
    admission = Admission(1, 1, metrics)
    value = metrics.registry.get_sample_value
    with admission.admit(Lane.INTERACTIVE):
        assert value("vireid_queue_items", {"lane": "interactive"}) == 1
        refused_for(admission)
    assert value("vireid_queue_items", {"lane": "interactive"}) == 0
    assert value("vireid_queue_rejected_total", {"reason": "QUEUE_FULL"}) == 1
