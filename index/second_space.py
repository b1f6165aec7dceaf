"""Vectors of a second embedding space beside those in use, for the same items, in the same file.

They are filled while the gallery goes on, survive a stop, go when their item goes, and take the place of the others in
one transaction; those stay as the second then, and can come back. The centres of a space go and come with its
vectors. Knows no model and no search.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from index import schema
from index.head import Head
from index.records import Records
from index.rows import Cell, Row, checksum, decode, row_checksum
from vireid.arrays import Float32Array
from vireid.counted import counted
from vireid.errors import DataLoss, FailedPrecondition, InvalidRequest

AT_ONCE = 1000


def said(gallery: str, key: int, space_id: str) -> str:
    """Say of an item that its vector of this space is damaged, and what to do."""
    return (
        f"the second vector of item number {key} does not match its checksum; 'vireid index reembed DIR --gallery "
        f"{gallery} --bundle BUNDLE' with the bundle of space {space_id[:12]}... makes it again"
    )


class SecondSpace:
    """The second embedding space of a gallery.

    Args:
        records: of the gallery.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def space(self) -> tuple[str, int] | None:
        """Return the space and its dimension; None if none was begun."""
        with self._records.changing() as (db, _):
            return _space(db)

    def unsound(self) -> list[int]:
        """Return our ids of the items whose vector of this space is not as it was written."""
        with self._records.changing() as (db, _):
            return _unsound(db)

    def begin(self, space_id: str, dim: int) -> None:
        """Fill this space from now on; vectors of another one, and damaged ones, are dropped.

        Raises:
            InvalidRequest: it is the one in use.
        """
        self._begin(space_id, dim)
        self._records.unpack()  # from now on nothing is packed

    def _begin(self, space_id: str, dim: int) -> None:
        with self._records.changing() as (db, head):
            if head.space_id == space_id:
                raise InvalidRequest(
                    f"gallery {head.name!r} is in space {space_id[:12]}... already; give another bundle",
                    field="bundle",
                )
            if _space(db) == (space_id, dim):
                db.executemany("DELETE FROM second_vectors WHERE key = ?", [(key,) for key in _unsound(db)])
                return
            db.execute("DELETE FROM second_vectors")
            db.execute("DELETE FROM centres WHERE space_id <> ?", (head.space_id,))
            _tell(db, space_id, dim, b"")
        self._records.sweep()

    def lacking(self, after: int, limit: int) -> list[Row]:
        """Return items that have no vector of this space, in the order of our ids, beginning above one.

        Raises:
            DataLoss: one is not as it was written.
        """
        with self._records.changing() as (db, head):
            found = db.execute(
                f"SELECT {schema.ITEM} FROM items WHERE key > ? AND key NOT IN (SELECT key FROM second_vectors) "  # noqa: S608 - constants
                "ORDER BY key LIMIT ?",
                (after, limit),
            ).fetchall()
        rows = []
        for cells in found:
            decoded = decode(cells, head.dim)
            if decoded is None:
                raise self._records.damaged(f"item number {cells[0]} does not match its checksum")
            rows.append(decoded[0])
        return rows

    def missing(self) -> int:
        """Count the items that have no vector of this space."""
        with self._records.changing() as (db, _):
            return _missing(db)

    def put(self, keys: Sequence[int], vectors: Float32Array) -> None:
        """Store vectors, (N, D), durable on return; items that went meanwhile are left out."""
        with self._records.changing() as (db, _):
            space = _space(db)
            assert space is not None
            for key, vector in zip(keys, vectors, strict=True):
                if db.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is None:
                    continue
                data = vector.astype("<f4", copy=False).tobytes()
                db.execute(
                    "INSERT OR REPLACE INTO second_vectors VALUES (?, ?, ?)",
                    (key, data, _sum(key, space[0], data)),
                )

    def exchange(self) -> Head:
        """Put these vectors in the place of those in use, which become the second; all of them or none.

        Returns:
            The gallery's head afterwards.

        Raises:
            FailedPrecondition: there is no second space, or items lack its vectors.
            DataLoss: a vector or an item is not as it was written; nothing changed.
            StorageError: the disk refuses; nothing changed.
        """
        with self._records.changing() as (db, head):
            second = schema.second_space(db)
            if second is None:
                raise FailedPrecondition(
                    f"gallery {head.name!r} has vectors of one space only; embed its images with another bundle first",
                    reason="NO_SECOND_SPACE",
                )
            space, centres = second[:2], second[2]
            if missing := _missing(db):
                raise FailedPrecondition(
                    f"gallery {head.name!r} has {counted(missing, 'item')} without a vector of space {space[0][:12]}...; embed "
                    "its images with that bundle first",
                    reason="SECOND_SPACE_INCOMPLETE",
                )
            after = replace(
                head,
                space_id=space[0],
                dim=space[1],
                centres=centres,
                version=head.version + 1,
                total=self._exchange(db, head, space),
            )
            _tell(db, head.space_id, head.dim, head.centres)
            self._records.write_head(after)
        self._records.sweep()
        return after

    def _exchange(self, db: sqlite3.Connection, head: Head, space: tuple[str, int]) -> int:
        """Exchange every vector; return the new sum over all items."""
        last, total = 0, 0
        items = ", ".join(f"items.{name}" for name in schema.ITEM.split(", "))
        while found := db.execute(
            f"SELECT {items}, second_vectors.vector, second_vectors.checksum FROM items "  # noqa: S608 - constants
            "JOIN second_vectors USING (key) WHERE key > ? ORDER BY key LIMIT ?",
            (last, AT_ONCE),
        ).fetchall():
            here, there = [], []
            for *cells, vector, told in found:
                key, *_ = cells
                if decode(cells, head.dim) is None:
                    raise self._records.damaged(f"item number {key} does not match its checksum")
                if not _sound(key, vector, told, space):
                    raise DataLoss(said(head.name, key, space[0]))
                old, cells[schema.VECTOR] = cells[schema.VECTOR], vector
                summed = row_checksum(cells[:-1])
                total ^= int.from_bytes(summed, "big")
                here.append((vector, summed, key))
                there.append((old, _sum(key, head.space_id, old), key))
            db.executemany("UPDATE items SET vector = ?, checksum = ? WHERE key = ?", here)
            db.executemany("UPDATE second_vectors SET vector = ?, checksum = ? WHERE key = ?", there)
            last = found[-1][0]
        return total


def _space(db: sqlite3.Connection) -> tuple[str, int] | None:
    found = schema.second_space(db)
    return None if found is None else found[:2]


def _tell(db: sqlite3.Connection, space_id: str, dim: int, centres: bytes) -> None:
    db.execute(
        "INSERT OR REPLACE INTO second_space (only, space_id, dim, centres) VALUES (1, ?, ?, ?)",
        (space_id, dim, centres),
    )


def _missing(db: sqlite3.Connection) -> int:
    query = (  # what is packed has none, see ``begin``
        "SELECT count(*) + (SELECT total(count) FROM parcels) FROM items WHERE key NOT IN (SELECT key FROM second_vectors)"
    )
    return int(db.execute(query).fetchone()[0])


def _unsound(db: sqlite3.Connection) -> list[int]:
    space = _space(db)
    if space is None:
        return []
    rows = db.execute("SELECT key, vector, checksum FROM second_vectors ORDER BY key")
    return [key for key, vector, told in rows if not _sound(key, vector, told, space)]


def _sound(key: int, vector: Cell, told: Cell, space: tuple[str, int]) -> bool:
    return isinstance(vector, bytes) and told == _sum(key, space[0], vector) and len(vector) == 4 * space[1]


def _sum(key: int, space_id: str, vector: bytes) -> bytes:
    return checksum((key, space_id.encode(), vector))
