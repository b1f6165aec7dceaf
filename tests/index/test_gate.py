import threading
import time

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
