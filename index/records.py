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

from index import parcels, schema
from index.disk import REMEDY, called, disk_errors, sqlite_errors, sync
from index.head import Head
from index.pictures import Pictures, cells_of, pictured
from index.rows import Enrolment, Row, microseconds, tabled
from index.seal import SUFFIX, Seal
from index.stored import Stored
from index.table import Table
from index.writeback import WriteBack
from vireid.arrays import Float32Array
from vireid.errors import DataLoss, StorageError, VireidError

__all__ = ["Enrolment", "Records"]

log = logging.getLogger(__name__)

UNPACKED_AT_ONCE = 100


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
        self._written: Head | None = None
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
                self._write_back = WriteBack(path)
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
            return self._stored().count()

    def close(self) -> None:
        """Close the file; the log is written back."""
        with self._writing:
            self._write_back.close()
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
        with self._writing, sqlite_errors(self._path):
            for table, vectors, part in self._stored().chunks(after):
                count += len(table)
                total ^= part
                yield table, vectors
            if (count, total) != (self._head.items, self._head.total):  # before who waits changes the head
                raise self._short(count)

    def each(self) -> Iterator[tuple[Row | None, str]]:
        """Read every item in the order of ids: the item, or what is wrong; at the end, whether they are all there.

        Raises:
            DataLoss: the file cannot be read on.
        """
        count, total = 0, 0
        with self._writing, sqlite_errors(self._path):
            for row, why, part in self._stored().each():
                count += row is not None
                total ^= part
                yield row, why
            if (count, total) != (self._head.items, self._head.total):
                yield None, self._short(count).message

    def vector(self, key: int, item_id: str) -> Float32Array | None:
        """Read an item's embedding as it came, (D,), beside whoever writes; None if the item is gone.

        Raises:
            DataLoss: it is not as it was written.
        """
        return self.pictures.vector(key, item_id, self._head.dim)

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
        with self.changing() as (_, held):
            assert (head.items, head.total, head.dim) == (held.items, held.total, held.dim)
            self.write_head(head)

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
            self._write_back.close()
            self.pictures.close()
            self._writer.close()
            try:
                part.replace(self._path)
                sync(self._path.parent)
            finally:
                self._writer = schema.connect(self._path)
                self.pictures.reopen()

    def put(self, batch: Sequence[Enrolment], vectors: Float32Array, replaced: Sequence[int]) -> Table:
        """Insert items and delete those that they replace in one transaction, durable on return.

        Args:
            batch: items with distinct ids, at least one.
            vectors: of each, (N, D).
            replaced: our ids of the items whose place they take.

        Returns:
            The new items, in the order of the batch; their ids rise.
        """
        now = microseconds(datetime.now(UTC))
        with self.changing() as (db, head):
            stored = self._stored()
            total = stored.delete(replaced)
            table = tabled(batch, head.next_key, now)
            packed = (
                len(batch) >= parcels.AT_MOST
                and not any(map(pictured, batch))
                and schema.second_space(db) is None
            )
            total ^= stored.put(table, vectors, packed)
            if not packed:
                db.executemany(schema.INSERT_PICTURES, map(cells_of, table.keys.tolist(), batch))
            after = replace(
                head,
                version=head.version + 1,
                next_key=head.next_key + len(batch),
                items=head.items + len(batch) - len(replaced),
                total=head.total ^ total,
            )
            self.write_head(after)
        if replaced:
            self.sweep()
        return table

    def remove(self, keys: Sequence[int]) -> None:
        """Remove items by our ids in one transaction, durable on return; nothing of them stays in the file."""
        with self.changing() as (_, head):
            total = head.total ^ self._stored().delete(keys)
            after = replace(head, version=head.version + 1, items=head.items - len(keys), total=total)
            self.write_head(after)
        self.sweep()

    def unpack(self) -> None:
        """Give every item a row of its own, some at a time; each time is durable, and changes nothing that is held."""
        while True:
            with self.changing() as (_, head):
                total = self._stored().unpack(UNPACKED_AT_ONCE)
                if total is None:
                    return
                after = replace(head, version=head.version + 1, total=head.total ^ total)
                self.write_head(after)

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
        with self._write_back.still():
            return bool(self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0])

    def _let_go(self) -> None:
        """See that the file is whole without its log."""
        if self._empty_log():
            raise StorageError(
                f"{called(self._path)} is held by another program; end it, then try again",
                reason="GALLERY_BUSY",
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

    @contextmanager
    def changing(self) -> Iterator[tuple[sqlite3.Connection, Head]]:
        """Change something in one transaction, durable on return; a new head goes by ``write_head``."""
        with self._writing, sqlite_errors(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer, self._head
                self._writer.execute("COMMIT")
            except BaseException:
                self._written = None
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            written, self._written = self._written, None
            if written is not None:  # before anybody else begins with the head
                self._head = written
                self._seal.write(self._head.version, self._head.total)
            self._write_back.consider()

    def write_head(self, head: Head) -> None:
        """Put a head in the place of the one before, within ``changing``; it counts once that is done."""
        schema.write_head(self._writer, head)
        self._written = head

    def _stored(self) -> Stored:
        return Stored(self._writer, self._head.dim, self.damaged)

    def _short(self, count: int) -> DataLoss:
        return self.damaged(f"{count} items were found, {self._head.items} were written")

    def damaged(self, what: str) -> DataLoss:
        """Make the error that says what of the file is damaged."""
        return DataLoss(f"{self._path}: {what}; {REMEDY}")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
