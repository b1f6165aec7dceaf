"""What the disk does, in our words: names, folders held and made durable, refusals of the system and of SQLite.

Knows no gallery.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vireid.errors import DataLoss, StorageError

FILE = "gallery.sqlite"
# what to do about a damaged file
REMEDY = "restore a snapshot, or save what is left with 'vireid index salvage'"
# begins the names of what a kill may leave half made
MAKING = ".making-"
# SQLite's words for what the disk or the system did; everything else it reports means a damaged file
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


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            f"{path} cannot be used: {error}; {'free space' if full else 'see to it'}, then try again",
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
        if word == "SQLITE_FULL":
            raise StorageError(
                f"{path}: the disk is full; nothing was stored: free space, then try again"
            ) from error
        if word.startswith(REFUSED):
            raise StorageError(
                f"{path}: the disk refuses ({error}); nothing was stored: see to it, then try again",
                reason="DISK_REFUSES",
            ) from error
        if word.startswith(BUSY):
            raise StorageError(
                f"{path} is held by another program; end it, then try again", reason="GALLERY_BUSY"
            ) from error
        raise DataLoss(f"{path}: {error}; {REMEDY}") from error
