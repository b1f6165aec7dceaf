"""The progress of a run on the screen: epoch x of y, loss, images a second, and the time left of the whole run.

A bar on a terminal, plain lines elsewhere; to standard error. Knows no loop.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_EVERY_S = 5.0

Tell = Callable[[float, int], None]


class Display:
    """Shows epochs as they are trained.

    Args:
        epochs: of the whole run.
        span: epochs finished before this process began, and when it ends.
        stream: where to write; standard error if None.
        silent: show nothing, for processes beside the first.
    """

    def __init__(
        self, epochs: int, span: tuple[int, int], stream: TextIO | None = None, *, silent: bool = False
    ) -> None:
        self._epochs, self._finished, self._last = epochs, *span
        self._out = stream or sys.stderr
        self._silent = silent
        self._began = time.monotonic()

    @contextmanager
    def epoch(self, number: int, batches: int) -> Iterator[Tell]:
        """Show an epoch.

        Args:
            number: from 0.
            batches: of it.

        Yields:
            A function that takes the loss and the images of each batch as it is done.
        """
        shown = _Epoch(f"epoch {number + 1}/{self._epochs}", batches)
        done_before = number - self._finished

        def left() -> float:
            done = done_before + shown.done / batches
            spent = time.monotonic() - self._began
            return spent / done * (self._last - self._finished - done)

        bar = self._bar() if self._out.isatty() and not self._silent else None
        told = time.monotonic()
        with bar or nullcontext():
            task = None if bar is None else bar.add_task(shown.name, total=batches, numbers="")

            def tell(loss: float, images: int) -> None:
                nonlocal told
                shown.add(loss, images)
                if bar is not None and task is not None:
                    bar.update(task, advance=1, numbers=shown.numbers(left()))
                elif shown.done < batches and time.monotonic() - told >= LINE_EVERY_S:
                    told = time.monotonic()
                    self._line(shown, left())

            yield tell
        if bar is None:
            self._line(shown, left())

    def say(self, number: int, words: str) -> None:
        """Write a line of an epoch's own.

        Args:
            number: of the epoch, from 0.
            words: what there is to say.
        """
        if not self._silent:
            self._out.write(f"epoch {number + 1}/{self._epochs}: {words}\n")
            self._out.flush()

    def _bar(self) -> Progress:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        return Progress(*columns, console=Console(file=self._out))

    def _line(self, shown: "_Epoch", left: float) -> None:
        if not self._silent:
            self._out.write(f"{shown.name}: {shown.done}/{shown.batches}, {shown.numbers(left)}\n")
            self._out.flush()


class _Epoch:
    """What was seen of an epoch so far."""

    def __init__(self, name: str, batches: int) -> None:
        self.name, self.batches = name, batches
        self.done = self._images = 0
        self._loss = 0.0
        self._began = time.monotonic()

    def add(self, loss: float, images: int) -> None:
        self.done += 1
        self._images += images
        self._loss += loss

    def numbers(self, left: float) -> str:
        rate = self._images / max(time.monotonic() - self._began, 1e-9)
        return f"loss {self._loss / max(1, self.done):.4g}, {rate:.1f} images/s, {clock(left)} left"


def clock(seconds: float) -> str:
    """Write a length of time: 41 s, 3 min 20 s, 2 h 05 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"
