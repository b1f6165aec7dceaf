"""Progress of long work: a bar with an ETA on a terminal, plain lines elsewhere.

Writes to standard error only. Knows no work.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0
# before so much of the steps or so long, an estimate would be of what is compiled and opened first
BEGUN = 0.02
BEGUN_S = 30.0

Advance = Callable[[int], None]


@contextmanager
def bar(what: str, total: int | None = None, stream: TextIO | None = None) -> Iterator[Advance]:
    """Show the progress of a piece of work.

    Args:
        what: a verb, for example ``drawing``.
        total: how many steps there are, None if unknown.
        stream: where to write; standard error if None.

    Yields:
        A function that takes how many steps were just done; several threads may call it.
    """
    out = stream or sys.stderr
    if out.isatty():
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(file=out),
            transient=False,
        ) as shown:
            task = shown.add_task(what, total=total)
            yield lambda steps: shown.update(task, advance=steps)
        return
    lines = _Lines(what, total, out)
    yield lines.advance
    lines.finish()


class _Lines:
    """At most one line every few seconds, and one at the end."""

    def __init__(self, what: str, total: int | None, out: TextIO) -> None:
        self._what = what
        self._total = total
        self._out = out
        self._done = 0
        self._said = -1
        self._lock = threading.Lock()
        self._started = self._told = time.monotonic()

    def advance(self, steps: int) -> None:
        with self._lock:
            self._done += steps
            now = time.monotonic()
            if now - self._told >= LINE_EVERY_S:
                self._told = now
                self._write(now)

    def finish(self) -> None:
        if self._done != self._said:
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        self._said = self._done
        elapsed = max(now - self._started, 1e-9)
        rate = self._done / elapsed
        of = "" if self._total is None else f"/{self._total}"
        left = ""
        total = self._total or 0
        if 0 < self._done < total and (self._done >= BEGUN * total or elapsed >= BEGUN_S):
            left = f", {(total - self._done) / rate:.0f} s left"
        self._out.write(f"{self._what}: {self._done}{of} in {elapsed:.1f} s ({rate:.1f}/s{left})\n")
        self._out.flush()
