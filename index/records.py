"""The durable truth of one gallery: items, vectors, images and thumbnails in one SQLite file.

Write-ahead log with full sync: what a transaction returned from survives a kill. Every row carries a checksum
over all of it, and the head row knows how many rows there are and what their checksums come to, so damage is
named and never answered with. Deleted content is overwritten (``secure_delete``), in the log too. Knows no
vector search and no embedding model beyond the space it is bound to.
"""

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from index import schema
from index.disk import disk_errors, sqlite_errors
from index.head import Head
from index.rows import Cell, Enrolment, Row, checksum, decode, encode
from index.schema import ITEM
from index.seal import Seal
from vireid.arrays import Float32Array
from vireid.errors import DataLoss, ImageNotStored, VireidError
from vireid.types import Item

__all__ = ["Enrolment", "Records"]

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 4096


class Records:
    """One gallery's file: a connection that writes and one that reads pictures meanwhile.

    Args:
        path: a file made by ``create``, used by this process only.

    Raises:
        DataLoss: the file is damaged or no gallery of ours.
        StorageError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing, self._reading = threading.RLock(), threading.RLock()
        if not path.is_file():
            raise DataLoss(f"{path} is missing; restore a copy of the gallery, or delete it")
        with sqlite_errors(path), disk_errors(path):
            self._writer = schema.connect(path)
            try:
                self._head = self._read_head()
                self._reader = schema.connect(path)
                self._seal = Seal(path)
            except (sqlite3.Error, OSError, VireidError):
                self._writer.close()
                raise
        try:
            self._check_seal()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path, head: Head) -> None:
        """Make a file that holds no item, durable on return."""
        schema.create(path, head)

    @property
    def head(self) -> Head:
        """What the gallery is, as of the last transaction."""
        return self._head

    def count(self) -> tuple[int, int]:
        """Count the items, and those of them that keep an image."""
        with self._writing, sqlite_errors(self._path):
            found = self._writer.execute("SELECT count(*), total(has_image) FROM items").fetchall()[0]
        return int(found[0]), int(found[1])

    def close(self) -> None:
        """Close the file; the log is written back."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()
            self._seal.close()

    def chunks(self) -> Iterator[tuple[list[Row], Float32Array]]:
        """Read every item and its vector in the order of ids, some thousand at a time.

        Raises:
            DataLoss: a row is not as it was written, or rows are missing or too many; nothing may be
                answered from what came before.
        """
        dim, count, total = self._head.dim, 0, 0
        with self._writing, sqlite_errors(self._path):
            cursor = self._writer.execute(f"SELECT {ITEM} FROM items ORDER BY key")  # noqa: S608 - constants
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                rows, vectors = [], np.empty((len(found), dim), np.float32)
                for at, cells in enumerate(found):
                    decoded = decode(cells, dim)
                    if decoded is None:
                        raise self.damaged(f"item {_named(cells)} does not match its checksum")
                    rows.append(decoded[0])
                    vectors[at] = decoded[1]
                    total ^= int.from_bytes(cells[-1], "big")
                count += len(rows)
                yield rows, vectors
        if (count, total) != (self._head.items, self._head.total):
            raise self.damaged(f"{count} items were found, {self._head.items} were written")

    def image(self, key: int, item: Item) -> bytes | None:
        """Read an item's encoded image; None if the item is gone.

        Raises:
            ImageNotStored: it was not kept.
            DataLoss: it does not match its sha256.
        """
        if not item.has_image:
            raise ImageNotStored(f"item {item.item_id!r} was enrolled without keeping its image")
        found = self._picture(key, "image, image_sha256")
        if found is None:
            return None
        image, converted = found
        expected = converted or item.sha256.encode()  # its own only where it is not the file's
        if image is None or hashlib.sha256(image).hexdigest().encode() != expected:
            raise self.damaged(f"the image of item {item.item_id!r} does not match its sha256")
        return image

    def thumbnail(self, key: int, item: Item) -> bytes | None:
        """Read an item's thumbnail; None if the item is gone.

        Raises:
            ImageNotStored: there is none.
            DataLoss: it does not match its checksum.
        """
        found = self._picture(key, "thumbnail, thumbnail_checksum")
        if found is None:
            return None
        thumbnail, expected = found
        if thumbnail is None and expected is None:
            raise ImageNotStored(f"item {item.item_id!r} was enrolled without a thumbnail")
        if thumbnail is None or expected != checksum((key, thumbnail)):
            raise self.damaged(f"the thumbnail of item {item.item_id!r} does not match its checksum")
        return thumbnail

    def put(self, batch: Sequence[Enrolment], replaced: Sequence[int]) -> list[Row]:
        """Insert items and delete those that they replace in one transaction, durable on return.

        Args:
            batch: items with distinct ids.
            replaced: our ids of the items whose place they take.

        Returns:
            The new rows, in the order of the batch; their ids rise.
        """
        now = datetime.now(UTC)
        rows = []
        with self._transaction() as (db, head):
            dropped, total = self._delete(db, replaced)
            cells = []
            for key, new in enumerate(batch, start=head.next_key):
                expires = new.expires_at or (
                    now + timedelta(seconds=head.retention_s) if head.retention_s else None
                )
                item = Item(
                    new.item_id, new.modality, new.meta, new.sha256, new.image is not None, now, expires
                )
                rows.append(Row(key, item))
                cells.append(encode(rows[-1], new.vector))
                total ^= int.from_bytes(_blob(cells[-1][-1]), "big")
            db.executemany(
                f"INSERT INTO items ({ITEM}) VALUES ({', '.join('?' * schema.ITEM_CELLS)})",  # noqa: S608 - constants
                [
                    [_text(cell) if at in schema.ITEM_TEXTS else cell for at, cell in enumerate(row)]
                    for row in cells
                ],
            )
            db.executemany(
                "INSERT INTO pictures (key, thumbnail, thumbnail_checksum, image, image_sha256) VALUES (?, ?, ?, ?, ?)",
                [_pictures(row.key, new) for row, new in zip(rows, batch, strict=True)],
            )
            after = replace(
                head,
                version=head.version + 1,
                next_key=head.next_key + len(batch),
                items=head.items + len(batch) - dropped,
                total=head.total ^ total,
            )
            schema.write_head(db, after)
        self._follow(after)
        if replaced:
            self._sweep()
        return rows

    def remove(self, keys: Sequence[int]) -> None:
        """Remove items by our ids in one transaction, durable on return; nothing of them stays in the file."""
        with self._transaction() as (db, head):
            dropped, total = self._delete(db, keys)
            after = replace(
                head, version=head.version + 1, items=head.items - dropped, total=head.total ^ total
            )
            schema.write_head(db, after)
        self._follow(after)
        self._sweep()

    def _delete(self, db: sqlite3.Connection, keys: Sequence[int]) -> tuple[int, int]:
        """Delete rows; return how many went and what their checksums come to."""
        total = 0
        for key in keys:
            gone = db.execute(f"DELETE FROM items WHERE key = ? RETURNING {ITEM}", (key,)).fetchall()  # noqa: S608
            if len(gone) != 1:
                raise self.damaged(f"item number {key} has vanished")
            if decode(gone[0], self._head.dim) is None:  # its sum would spoil the sum over all
                raise self.damaged(f"item {_named(gone[0])} does not match its checksum")
            total ^= int.from_bytes(gone[0][-1], "big")
            db.execute("DELETE FROM pictures WHERE key = ?", (key,))
        return len(keys), total

    def _sweep(self) -> None:
        """Write the log back and empty it: it still holds what was deleted."""
        try:
            with self._writing, self._reading, sqlite_errors(self._path):
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
        except VireidError as error:
            # the change itself is durable and must not be reported as failed
            busy, why = 1, error.message
        else:
            why = "another program reads the file"
        if busy:
            log.warning(
                "%s: the log keeps deleted content until the next removal or the end: %s", self._path, why
            )

    def _picture(self, key: int, columns: str) -> tuple[bytes | None, ...] | None:
        with self._reading, sqlite_errors(self._path):
            query = f"SELECT {columns} FROM pictures WHERE key = ?"  # noqa: S608 - constants
            found = self._reader.execute(query, (key,)).fetchall()
        return tuple(found[0]) if found else None

    def _read_head(self) -> Head:
        application = self._writer.execute("PRAGMA application_id").fetchall()[0][0]
        if application != schema.APPLICATION:
            raise self.damaged("this is no vireid gallery")
        found = self._writer.execute("PRAGMA user_version").fetchall()[0][0]
        if found in schema.STEPS:
            schema.bring_on(self._writer, found)
        elif found != schema.FORMAT:
            raise DataLoss(
                f"{self._path}: gallery format {found} found, {schema.FORMAT} is supported; use the vireid that "
                "made it",
                reason="GALLERY_FORMAT",
            )
        rows = self._writer.execute(f"SELECT {schema.HEAD} FROM head").fetchall()  # noqa: S608 - constants
        head = Head.of(rows[0]) if len(rows) == 1 else None
        if head is None:
            raise self.damaged("the gallery's head does not match its checksum")
        return head

    def _check_seal(self) -> None:
        told = self._seal.read()
        here = (self._head.version, self._head.total)
        if told is not None and (told[0] > here[0] or (told[0] == here[0] and told[1] != here[1])):
            raise DataLoss(
                f"{self._path}-wal, the log, is cut or damaged, or another file was put in the place of {self._path}: "
                f"change {told[0]} was acknowledged, {here[0]} is the last one found; restore a copy of the gallery, "
                f"or delete {self._seal.path} to go on with what is left",
                reason="CHANGES_LOST",
            )
        if told != here:
            self._seal.write(*here)

    def _follow(self, head: Head) -> None:
        self._head = head
        self._seal.write(head.version, head.total)

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sqlite3.Connection, Head]]:
        with self._writing, sqlite_errors(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer, self._head
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def damaged(self, what: str) -> DataLoss:
        """Make the error that says what of the file is damaged."""
        return DataLoss(f"{self._path}: {what}; restore a copy of the gallery, or delete and build it again")


def _pictures(key: int, new: Enrolment) -> tuple[int, bytes | None, bytes | None, bytes | None, str | None]:
    own = hashlib.sha256(new.image).hexdigest() if new.image is not None and new.converted else None
    return key, new.thumbnail, new.thumbnail and checksum((key, new.thumbnail)), new.image, own


def _text(cell: Cell) -> str:
    return _blob(cell).decode()


def _blob(cell: Cell) -> bytes:
    assert isinstance(cell, bytes)
    return cell


def _named(cells: Sequence[Cell]) -> str:
    item_id = cells[1]
    return repr(item_id.decode(errors="replace")) if isinstance(item_id, bytes) else f"number {cells[0]!r}"
