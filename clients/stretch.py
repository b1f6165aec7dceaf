"""A timed stretch of calls: so many callers ask for so many seconds, after a warm-up; every call counts.

Closed loop: a caller asks again as soon as it has its answer. Open loop: calls are due at a fixed rate, however
long the answers take, and are timed from when they were due. Knows no wire and no accuracy.
"""

import itertools
import math
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from clients.replies import Timing
from vireid.errors import ServerUnreachable, VireidError

LOST_AFTER = 5  # calls of one caller that found no server, one after the other
PAUSE_S = 0.1
TICK_S = 1.0
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

# makes the call of a number; what the server says of its time, if it does
Ask = Callable[[int], Timing | None]
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """How a stretch asks.

    Attributes:
        seconds: how long calls are counted.
        warm_up_s: how long calls are made before, uncounted.
        rate: calls a second of all callers together (open loop); None is a closed loop.
    """

    seconds: float = 5.0
    warm_up_s: float = 1.0
    rate: float | None = None

    @property
    def ticks(self) -> int:
        """How often ``Advance`` is told of a second."""
        return math.ceil((self.warm_up_s + self.seconds) / TICK_S)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One counted call.

    Attributes:
        latency_s: from when it began, or in an open loop was due, until its answer or error was there.
        reason: why it failed, empty if it did not.
        timing: what the server says of its time, None where it does not.
    """

    latency_s: float
    reason: str = ""
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a stretch gave.

    Attributes:
        outcomes: of every counted call.
        seconds: from the end of the warm-up to the last answer.
        client_cores: processor seconds this process used in a second of it.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    client_cores: float

    def figures(self) -> dict[str, Any]:
        """Describe it, by names that stay."""
        answered = [outcome for outcome in self.outcomes if not outcome.reason]
        return {
            "seconds": self.seconds,
            "calls": len(self.outcomes),
            "answered": len(answered),
            "errors": dict(Counter(outcome.reason for outcome in self.outcomes if outcome.reason)),
            "per_s": len(answered) / self.seconds,
            "latency_ms": latency_ms(answered),
            "server_ms": server_ms(answered),
            "client_cores": self.client_cores,
        }


def run(callers: Sequence[Ask], load: Load, advance: Advance) -> Stretch:
    """Ask.

    Args:
        callers: one for each caller, each with its own connection; numbers are never given out twice.
        load: how.
        advance: told of each second that passed, ``load.ticks`` times.

    Raises:
        ServerUnreachable: the server is gone; single lost calls are only counted.
    """
    stop = threading.Event()
    tickets = itertools.count()
    counted_from = time.perf_counter() + load.warm_up_s
    until = counted_from + load.seconds
    cpu_s, began = time.process_time(), time.perf_counter()

    def caller(ask: Ask) -> list[Outcome]:
        warm = _Caller(ask)
        while time.perf_counter() < counted_from and not stop.is_set():
            warm.call(next(tickets), time.perf_counter())
        counting = _Caller(ask)
        for due in _due(load, counted_from, until, places):
            if stop.wait(max(0.0, due - time.perf_counter())):
                break
            counting.call(next(tickets), due if load.rate else time.perf_counter())
        return counting.outcomes

    places = itertools.count()
    with ThreadPoolExecutor(len(callers), thread_name_prefix="vireid-bench") as pool:
        running = [pool.submit(caller, ask) for ask in callers]
        try:
            _watch(running, load, advance)
        finally:
            stop.set()
    outcomes = tuple(outcome for done in running for outcome in done.result())
    ended = time.perf_counter()
    return Stretch(outcomes, ended - counted_from, (time.process_time() - cpu_s) / (ended - began))


def latency_ms(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Describe latencies, in milliseconds; empty if there are none."""
    times = [outcome.latency_s * 1e3 for outcome in outcomes]
    if not times:
        return {}
    return {"mean": statistics.fmean(times)} | {name: percentile(times, q) for name, q in QUANTILES.items()}


def server_ms(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Describe where the server says the time went: each stage's mean, in milliseconds; empty if it does not say."""
    timings = [outcome.timing for outcome in outcomes if outcome.timing is not None]
    if not timings:
        return {}
    return {
        "queue": statistics.fmean(t.queue_s for t in timings) * 1e3,
        "decode": statistics.fmean(t.decode_s for t in timings) * 1e3,
        "infer": statistics.fmean(t.infer_s for t in timings) * 1e3,
        "search": statistics.fmean(t.search_s for t in timings) * 1e3,
        "total": statistics.fmean(t.total_s for t in timings) * 1e3,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class _Caller:
    """Makes calls one after the other and keeps what came of them."""

    def __init__(self, ask: Ask) -> None:
        self.outcomes: list[Outcome] = []
        self._ask = ask
        self._lost = 0

    def call(self, number: int, due: float) -> None:
        try:
            timing = self._ask(number)
        except VireidError as error:
            self.outcomes.append(Outcome(time.perf_counter() - due, error.stable_reason))
            self._lost = self._lost + 1 if isinstance(error, ServerUnreachable) else 0
            if self._lost == LOST_AFTER:
                raise
            if self._lost:
                time.sleep(PAUSE_S)
        else:
            self.outcomes.append(Outcome(time.perf_counter() - due, timing=timing))
            self._lost = 0


def _due(load: Load, counted_from: float, until: float, places: "itertools.count[int]") -> Any:
    """Yield when a caller's calls are due: now and now again, or its places in the common schedule."""
    if load.rate is None:
        yield counted_from  # even if the warm-up's last call took all the time there is
        while time.perf_counter() < until:
            yield counted_from
        return
    while (due := counted_from + next(places) / load.rate) < until:
        yield due


def _watch(running: Sequence[Any], load: Load, advance: Advance) -> None:
    """Tell of the seconds; return when all callers are done or one has failed."""
    told, waiting = 0, True
    while waiting:
        done, unfinished = wait(running, TICK_S, FIRST_EXCEPTION)
        waiting = bool(unfinished) and not any(each.exception() for each in done)
        if waiting and told < load.ticks:
            told += 1
            advance(1)
    advance(load.ticks - told)
