"""Where a stock's vectors lie: in memory, or in a file for galleries that are larger than memory. Knows no ids and no search."""

import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from index.disk import disk_errors
from index.growing import Growing
from vireid.arrays import Float32Array, Int64Array


class Room(Protocol):
    """Rows of vectors, (N, D), of which a stock says which are in use."""

    @property
    def rows(self) -> Float32Array:
        """All rows; not to be changed, and not to be held beyond the next change."""
        ...

    @property
    def memory(self) -> Sequence[Float32Array]:
        """What of it will be written to and lies in memory."""
        ...

    def widen(self, held: int, room: int) -> None:
        """Make room for so many rows and keep those held.

        Raises:
            StorageError: the disk has none; all is as it was.
        """
        ...

    def put(self, first: int, vectors: Float32Array) -> Float32Array:
        """Write rows from one on; return them as they are held."""
        ...

    def move(self, holes: Int64Array, movers: Int64Array, left: int, held: int) -> None:
        """Copy rows to where others went; those from ``left`` on are then free."""
        ...


class MemoryRoom:
    """Rows in memory; see ``Room``.

    Args:
        dim: embedding dimension D.
    """

    def __init__(self, dim: int) -> None:
        self._grown = Growing(dim, np.float32)

    @property
    def rows(self) -> Float32Array:
        """All of them."""
        return self._grown.rows

    @property
    def memory(self) -> Sequence[Float32Array]:
        """All of it."""
        return (self.rows,)

    def widen(self, held: int, room: int) -> None:
        """Make room."""
        self._grown.widen(held, room)

    def put(self, first: int, vectors: Float32Array) -> Float32Array:
        """Write rows."""
        there = self.rows[first : first + len(vectors)]
        there[:] = vectors
        return there

    def move(self, holes: Int64Array, movers: Int64Array, left: int, held: int) -> None:  # noqa: ARG002 - nobody reads what is free
        """Copy rows."""
        self.rows[holes] = self.rows[movers]


class FileRoom:
    """Rows in a file without a name, which goes when the process ends; see ``Room``.

    What is read stays in memory as long as the system has a use for no other. The room is taken from the disk at once, and
    rows are written before they are mapped: the disk may refuse them. A disk that fails to read ends the process.

    Args:
        dim: embedding dimension D.
        folder: where it lies; None where the system keeps temporary files.
    """

    def __init__(self, dim: int, folder: Path | None) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._handle: int | None = None
        self.memory: Sequence[Float32Array] = ()
        self.rows: Float32Array = np.empty((0, dim), np.float32)

    def widen(self, held: int, room: int) -> None:  # noqa: ARG002 - what is in the file stays there
        """Make room."""
        dim = self.rows.shape[1]
        with disk_errors(self._folder):
            if self._handle is None:
                with tempfile.TemporaryFile(dir=self._folder) as file:
                    self._handle = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._handle)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._handle, 0, room * dim * 4)
            else:  # not on every system; a full disk then refuses while rows are written
                os.ftruncate(self._handle, room * dim * 4)
            whole = mmap.mmap(self._handle, room * dim * 4)
        whole.madvise(mmap.MADV_RANDOM)  # a search reads some rows here and there
        self.rows = np.frombuffer(whole, np.float32).reshape(room, dim)

    def put(self, first: int, vectors: Float32Array) -> Float32Array:
        """Write rows: into the file, as new pages of a mapped one come one by one."""
        given = np.array(vectors, np.float32)
        left, at = given.reshape(-1).view(np.uint8).data, first * given.shape[1] * 4
        with disk_errors(self._folder):
            while len(left):
                assert self._handle is not None
                done = os.pwrite(self._handle, left, at)
                left, at = left[done:], at + done
        return given

    def move(self, holes: Int64Array, movers: Int64Array, left: int, held: int) -> None:
        """Copy rows, and overwrite those that are free."""
        self.rows[holes] = self.rows[movers]
        self.rows[left:held] = 0
