"""The pictures in a gallery's file: read on a connection of their own, checked whenever they are read.

An item's embedding can be read on it, too. Writes nothing but the cells of a new row.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from index import schema
from index.disk import sqlite_errors
from index.rows import Enrolment, checksum
from index.stored import Stored, parcel_of
from vireid.arrays import Float32Array
from vireid.errors import DataLoss, ImageNotStored
from vireid.types import Item


class Pictures:
    """Reads images and thumbnails of one gallery, one at a time.

    Args:
        path: the gallery's file.
        damaged: makes the error that says what of it is damaged.
    """

    def __init__(self, path: Path, damaged: Callable[[str], DataLoss]) -> None:
        self._path, self._damaged = path, damaged
        self._lock = threading.RLock()
        self._db = schema.connect(path)

    def image(self, key: int, item: Item) -> bytes | None:
        """Read an item's encoded image; None if the item is gone.

        Raises:
            ImageNotStored: it was not kept.
            DataLoss: it does not match its sha256.
        """
        if not item.has_image:
            raise ImageNotStored(f"item {item.item_id!r} was enrolled without keeping its image")
        with self._reading():
            found = self._cells(key, "image, image_sha256")
        if found is None:
            return None
        image, converted = found
        expected = converted or item.sha256.encode()  # its own only where it is not the file's
        if not isinstance(image, bytes) or hashlib.sha256(image).hexdigest().encode() != expected:
            raise self._damaged(f"the image of item {item.item_id!r} does not match its sha256")
        return image

    def thumbnail(self, key: int, item: Item) -> bytes | None:
        """Read an item's thumbnail; None if the item is gone.

        Raises:
            ImageNotStored: there is none.
            DataLoss: it does not match its checksum.
        """
        with self._reading():
            found = self._cells(key, "thumbnail, thumbnail_checksum")
            packed = found is None and parcel_of(self._db, key, "first, count") is not None
        if found is None and not packed:
            return None
        found = found or (None, None)
        thumbnail, expected = found
        if thumbnail is None and expected is None:
            raise ImageNotStored(f"item {item.item_id!r} was enrolled without a thumbnail")
        if thumbnail is None or expected != checksum((key, thumbnail)):
            raise self._damaged(f"the thumbnail of item {item.item_id!r} does not match its checksum")
        return thumbnail

    def vector(self, key: int, item_id: str, dim: int) -> Float32Array | None:
        """Read an item's embedding as it came, (dim,); None if the item is gone.

        Raises:
            DataLoss: it is not as it was written.
        """
        with self._reading():
            return Stored(self._db, dim, self._damaged).vector(key, item_id)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let nobody read meanwhile."""
        with self._lock:
            yield

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def reopen(self) -> None:
        """Read from the file that has taken the place of the one before."""
        with self._lock:
            self._db = schema.connect(self._path)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """See the file as it is at one moment: an item that a writer takes out of a parcel is in it, or in a row."""
        with self._lock, sqlite_errors(self._path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:  # a disk that refuses ends it
                    self._db.execute("ROLLBACK")

    def _cells(self, key: int, columns: str) -> tuple[bytes | None, ...] | None:
        query = f"SELECT {columns} FROM pictures WHERE key = ?"  # noqa: S608 - constants
        found = self._db.execute(query, (key,)).fetchall()
        return tuple(found[0]) if found else None


def cells_of(key: int, new: Enrolment) -> tuple[int, bytes | None, bytes | None, bytes | None, str | None]:
    """Return what ``INSERT_PICTURES`` takes."""
    own = hashlib.sha256(new.image).hexdigest() if new.image is not None and new.converted else None
    return key, new.thumbnail, new.thumbnail and checksum((key, new.thumbnail)), new.image, own


def pictured(new: Enrolment) -> bool:
    """Say whether an item comes with pictures."""
    return new.image is not None or new.thumbnail is not None
