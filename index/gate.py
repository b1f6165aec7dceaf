"""A gate that many readers or one writer may pass. Knows nothing of what it guards."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Gate:
    """Many readers or one writer, in turns, so that neither waits for ever.

    A writer who waits goes before readers who come later; readers who wait when a writer leaves, all go before the next
    writer. So a reader waits for one writer at most, and a writer for the readers of one turn. A thread that is inside
    must not enter again.

    Args:
        refusal: makes the error for whoever comes after ``close``.
    """

    def __init__(self, refusal: Callable[[], Exception]) -> None:
        self._refusal = refusal
        self._changed = threading.Condition(threading.RLock())
        self._readers = 0
        self._readers_waiting = 0
        self._writers_waiting = 0
        self._writing = False
        self._turn = 0  # grows when a writer leaves
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Enter as one of many readers."""
        with self._changed:
            if self._writing or self._writers_waiting:
                self._queue()
            else:
                self._readers += 1
            if self._closed:
                self._leave()
                raise self._refusal()
        try:
            yield
        finally:
            with self._changed:
                self._leave()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Enter alone."""
        with self._changed:
            self._writers_waiting += 1
            try:
                self._changed.wait_for(lambda: not (self._writing or self._readers))
                self._refuse_if_closed()
            finally:
                self._writers_waiting -= 1
                self._changed.notify_all()
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                # who waits is inside from now on, before any writer looks
                self._readers += self._readers_waiting
                self._readers_waiting = 0
                self._turn += 1
                self._changed.notify_all()

    def _queue(self) -> None:
        """Wait as a reader; be inside afterwards, however it ends."""
        turn = self._turn
        self._readers_waiting += 1
        try:
            self._changed.wait_for(
                lambda: self._turn != turn or not (self._writing or self._writers_waiting) or self._closed
            )
        except BaseException:
            self._enter_if_left_out(turn)
            self._leave()
            raise
        self._enter_if_left_out(turn)

    def _enter_if_left_out(self, turn: int) -> None:
        if self._turn == turn:  # no writer has taken us in
            self._readers_waiting -= 1
            self._readers += 1

    def _leave(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more and wait until all have left."""
        with self._changed:
            self.shut()
            self._changed.wait_for(lambda: not (self._writing or self._readers))

    def shut(self) -> None:
        """Let nobody in any more; may be called from inside."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raise the refusal if the gate is closed."""
        with self._changed:
            self._refuse_if_closed()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise self._refusal()
