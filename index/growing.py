"""Rows in memory that grow where they lie, in large pages: neither copies nor zeros then cost time. Knows not what they mean."""

import contextlib
import mmap
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

# from here on the system is asked for memory directly, in large pages; it gives them when they are written to
LARGE_BYTES = 2**22
PAGE_BYTES = 2**21

Number = TypeVar("Number", bound=np.generic)


class Growing(Generic[Number]):
    """Rows of numbers, (N, W).

    Views of them should not outlive what they were taken for: where one does, rows that grow go elsewhere by a copy.

    Args:
        width: numbers of a row, W.
        kind: of the numbers.

    Attributes:
        rows: all there is room for.
    """

    def __init__(self, width: int, kind: type[Number]) -> None:
        self._map: mmap.mmap | None = None
        self.rows: NDArray[Number] = np.empty((0, width), kind)

    def widen(self, held: int, room: int) -> None:
        """Make room for so many rows in all and keep the first of them.

        Raises:
            MemoryError: there is no such room; all is as it was.
        """
        if room <= len(self.rows):
            return
        width = self.rows.shape[1]
        size = room * width * self.rows.itemsize
        if size < LARGE_BYTES:
            wider = np.empty((room, width), self.rows.dtype)
            wider[:held] = self.rows[:held]
            self.rows = wider
        elif not self._stretched(size):
            before, self._map = self.rows[:held], _mapped(size)
            self._show()
            self.rows[:held] = before

    def _stretched(self, size: int) -> bool:
        """Let the memory grow where it lies, or wherever the system puts it; return whether it could."""
        if self._map is None:
            return False
        self.rows = self.rows[:0].copy()  # it grows only where nobody looks
        try:
            self._map.resize(_whole(size))
        except (BufferError, SystemError, OSError):  # somebody looks, no such system, no room where it lies
            return False
        finally:
            self._show()
        return True

    def _show(self) -> None:
        assert self._map is not None
        width, kind = self.rows.shape[1], self.rows.dtype
        whole = np.frombuffer(self._map, kind)
        self.rows = whole[: len(whole) // width * width].reshape(-1, width)


def _whole(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def _mapped(size: int) -> mmap.mmap:
    try:
        found = mmap.mmap(-1, _whole(size), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"there is no room for {size} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without large pages
            found.madvise(mmap.MADV_HUGEPAGE)
    return found
