"""Threads for a service's blocking work: those that read galleries and those that change them, apart.

A change waits for the disk; where searches shared its threads they would wait for the disk too. Knows no gallery.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

THREADS = 8  # of each kind

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Two pools of threads."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(THREADS, "reading")
        self._writers = ThreadPoolExecutor(THREADS, "writing")

    async def reading(self, work: Callable[P, T], *asked: P.args, **named: P.kwargs) -> T:
        """Do work that changes no gallery."""
        return await _within(self._readers, partial(work, *asked, **named))

    async def writing(self, work: Callable[P, T], *asked: P.args, **named: P.kwargs) -> T:
        """Do work that waits for the disk to change something."""
        return await _within(self._writers, partial(work, *asked, **named))

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        self._readers.shutdown()
        self._writers.shutdown()


async def _within(threads: Executor, work: Callable[[], T]) -> T:
    """A log line of the work still tells whose request it was."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(work))
