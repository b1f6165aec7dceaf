"""What the disk does, in our words: names, folders held and made durable, refusals of the system and of SQLite.

Knows no gallery.
"""

import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vireid.errors import DataLoss, StorageError

log = logging.getLogger(__name__)

FILE = "gallery.sqlite"
GALLERIES = "galleries"  # the folder of galleries within a data folder
LOCK = "lock"  # the file beside it that whoever has the galleries open holds
# what to do about a damaged file
REMEDY = "restore a snapshot, or save what is left with 'vireid index salvage'"
# begins the names of what a kill may leave half made
MAKING = ".making-"
# SQLite's words for what the disk or the system did; everything else it reports means a damaged file
FULL = "SQLITE_FULL"
REFUSED = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_NOMEM")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hold(path: Path) -> IO[str]:
    """Take the lock of a data folder; the system lets it go when the process ends, however it ends.

    Raises:
        StorageError: another process holds it.
    """
    held = path.open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.seek(0)
        holder = held.read(20).strip()
        held.close()
        raise StorageError(
            f"{path.parent} is in use by another vireid process{f' ({holder})' if holder else ''}; stop it, or "
            "choose another data folder",
            reason="DATA_FOLDER_IN_USE",
        ) from None
    held.truncate(0)
    held.write(f"{os.getpid()}\n")
    held.flush()
    return held


def called(path: Path) -> str:
    """Name a file as whoever asks for a gallery knows it; where it lies is the log's."""
    _, found, inside = str(path).rpartition(f"/{GALLERIES}/")
    if found:
        return f"gallery {inside.partition('/')[0]!r}"
    return "the folder of galleries" if path.name == GALLERIES else str(path)


@contextmanager
def disk_errors(path: Path, told: str = "") -> Iterator[None]:
    """Turn the system's errors into ours.

    Args:
        path: what is used.
        told: what it is called; the name of its gallery if empty.
    """
    try:
        yield
    except OSError as error:
        log.warning("%s: %s", path, error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            f"{told or called(path)} cannot be used: {error.strerror or error}; "
            f"{'free space' if full else 'see to it'}, then try again",
            reason="DISK_FULL" if full else "DATA_FOLDER_UNUSABLE",
        ) from error


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except (
        sqlite3.Error,
        OverflowError,
        UnicodeDecodeError,
    ) as error:  # the last: damaged words in SQLite's message
        word = getattr(error, "sqlite_errorname", "") or ""
        if not word.startswith((FULL, *REFUSED, *BUSY)):
            raise DataLoss(f"{path}: {error}; {REMEDY}") from error
        log.warning("%s: %s (%s)", path, error, word)
        if word == FULL:
            raise StorageError(
                f"{called(path)}: the disk is full; nothing was stored: free space, then try again"
            ) from error
        if word.startswith(REFUSED):
            raise StorageError(
                f"{called(path)}: the disk refuses ({error}); nothing was stored: see to it, then try again",
                reason="DISK_REFUSES",
            ) from error
        raise StorageError(
            f"{called(path)} is held by another program; end it, then try again", reason="GALLERY_BUSY"
        ) from error
