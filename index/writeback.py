"""Write a gallery's log back into its file beside whoever writes on, so that no change has to wait for it. Knows no item."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.disk import sqlite_errors
from vireid.errors import VireidError

log = logging.getLogger(__name__)

NAME = "write-back"
BEGUN_AT_BYTES = 2**23
# a log that is written to all the time is never written back to its end, and begins at its start again only then
WAITED_FOR_AT_BYTES = 2**27


class WriteBack:
    """Writes one gallery's log back.

    Args:
        path: the gallery's file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._log = path, path.with_name(f"{path.name}-wal")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._db: sqlite3.Connection | None = None

    def consider(self) -> None:
        """Begin to write back where there is enough, and wait for it where there is too much; nobody may write meanwhile."""
        try:
            size = self._log.stat().st_size
        except OSError:  # none is there yet
            size = 0
        if size >= WAITED_FOR_AT_BYTES:
            self._work()
        elif size >= BEGUN_AT_BYTES and (self._thread is None or not self._thread.is_alive()):
            thread = threading.Thread(target=self._work, name=NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no thread to give; the change is durable, and must not fail
                self._work()
            else:
                self._thread = thread

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let nothing be written back meanwhile."""
        with self._lock:
            yield

    def close(self) -> None:
        """Wait for what was begun, and let the file go; it may be written back again afterwards."""
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _work(self) -> None:
        try:
            with self._lock, sqlite_errors(self._path):
                if self._db is None:
                    self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
                    self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except VireidError as error:  # what is in the log is durable there
            log.warning("%s: the log cannot be written back, and grows: %s", self._path, error.message)
