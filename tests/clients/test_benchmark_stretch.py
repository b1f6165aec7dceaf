"""Timed stretches with callers that need no server."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import stretch
from clients.replies import Timing
from clients.stretch import Load, Outcome
from vireid.errors import Overloaded, ServerUnreachable

SHORT = Load(seconds=0.3, warm_up_s=0.1)


def test_counts_only_what_comes_after_the_warm_up() -> None:
    began, made = time.perf_counter(), []

    def ask(number: int) -> None:
        made.append((number, time.perf_counter() - began))
        time.sleep(0.01)

    told = []
    done = stretch.run([ask, ask], SHORT, told.append)
    numbers = [number for number, _ in made]
    assert sorted(numbers) == list(range(len(numbers)))
    counted = sum(at >= SHORT.warm_up_s for _, at in made)
    assert abs(len(done.outcomes) - counted) <= 2
    assert 0.3 <= done.seconds < 1.0
    assert sum(told) == SHORT.ticks == 1
    figures = done.figures()
    assert figures["calls"] == figures["answered"] == len(done.outcomes)
    assert figures["per_s"] == pytest.approx(len(done.outcomes) / done.seconds)
    assert 10 <= figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["latency_ms"]["max"]
    assert figures["server_ms"] == {}


def test_a_call_that_takes_longer_than_the_stretch_is_counted_once() -> None:
    done = stretch.run([lambda _: time.sleep(0.3)], Load(seconds=0.1, warm_up_s=0.05), lambda _: None)
    assert len(done.outcomes) == 1
    assert done.seconds > 0.5


def test_an_open_loop_keeps_its_pace_and_times_from_when_a_call_was_due() -> None:
    load = Load(seconds=0.5, warm_up_s=0, rate=40)
    done = stretch.run([lambda _: None] * 4, load, lambda _: None)
    assert len(done.outcomes) == 20
    assert done.seconds >= 19 / 40
    late = stretch.run([lambda _: time.sleep(0.05)], load, lambda _: None)  # 20 a second at most
    assert len(late.outcomes) == 20
    assert late.figures()["latency_ms"]["max"] > 400


def test_errors_are_counted_by_reason_and_are_no_latency() -> None:
    def ask(number: int) -> Timing:
        time.sleep(0.002)
        if number % 2:
            raise Overloaded("the queue is full", retry_after_s=1.0)
        return Timing(total_s=0.5, infer_s=0.25)

    figures = stretch.run([ask], SHORT, lambda _: None).figures()
    assert figures["errors"].keys() == {"QUEUE_FULL"}
    assert figures["errors"]["QUEUE_FULL"] + figures["answered"] == figures["calls"]
    assert figures["server_ms"]["total"] == pytest.approx(500)
    assert figures["server_ms"]["infer"] == pytest.approx(250)
    nothing = stretch.Stretch((Outcome(9.0, "QUEUE_FULL"),), 1.0, 0.1).figures()
    assert (nothing["latency_ms"], nothing["server_ms"], nothing["per_s"]) == ({}, {}, 0.0)


def test_one_lost_call_is_counted_and_a_lost_server_ends_it() -> None:
    def now_and_then(number: int) -> None:
        time.sleep(0.001)
        if number % 10 == 9:
            raise ServerUnreachable("a broken connection")

    assert stretch.run([now_and_then], SHORT, lambda _: None).figures()["errors"].keys() == {
        "SERVER_UNREACHABLE"
    }

    def gone(_: int) -> None:
        raise ServerUnreachable("nobody is there")

    began = time.perf_counter()
    with pytest.raises(ServerUnreachable, match="nobody"):
        stretch.run([gone, lambda _: time.sleep(0.01)], Load(seconds=60), lambda _: None)
    assert time.perf_counter() - began < 5


def test_a_fault_of_our_own_ends_it() -> None:
    def ask(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stretch.run([ask], Load(seconds=60), lambda _: None)


def test_an_interruption_ends_every_caller() -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    calls = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        stretch.run([lambda _: time.sleep(0.01)] * 3, Load(seconds=60, warm_up_s=0), interrupted)
    assert threading.active_count() == calls


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_percentile_agrees_with_numpy(values: list[float], share: float) -> None:
    expected = np.percentile(values, share * 100, method="inverted_cdf")
    assert stretch.percentile(values, share) == pytest.approx(float(expected))
