"""Files that are there whole or not at all, whatever happens while they are written. Knows nothing of what is in them."""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part"
YOUNG_S = 60.0


def write(path: Path, data: bytes) -> None:
    """Write a file under another name, make it durable, and only then give it its name.

    Raises:
        OSError: the disk is full or refuses; nothing is left, and what had the name before stays.
    """
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        try:
            # held while we write, given up even by kill -9: who sweeps sees by it that the writer is gone
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
            Path(part).replace(path)
        finally:
            os.close(handle)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    _settle(path.parent)


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):  # another sweep was faster, or the writer lives
            if time.time() - part.stat().st_mtime < YOUNG_S:
                continue  # its writer may not have locked it yet
            handle = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink(missing_ok=True)
            finally:
                os.close(handle)


@contextmanager
def alone(place: Path, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a file or a folder against others who would; given up even by kill -9.

    Args:
        place: it is there.
        waits: called before somebody else is waited for.
    """
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """Make a new name durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
