"""Dynamic batching over worker threads, each with an engine session of its own.

What waits is split evenly over the idle workers, up to the largest batch; nothing waits for company. Decoding happens on
the worker too: one hop from the event loop and back. Callers who left or whose deadline passed are dropped before any work.
Knows no galleries and no transport.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from server.admission import Lane
from vireid.arrays import Float32Array, UInt8Array
from vireid.engines.base import Engine
from vireid.errors import DeadlineExceeded, EngineError, Unavailable
from vireid.types import Modality

BULK_PART = 4  # bulk comes in batches so much smaller: who searches meanwhile waits for one of them at most


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image ready for the engine.

    Attributes:
        image: (H, W, 3), of the engine's input size.
        modality: what the model is told.
        confidence: in the modality.
        detected: what the picture looks like, with its confidence.
        thumbnail: a small JPEG, if it was asked for.
    """

    image: UInt8Array
    modality: Modality
    confidence: float
    detected: tuple[Modality, float]
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """An embedded image and the seconds it took."""

    vector: Float32Array
    prepared: Prepared
    queue_s: float
    decode_s: float
    infer_s: float
    batch_size: int


@dataclass(slots=True, eq=False)
class _Ticket:
    prepare: Callable[[], Prepared]
    deadline: float
    answer: asyncio.Future[Completed]
    loop: asyncio.AbstractEventLoop
    entered: float = field(default_factory=time.monotonic)
    queue_s: float = 0.0
    decode_s: float = 0.0
    prepared: Prepared | None = None


class Batcher:
    """Embeds what is submitted.

    Args:
        engines: one for each worker thread.
        max_batch: images one worker takes at once.
    """

    def __init__(self, engines: Sequence[Engine], max_batch: int) -> None:
        self._max_batch = max_batch
        self._waiting: dict[Lane, deque[_Ticket]] = {lane: deque() for lane in Lane}
        self._changed = threading.Condition()
        self._idle = 0
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, args=(engine,), name=f"embed-{number}", daemon=True)
            for number, engine in enumerate(engines)
        ]
        for thread in self._threads:
            thread.start()

    async def submit(self, prepare: Callable[[], Prepared], lane: Lane, timeout_s: float) -> Completed:
        """Prepare and embed one image.

        Args:
            prepare: decodes and resizes; runs on a worker thread.
            lane: interactive before bulk.
            timeout_s: seconds until the caller gives up.

        Raises:
            DeadlineExceeded: the time passed first.
            Unavailable: the workers were ended.
            VireidError: what ``prepare`` or the engine raised.
        """
        loop = asyncio.get_running_loop()
        ticket = _Ticket(prepare, time.monotonic() + timeout_s, loop.create_future(), loop)
        with self._changed:
            if self._closing:
                raise _ended()
            self._waiting[lane].append(ticket)
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout_s):
                return await ticket.answer
        except TimeoutError:
            raise _too_late(ticket) from None
        finally:
            if (
                ticket.answer.cancelled()
            ):  # the caller left: neither wait for a worker nor hold the image till then
                with self._changed, suppress(ValueError):
                    self._waiting[lane].remove(ticket)

    def allow(self, max_batch: int) -> None:
        """Let a worker take so many images at once from now on."""
        with self._changed:
            self._max_batch = max_batch

    def close(self) -> None:
        """End the workers after what they are at; what still waits is refused."""
        with self._changed:
            self._closing = True
            refused = [ticket for queue in self._waiting.values() for ticket in queue]
            for queue in self._waiting.values():
                queue.clear()
            self._changed.notify_all()
        _answer((ticket, _ended()) for ticket in refused)
        for thread in self._threads:
            thread.join()

    def _work(self, engine: Engine) -> None:
        while (tickets := self._take()) is not None:
            prepared = [ticket for ticket in tickets if self._prepare(ticket)]
            # while the others were decoded, somebody may have left
            ready = [ticket for ticket in prepared if _is_wanted(ticket)]
            if ready:
                self._embed(engine, ready)

    def _take(self) -> list[_Ticket] | None:
        with self._changed:
            self._idle += 1
            while not self._closing and not any(self._waiting.values()):
                self._changed.wait()
            if self._closing:
                return None
            # people first, and never in one batch with bulk, which would make them wait for it
            lane, largest = (
                (Lane.INTERACTIVE, self._max_batch)
                if self._waiting[Lane.INTERACTIVE]
                else (Lane.BULK, max(1, self._max_batch // BULK_PART))
            )
            waiting = self._waiting[lane]
            taken = [waiting.popleft() for _ in range(share(len(waiting), self._idle, largest))]
            self._idle -= 1
            if any(self._waiting.values()):
                self._changed.notify()
            return taken

    def _prepare(self, ticket: _Ticket) -> bool:
        if not _is_wanted(ticket):
            return False
        now = time.monotonic()
        ticket.queue_s = now - ticket.entered
        try:
            ticket.prepared = ticket.prepare()
        except Exception as error:  # noqa: BLE001 - a worker must live on; the caller gets the fault
            _answer([(ticket, error)])
            return False
        ticket.decode_s = time.monotonic() - now
        return True

    def _embed(self, engine: Engine, tickets: Sequence[_Ticket]) -> None:
        began = time.monotonic()
        prepared = [ticket.prepared for ticket in tickets if ticket.prepared is not None]
        try:
            vectors = engine.embed(
                np.stack([one.image for one in prepared]),
                np.array([int(one.modality) for one in prepared], np.int64),
            )
            if len(vectors) != len(tickets):
                raise EngineError(  # noqa: TRY301 - told like any other fault of the engine
                    f"the engine gave {len(vectors)} rows for {len(tickets)} images"
                )
        except Exception as error:  # noqa: BLE001 - a worker must live on; the callers get the fault
            _answer((ticket, error) for ticket in tickets)
            return
        infer_s = time.monotonic() - began
        _answer(
            (ticket, Completed(vector, one, ticket.queue_s, ticket.decode_s, infer_s, len(tickets)))
            for ticket, one, vector in zip(tickets, prepared, vectors, strict=True)
        )


def share(waiting: int, idle: int, largest: int) -> int:
    """Say how many images one of the idle workers takes: an even part, so that no other stays idle."""
    return min(largest, math.ceil(waiting / idle))


def _is_wanted(ticket: _Ticket) -> bool:
    if ticket.answer.cancelled():
        return False
    if time.monotonic() >= ticket.deadline:
        _answer([(ticket, _too_late(ticket))])
        return False
    return True


def _answer(outcomes: Iterable[tuple[_Ticket, Completed | Exception]]) -> None:
    """Hand outcomes over, waking each event loop once for all of its own."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Ticket, Completed | Exception]]] = {}
    for ticket, outcome in outcomes:
        by_loop.setdefault(ticket.loop, []).append((ticket, outcome))
    for loop, own in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed: nobody is left to hear it
            loop.call_soon_threadsafe(_deliver, own)


def _deliver(outcomes: Iterable[tuple[_Ticket, Completed | Exception]]) -> None:
    for ticket, outcome in outcomes:
        if ticket.answer.done():
            continue
        if isinstance(outcome, Exception):
            ticket.answer.set_exception(outcome)
        else:
            ticket.answer.set_result(outcome)


def _ended() -> Unavailable:
    return Unavailable("the server is shutting down; ask another one", retry_after_s=1.0)


def _too_late(ticket: _Ticket) -> DeadlineExceeded:
    waited = time.monotonic() - ticket.entered
    started = ticket.queue_s > 0
    return DeadlineExceeded(
        f"the deadline passed after {waited:.2f} s {'at work' if started else 'in the queue'}; "
        "allow more time, or try when the server is less busy",
        reason="DEADLINE_EXCEEDED" if started else "DEADLINE_IN_QUEUE",
        metadata={"stage": "infer" if started else "queue"},
    )
