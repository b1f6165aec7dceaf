"""Admission: a permit at once, or a refusal at once with the time to come back. Knows no work.

Two lanes: searching people go before bulk enrolment, which may hold only half of the permits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from server.metrics import Metrics
from vireid.errors import Overloaded, Unavailable

SMOOTHING = 0.1
FIRST_GUESS_S = 0.02
LONGEST_WAIT_S = 30.0


class Lane(StrEnum):
    """Who asks."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class Admission:
    """Counts who is inside; used on one event loop.

    Args:
        limit: permits in all.
        workers: how many requests are worked on at a time.
        metrics: told what waits and what was refused.
    """

    def __init__(self, limit: int, workers: int, metrics: Metrics) -> None:
        self._limits = {Lane.INTERACTIVE: limit, Lane.BULK: max(1, limit // 2)}
        self._inside = dict.fromkeys(Lane, 0)
        self._workers = workers
        self._metrics = metrics
        self._gauges = {lane: metrics.queue_items.labels(lane.value) for lane in Lane}
        self._each_s = FIRST_GUESS_S
        self._draining = False

    @contextmanager
    def admit(self, lane: Lane) -> Iterator[None]:
        """Hold a permit.

        Raises:
            Overloaded: all permits of the lane are taken.
            Unavailable: the server drains.
        """
        self.check_open()
        inside = sum(self._inside.values()) if lane is Lane.INTERACTIVE else self._inside[lane]
        if inside >= self._limits[lane]:
            self._metrics.rejected.labels("QUEUE_FULL").inc()
            wait = min(LONGEST_WAIT_S, max(0.05, inside * self._each_s / self._workers))
            raise Overloaded(
                f"{inside} requests wait or run, {self._limits[lane]} may; try again in {wait:.2f} s",
                retry_after_s=wait,
                metadata={"limit": str(self._limits[lane])},
            )
        self._count(lane, 1)
        try:
            yield
        finally:
            self._count(lane, -1)

    def check_open(self) -> None:
        """Refuse while the server drains.

        Raises:
            Unavailable: it does.
        """
        if self._draining:
            raise Unavailable("the server is shutting down; ask another one", retry_after_s=1.0)

    def took(self, seconds: float) -> None:
        """Learn how long one image occupies a worker."""
        self._each_s += SMOOTHING * (seconds - self._each_s)

    def drain(self) -> None:
        """Refuse everybody from now on."""
        self._draining = True

    def _count(self, lane: Lane, step: int) -> None:
        self._inside[lane] += step
        self._gauges[lane].set(self._inside[lane])
