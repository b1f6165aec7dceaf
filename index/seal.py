"""The last change that was acknowledged, told beside the gallery's file: a log that lost its end then shows.

SQLite takes a log that is cut or flipped for one that ends there, and would open as it was some calls ago. The
seal says how far it went. It is written after each change and needs no flush of its own: it may fall behind the
file at a power cut, and is then made good; a file behind its seal has lost something. Knows no SQL.
"""

import logging
import os
import struct
from hashlib import blake2b
from pathlib import Path

log = logging.getLogger(__name__)

SUFFIX = "-seal"
MAGIC = b"vireid01"
BODY = struct.Struct("<8sq16s")
SUM_BYTES = 16
BYTES = BODY.size + SUM_BYTES


class Seal:
    """The seal of one gallery.

    Args:
        path: the gallery's file; the seal lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + SUFFIX)
        self._handle: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self) -> tuple[int, int] | None:
        """Return the version and the sum of all items that were acknowledged last; None if it says nothing."""
        assert self._handle is not None
        found = os.pread(self._handle, BYTES + 1, 0)
        if not found:
            return None
        body = found[: BODY.size]
        if len(found) != BYTES or _sum(body) != found[BODY.size :]:
            log.warning("%s is damaged and is written anew; the gallery itself is whole", self.path)
            return None
        _, version, total = BODY.unpack(body)
        return version, int.from_bytes(total, "big")

    def write(self, version: int, total: int) -> None:
        """Tell what is acknowledged from now on; what it could not tell is logged, for the change itself is durable."""
        assert self._handle is not None
        body = BODY.pack(MAGIC, version, total.to_bytes(16, "big"))
        try:
            os.pwrite(self._handle, body + _sum(body), 0)
            os.ftruncate(self._handle, BYTES)
        except OSError as error:
            log.warning("%s cannot be written: %s", self.path, error)

    def close(self) -> None:
        """Let the file go; again is no harm."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _sum(body: bytes) -> bytes:
    return blake2b(body, digest_size=SUM_BYTES).digest()
