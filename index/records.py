"""The durable truth of one gallery: items, vectors, images and thumbnails in one SQLite file.

Write-ahead log with full sync: what a transaction returned from survives a kill. Every row carries a checksum
over all of it, and the head row knows how many rows there are and what their checksums come to, so damage is
named and never answered with. Deleted content is overwritten (``secure_delete``), in the log too. Knows no
vector search and no embedding model beyond the space it is bound to.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from index import schema
from index.disk import REMEDY, disk_errors, sqlite_errors, sync
from index.head import Head
from index.pictures import INSERT, Pictures, cells_of
from index.rows import Cell, Enrolment, Row, decode, encode, microseconds, row_checksum
from index.schema import INSERT_ITEM, ITEM, VECTOR
from index.seal import SUFFIX, Seal
from index.table import Table
from vireid.arrays import Float32Array
from vireid.errors import DataLoss, StorageError, VireidError

__all__ = ["Enrolment", "Records"]

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 4096


class Records:
    """One gallery's file: a connection that writes and one that reads pictures meanwhile.

    Args:
        path: a file made by ``create``, used by this process only.

    Attributes:
        pictures: reads images and thumbnails.

    Raises:
        DataLoss: the file is damaged or no gallery of ours.
        StorageError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.RLock()
        with sqlite_errors(path), disk_errors(path):
            for left in path.parent.glob(_part(path).name + "*"):  # by a compaction that was cut short
                left.unlink()
            if not path.is_file():
                raise DataLoss(f"{path} is missing; restore a snapshot of the gallery, or delete it")
            self._writer = schema.connect(path)
            try:
                self._head = self._read_head()
                self.pictures = Pictures(path, self.damaged)
                self._seal = Seal(path)
            except BaseException:
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
        with self._writing:
            self.pictures.close()
            self._writer.close()
            self._seal.close()

    def chunks(self, after: int = 0, known: tuple[int, int] = (0, 0)) -> Iterator[tuple[Table, Float32Array]]:
        """Read items and their vectors, (N, D), in the order of ids, some thousand at a time.

        Args:
            after: only items with ids above this.
            known: how many items there are up to that id, and their sum.

        Raises:
            DataLoss: a row is not as it was written, or rows are missing or too many; nothing may be
                answered from what came before.
        """
        count, total = known
        width = 4 * self._head.dim
        with self._writing, sqlite_errors(self._path):
            for found in self._cells(after):
                for cells in found:
                    if row_checksum(cells[:-1]) != cells[-1] or len(cells[VECTOR]) != width:
                        raise self._spoilt(cells)
                    total ^= int.from_bytes(cells[-1], "big")
                count += len(found)
                rows = np.frombuffer(b"".join(cells[VECTOR] for cells in found), "<f4")
                yield Table.of(found), rows.reshape(len(found), self._head.dim)
        if (count, total) != (self._head.items, self._head.total):
            raise self._short(count)

    def each(self) -> Iterator[tuple[Row | None, str]]:
        """Read every item in the order of ids: the item, or what is wrong; at the end, whether they are all there.

        Raises:
            DataLoss: the file cannot be read on.
        """
        count, total = 0, 0
        with self._writing, sqlite_errors(self._path):
            for found in self._cells():
                for cells in found:
                    decoded = decode(cells, self._head.dim)
                    if decoded is None:
                        yield None, self._spoilt(cells).message
                    else:
                        count += 1
                        total ^= int.from_bytes(cells[-1], "big")
                        yield decoded[0], ""
        if (count, total) != (self._head.items, self._head.total):
            yield None, self._short(count).message

    def vector(self, key: int, item_id: str) -> Float32Array | None:
        """Read an item's embedding as it came, (D,), beside whoever writes; None if the item is gone.

        Raises:
            DataLoss: it is not as it was written.
        """
        cells = self.pictures.row(key)
        decoded = None if cells is None else decode(cells, self._head.dim)
        if cells is not None and decoded is None:
            raise self.damaged(f"item {item_id!r} does not match its checksum")
        return None if decoded is None else decoded[1]

    def structure(self) -> list[str]:
        """Say what is wrong with the tables and indexes themselves, as SQLite finds it."""
        with self._writing, sqlite_errors(self._path):
            found = self._writer.execute("PRAGMA integrity_check").fetchall()
        return [f"{self._path}: {word[0].decode(errors='replace')}" for word in found if word[0] != b"ok"]

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let nothing change meanwhile."""
        with self._writing:
            yield

    def amend(self, head: Head) -> None:
        """Put another head over the same items, durable on return."""
        with self.changing() as (db, held):
            assert (head.items, head.total, head.dim) == (held.items, held.total, held.dim)
            schema.write_head(db, head)
        self.follow(head)

    def copy_to(self, path: Path) -> None:
        """Copy the file as it is after the last change, durable and proven on return; changes wait meanwhile.

        Raises:
            StorageError: the disk refuses.
            DataLoss: the file is damaged, and so is the copy.
        """
        with self._writing, sqlite_errors(path):
            copy = sqlite3.connect(path, isolation_level=None)
            try:
                self._writer.backup(copy)
            finally:
                copy.close()
            with disk_errors(path):
                sync(path)
            self._check_copy(path)

    def compact(self) -> None:
        """Write the file anew without the room that removed items left; changes and pictures wait meanwhile.

        Raises:
            StorageError: the disk refuses, or another program reads; the file is as it was.
            DataLoss: what was written is not what was held; the file is as it was.
        """
        part = _part(self._path)
        with self._writing, self.pictures.still(), disk_errors(self._path), sqlite_errors(self._path):
            try:
                self._writer.execute("VACUUM INTO ?", (str(part),))
                sync(part)
                self._check_copy(part)
                self._let_go()
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            self.pictures.close()
            self._writer.close()
            try:
                part.replace(self._path)
                sync(self._path.parent)
            finally:
                self._writer = schema.connect(self._path)
                self.pictures.reopen()

    def put(self, batch: Sequence[Enrolment], replaced: Sequence[int]) -> Table:
        """Insert items and delete those that they replace in one transaction, durable on return.

        Args:
            batch: items with distinct ids, at least one.
            replaced: our ids of the items whose place they take.

        Returns:
            The new items, in the order of the batch; their ids rise.
        """
        now = microseconds(datetime.now(UTC))
        with self.changing() as (db, head):
            dropped, total = self._delete(db, replaced)
            cells: list[tuple[Any, ...]] = [
                encode(key, new, now) for key, new in enumerate(batch, start=head.next_key)
            ]
            for row in cells:
                total ^= int.from_bytes(row[-1], "big")
            db.executemany(INSERT_ITEM, cells)
            db.executemany(INSERT, [cells_of(row[0], new) for row, new in zip(cells, batch, strict=True)])
            after = replace(
                head,
                version=head.version + 1,
                next_key=head.next_key + len(batch),
                items=head.items + len(batch) - dropped,
                total=head.total ^ total,
            )
            schema.write_head(db, after)
        self.follow(after)
        if replaced:
            self.sweep()
        return Table.of(cells)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove items by our ids in one transaction, durable on return; nothing of them stays in the file."""
        with self.changing() as (db, head):
            dropped, total = self._delete(db, keys)
            after = replace(
                head, version=head.version + 1, items=head.items - dropped, total=head.total ^ total
            )
            schema.write_head(db, after)
        self.follow(after)
        self.sweep()

    def _delete(self, db: sqlite3.Connection, keys: Sequence[int]) -> tuple[int, int]:
        """Delete rows; return how many went and what their checksums come to."""
        total = 0
        for key in keys:
            gone = db.execute(f"DELETE FROM items WHERE key = ? RETURNING {ITEM}", (key,)).fetchall()  # noqa: S608
            if len(gone) != 1:
                raise self.damaged(f"item number {key} has vanished")
            if decode(gone[0], self._head.dim) is None:  # its sum would spoil the sum over all
                raise self._spoilt(gone[0])
            total ^= int.from_bytes(gone[0][-1], "big")
            db.execute("DELETE FROM pictures WHERE key = ?", (key,))
            db.execute("DELETE FROM second_vectors WHERE key = ?", (key,))
        return len(keys), total

    def _check_copy(self, path: Path) -> None:
        """See that a copy of the file holds all that it must; what it lacks is told of the file itself."""
        try:
            copy = Records(path)
            try:
                if copy.head != self._head:
                    raise copy.damaged(f"the copy says {copy.head}, not {self._head}")
                for _ in copy.chunks():
                    pass
            finally:
                copy.close()
        except DataLoss as error:
            raise DataLoss(error.message.replace(str(path), str(self._path))) from error
        finally:
            path.with_name(path.name + SUFFIX).unlink(missing_ok=True)

    def _empty_log(self) -> bool:
        """Write the log back and empty it; return whether another program was in the way."""
        return bool(self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0])

    def _let_go(self) -> None:
        """See that the file is whole without its log."""
        if self._empty_log():
            raise StorageError(
                f"{self._path} is held by another program; end it, then try again", reason="GALLERY_BUSY"
            )

    def sweep(self) -> None:
        """Empty the log: it still holds what was deleted."""
        try:
            with self._writing, self.pictures.still(), sqlite_errors(self._path):
                busy = self._empty_log()
        except VireidError as error:
            # the change itself is durable and must not be reported as failed
            busy, why = True, error.message
        else:
            why = "another program reads the file"
        if busy:
            log.warning(
                "%s: the log keeps deleted content until the next removal or the end: %s", self._path, why
            )

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
                f"change {told[0]} was acknowledged, {here[0]} is the last one found; {REMEDY}, or delete "
                f"{self._seal.path} to go on with what is left",
                reason="CHANGES_LOST",
            )
        if told != here:
            self._seal.write(*here)

    def follow(self, head: Head) -> None:
        """Acknowledge the head that a change has written."""
        self._head = head
        self._seal.write(head.version, head.total)

    @contextmanager
    def changing(self) -> Iterator[tuple[sqlite3.Connection, Head]]:
        """Change something in one transaction, durable on return; ``follow`` must hear of a head that was written."""
        with self._writing, sqlite_errors(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer, self._head
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _cells(self, after: int = 0) -> Iterator[list[tuple[Any, ...]]]:
        query = f"SELECT {ITEM} FROM items WHERE key > ? ORDER BY key"  # noqa: S608 - constants
        cursor = self._writer.execute(query, (after,))
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            yield found

    def _spoilt(self, cells: Sequence[Cell]) -> DataLoss:
        return self.damaged(f"item {_named(cells)} does not match its checksum")

    def _short(self, count: int) -> DataLoss:
        return self.damaged(f"{count} items were found, {self._head.items} were written")

    def damaged(self, what: str) -> DataLoss:
        """Make the error that says what of the file is damaged."""
        return DataLoss(f"{self._path}: {what}; {REMEDY}")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _named(cells: Sequence[Cell]) -> str:
    item_id = cells[1]
    return repr(item_id.decode(errors="replace")) if isinstance(item_id, bytes) else f"number {cells[0]!r}"
