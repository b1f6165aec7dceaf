"""The centres of a gallery in its file: put on those before, taken off again, each under a checksum.

The stored vectors stay as they came; what is searched is made of them and of the centres at every start, so going
back is exact. Each row carries the checksum of the centres that it was put on, and the head that of the last: what
is flipped, lost or put back from yesterday shows. Knows no search.
"""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from index import schema
from index.centres import Centres
from index.head import Head
from index.records import Records
from index.rows import Cell, checksum, microseconds, moment
from vireid.errors import DataLoss, FailedPrecondition, InvalidRequest
from vireid.types import Centring

COLUMNS = "number, space_id, made_at, strength, visible, infrared, rows, before, checksum"
NONE = b""


class KeptCentres:
    """The centres of a gallery's space, in use and before.

    Args:
        records: of the gallery.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def current(self) -> Centres | None:
        """Return the centres in use; None where vectors are searched as they came.

        Raises:
            DataLoss: they are not as they were written.
        """
        with self._records.changing() as (db, head):
            return self._read(db, head, head.centres)[0]

    def beneath(self) -> Centres | None:
        """Return what was in use before the last centring.

        Raises:
            FailedPrecondition: the gallery is not centred.
            DataLoss: they are not as they were written.
        """
        with self._records.changing() as (db, head):
            _, before = self._read(db, head, _centred(head))
            return self._read(db, head, before)[0]

    def check(self) -> None:
        """See that all centres are as they were written, those of the second space too.

        Raises:
            DataLoss: they are not.
        """
        with self._records.changing() as (db, head):
            self._check_all(db, head, head.centres)
            self._check_second(db, head)

    def drop_damaged_second(self) -> None:
        """Drop the centres of the second space where they are damaged, durable on return: its vectors are whole without."""
        with self._records.changing() as (db, head):
            try:
                self._check_second(db, head)
            except DataLoss:
                db.execute("DELETE FROM centres WHERE space_id <> ?", (head.space_id,))
                db.execute("UPDATE second_space SET centres = x''")

    def numbered(self, centres: Centres) -> Centres:
        """Give centres the number that they will have once they are put.

        Raises:
            InvalidRequest: they are not of this gallery's dimension, or not finite.
        """
        head = self._records.head
        if centres.rows.shape != (len(centres.told.counts), head.dim) or not np.isfinite(centres.rows).all():
            raise InvalidRequest(
                f"found centres {centres.rows.shape}; expected two finite rows of {head.dim} numbers, learnt from the "
                f"vectors of gallery {head.name!r}",
                field="centres",
            )
        told = replace(centres.told, version=head.version + 1, since=datetime.now(UTC))
        return replace(centres, told=told)

    def put(self, centres: Centres) -> None:
        """Use numbered centres from now on, durable on return; those before are kept.

        Raises:
            StorageError: the disk refuses; nothing changed.
        """
        told = centres.told
        with self._records.changing() as (db, head):
            assert told.since is not None
            assert told.version == head.version + 1
            body: tuple[Cell, ...] = (
                told.version,
                head.space_id.encode(),
                microseconds(told.since),
                repr(told.strength).encode(),
                told.visible,
                told.infrared,
                centres.rows.astype("<f4", copy=False).tobytes(),
                head.centres,
            )
            summed = checksum(body)
            db.execute(
                f"INSERT INTO centres ({COLUMNS}) "  # noqa: S608 - constants
                "VALUES (?, CAST(? AS TEXT), ?, CAST(? AS TEXT), ?, ?, ?, ?, ?)",
                (*body, summed),
            )
            after = replace(head, version=told.version, centres=summed)
            self._records.write_head(after)

    def back(self) -> None:
        """Drop the centres in use; those before are in use again, or none. Durable on return.

        Centres that are not as they were written are dropped with all before them: the vectors are whole without.

        Raises:
            FailedPrecondition: the gallery is not centred.
            StorageError: the disk refuses; nothing changed.
        """
        with self._records.changing() as (db, head):
            last = _centred(head)
            try:
                _, before = self._read(db, head, last)
                if before != NONE:
                    self._read(db, head, before)
                db.execute("DELETE FROM centres WHERE checksum = ?", (last,))
            except DataLoss:
                before = NONE
                db.execute("DELETE FROM centres WHERE space_id = ?", (head.space_id,))
            after = replace(head, version=head.version + 1, centres=before)
            self._records.write_head(after)
        self._records.sweep()

    def _check_second(self, db: sqlite3.Connection, head: Head) -> None:
        second = schema.second_space(db)
        if second is not None:
            self._check_all(db, replace(head, space_id=second[0], dim=second[1]), second[2])

    def _check_all(self, db: sqlite3.Connection, head: Head, told: bytes) -> None:
        """Read centres and all before them."""
        while told != NONE:
            _, told = self._read(db, head, told)

    def _read(self, db: sqlite3.Connection, head: Head, told: bytes) -> tuple[Centres | None, bytes]:
        """Return the centres of a checksum, and the checksum of those before them."""
        if told == NONE:
            return None, NONE
        found = db.execute(f"SELECT {COLUMNS} FROM centres WHERE checksum = ?", (told,)).fetchall()  # noqa: S608 - constants
        body: tuple[Any, ...] = found[0][:-1] if len(found) == 1 else ()
        if checksum(body) != told or body[1] != head.space_id.encode():
            way = f"reembed DIR --gallery {head.name} --bundle BUNDLE' with the bundle of space {head.space_id[:12]}..."
            if head.space_id == self._records.head.space_id:
                way = f"centre DIR --gallery {head.name} --back'"
            raise self._records.damaged(
                "the centres of its vectors do not match their checksum; the vectors themselves are whole, and "
                f"'vireid index {way} goes on without centres"
            )
        number, _, made_at, strength, visible, infrared, rows, before = body
        told_of = Centring(float(strength), visible, infrared, number, moment(made_at))
        return Centres(told_of, np.frombuffer(rows, "<f4").reshape(2, head.dim)), before


def _centred(head: Head) -> bytes:
    if head.centres == NONE:
        raise FailedPrecondition(
            f"gallery {head.name!r} is not centred; there is nothing to go back from", reason="NOT_CENTRED"
        )
    return head.centres
