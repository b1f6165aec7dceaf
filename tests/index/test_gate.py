import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from index.gate import Gate


def make() -> Gate:
    return Gate(lambda: LookupError("closed"))


def run(*targets: object) -> list[threading.Thread]:
    threads = [threading.Thread(target=target) for target in targets]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    return threads


def test_readers_are_inside_together() -> None:
    gate, meet = make(), threading.Barrier(3, timeout=10)

    def read() -> None:
        with gate.reading():
            meet.wait()  # breaks unless all three are inside

    for thread in run(read, read):
        assert thread.is_alive() or not meet.broken
    with gate.reading():
        meet.wait()
    assert not meet.broken


def test_a_writer_is_alone() -> None:
    gate, inside, worst = make(), [0], [0]

    def write() -> None:
        for _ in range(200):
            with gate.writing():
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    def read() -> None:
        for _ in range(200):
            with gate.reading():
                worst[0] = max(worst[0], inside[0] + 1)

    for thread in run(write, write, read, read):
        thread.join(30)
        assert not thread.is_alive()
    assert worst[0] == 1


def test_a_waiting_writer_goes_before_later_readers() -> None:
    gate, order = make(), []
    release, waiting = threading.Event(), threading.Event()

    def first() -> None:
        with gate.reading():
            waiting.set()
            release.wait(10)

    def write() -> None:
        with gate.writing():
            order.append("writer")

    def later() -> None:
        with gate.reading():
            order.append("reader")

    threads = run(first)
    assert waiting.wait(10)
    threads += run(write)
    time.sleep(0.05)
    threads += run(later)
    time.sleep(0.05)
    assert order == []
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["writer", "reader"]


def test_closing_waits_for_who_is_inside_and_refuses_who_comes() -> None:
    gate, entered, release, closed = make(), threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        with gate.reading():
            entered.set()
            release.wait(10)

    def close() -> None:
        gate.close()
        closed.set()

    threads = run(read)
    assert entered.wait(10)
    threads += run(close)
    assert not closed.wait(0.05)
    for enter in (gate.reading, gate.writing):
        if enter == gate.writing:
            release.set()
        with pytest.raises(LookupError), enter():
            pytest.fail("entered a closed gate")
    for thread in threads:
        thread.join(10)
    assert closed.is_set()
    with pytest.raises(LookupError):
        gate.check()


def test_an_error_inside_lets_the_gate_go() -> None:
    gate = make()
    for enter in (gate.reading, gate.writing, gate.reading):
        with pytest.raises(ZeroDivisionError), enter():
            raise ZeroDivisionError
    gate.close()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_readers_who_wait_go_before_the_next_writer() -> None:
    gate, order = make(), []
    entered, release = threading.Event(), threading.Event()

    def first() -> None:
        with gate.writing():
            entered.set()
            release.wait(20)

    def write() -> None:
        with gate.writing():
            order.append("writer")

    def read() -> None:
        with gate.reading():
            order.append("reader")

    threads = run(first)
    assert entered.wait(20)
    threads += run(write)
    until(lambda: gate._writers_waiting == 1)
    threads += run(read, read, read)
    until(lambda: gate._readers_waiting == 3)
    release.set()
    for thread in threads:
        thread.join(20)
    assert order == ["reader", "reader", "reader", "writer"]


def test_writers_one_after_the_other_starve_no_reader() -> None:
    """A reader comes in a hundred times among writers who never rest; the writers end only when it has."""
    gate, done, writes, reads = make(), threading.Event(), [0], [0]

    def write() -> None:
        while not done.is_set():
            with gate.writing():
                writes[0] += 1
                time.sleep(0.0005)

    def read() -> None:
        for _ in range(100):
            with gate.reading():
                reads[0] += 1

    writers = run(write, write, write)
    until(lambda: writes[0] > 0)
    (reader,) = run(read)
    reader.join(30)
    starved = reader.is_alive()
    done.set()
    for thread in (*writers, reader):
        thread.join(30)
        assert not thread.is_alive()
    assert not starved
    assert reads == [100]


def test_readers_one_after_the_other_starve_no_writer() -> None:
    gate, done, writes = make(), threading.Event(), [0]

    def read() -> None:
        while not done.is_set():
            with gate.reading():
                time.sleep(0.0005)

    def write() -> None:
        for _ in range(100):
            with gate.writing():
                writes[0] += 1

    readers = run(read, read, read)
    (writer,) = run(write)
    writer.join(30)
    starved = writer.is_alive()
    done.set()
    for thread in (*readers, writer):
        thread.join(30)
        assert not thread.is_alive()
    assert not starved
    assert writes == [100]


@pytest.mark.parametrize("shut", [True, False])
def test_who_waits_when_it_closes_is_refused_and_nobody_is_left_inside(shut: bool) -> None:
    """``shut`` comes from the writer inside, as after a failed change; ``close`` from another thread."""
    gate, entered, release, refused = make(), threading.Event(), threading.Event(), []

    def first() -> None:
        with gate.writing():
            entered.set()
            release.wait(20)
            if shut:
                gate.shut()

    def enter(way: Callable[[], Any]) -> None:
        try:
            with way():
                pytest.fail("entered a closed gate")
        except LookupError:
            refused.append(way)

    threads = run(first)
    assert entered.wait(20)
    threads += run(*(lambda: enter(gate.reading) for _ in range(3)), lambda: enter(gate.writing))
    until(lambda: (gate._readers_waiting, gate._writers_waiting) == (3, 1))
    if not shut:
        threads += run(gate.close)
        until(lambda: gate._closed)
    release.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(refused) == 4
    assert (gate._readers, gate._readers_waiting, gate._writers_waiting, gate._writing) == (0, 0, 0, False)
