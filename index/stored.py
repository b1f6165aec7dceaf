"""The items in a gallery's file, each in a row of its own or many in a parcel. Knows no transaction and no head."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from index import parcels, rows
from index.rows import Cell, Row, decode, item_of, row_checksum
from index.schema import INSERT_ITEM, INSERT_PARCEL, INSERT_PICTURES, ITEM, LARGEST_KEY, PARCEL, VECTOR
from index.table import Table
from vireid.arrays import Float32Array
from vireid.errors import DataLoss

ROWS_AT_ONCE = 4096
PARCELS_AT_ONCE = ROWS_AT_ONCE // parcels.AT_MOST
NAMED = 5
NO_PICTURES = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Stored:
    """The items of one gallery as a connection sees them.

    Attributes:
        db: the connection.
        dim: embedding dimension D.
        damaged: makes the error that says what of the file is damaged.
    """

    db: sqlite3.Connection
    dim: int
    damaged: Callable[[str], DataLoss]

    def count(self) -> tuple[int, int]:
        """Count the items, and those of them that keep an image."""
        items, images = self.db.execute("SELECT count(*), total(has_image) FROM items").fetchone()
        return int(items) + self.in_parcels(), int(images)

    def in_parcels(self) -> int:
        """Count the items in parcels."""
        return int(self.db.execute("SELECT total(count) FROM parcels").fetchone()[0])

    def chunks(self, after: int) -> Iterator[tuple[Table, Float32Array, int]]:
        """Read items whose ids are above one, in the order of ids, some thousand at a time.

        Yields:
            The items, their vectors, (N, D), and what their checksums come to.

        Raises:
            DataLoss: one is not as it was written.
        """
        for found, of_parcels in self._runs(after):
            table, vectors = self._joined(found) if of_parcels else self._table(found)
            yield table, vectors, _sum(found)

    def each(self) -> Iterator[tuple[Row | None, str, int]]:
        """Read every item in the order of ids: the item, or what is wrong, and what to add to the sum of all."""
        for found, of_parcels in self._runs(0):
            for cells in found:
                if not of_parcels:
                    decoded = decode(cells, self.dim)
                    yield (
                        (None, spoilt(cells), 0) if decoded is None else (decoded[0], "", _number(cells[-1]))
                    )
                elif (opened := parcels.unpacked(cells, self.dim)) is None:
                    yield None, spoilt_parcel(cells, self.dim), 0
                else:
                    table = opened[0]
                    for at, key in enumerate(table.keys.tolist()):
                        yield Row(key, item_of(table, at)), "", 0 if at else _number(cells[-1])

    def vector(self, key: int, item_id: str) -> Float32Array | None:
        """Read an item's embedding, (D,); None if the item is gone.

        Raises:
            DataLoss: it is not as it was written.
        """
        found = self.db.execute(f"SELECT {ITEM} FROM items WHERE key = ?", (key,)).fetchall()  # noqa: S608
        if found:
            decoded = decode(found[0], self.dim)
            vector = None if decoded is None else decoded[1]
        else:
            only = f"substr(vectors, {4 * self.dim} * (:key - first) + 1, {4 * self.dim})"
            cells = parcel_of(self.db, key, PARCEL.replace("vectors", only))
            if cells is None:
                return None
            vector = parcels.vector(cells, key, self.dim)
        if vector is None:
            raise self.damaged(f"item {item_id!r} does not match its checksum")
        return vector

    def put(self, table: Table, vectors: Float32Array, packed: bool) -> int:
        """Insert items; return what their checksums come to.

        Args:
            table: N new items, whose pictures come apart.
            vectors: of each, (N, D).
            packed: put them into parcels.
        """
        cells = list(parcels.packed(table, vectors) if packed else rows.encoded(table, vectors))
        self.db.executemany(INSERT_PARCEL if packed else INSERT_ITEM, cells)
        return _sum(cells)

    def delete(self, keys: Sequence[int]) -> int:
        """Delete items by our ids; return what that changes of the sum of all checksums.

        Raises:
            DataLoss: one is not there, or not as it was written.
        """
        there, total = self._taken_from_parcels(keys)
        for key in there:
            gone = self.db.execute(f"DELETE FROM items WHERE key = ? RETURNING {ITEM}", (key,)).fetchall()  # noqa: S608
            if len(gone) != 1:
                raise self.damaged(f"item number {key} has vanished")
            if decode(gone[0], self.dim) is None:  # its sum would spoil the sum over all
                raise self.damaged(spoilt(gone[0]))
            total ^= _number(gone[0][-1])
            self.db.execute("DELETE FROM pictures WHERE key = ?", (key,))
            self.db.execute("DELETE FROM second_vectors WHERE key = ?", (key,))
        return total

    def unpack(self, limit: int) -> int | None:
        """Make rows of some parcels; return what that changes of the sum of all checksums, None if there are none."""
        found = self.db.execute(f"SELECT {PARCEL} FROM parcels LIMIT ?", (limit,)).fetchall()  # noqa: S608
        total = 0
        for cells in found:
            total ^= self._open(cells)
        return total if found else None

    def _taken_from_parcels(self, keys: Sequence[int]) -> tuple[list[int], int]:
        """Delete those of some items that are in parcels; return those that are not, and the change of the sum."""
        if self.db.execute("SELECT 1 FROM parcels LIMIT 1").fetchone() is None:
            return list(keys), 0
        left, total = set(keys), 0
        for key in sorted(left):
            if key in left and (cells := parcel_of(self.db, key)) is not None:
                total ^= self._open(cells, left)
                left.difference_update(range(cells[0], cells[0] + cells[1]))
        return sorted(left), total

    def _open(self, cells: tuple[Any, ...], without: Collection[int] = ()) -> int:
        """Make rows of a parcel's items but for some; return what that changes of the sum of all checksums."""
        table, vectors = self._opened(cells)
        self.db.execute("DELETE FROM parcels WHERE first = ?", (cells[0],))
        stays = np.array([key not in without for key in table.keys.tolist()], np.bool_)
        left = table.chosen(stays)
        self.db.executemany(INSERT_PICTURES, [(key, *NO_PICTURES) for key in left.keys.tolist()])
        return _number(cells[-1]) ^ self.put(left, vectors[stays], packed=False)

    def _table(self, found: list[tuple[Any, ...]]) -> tuple[Table, Float32Array]:
        for cells in found:
            if row_checksum(cells[:-1]) != cells[-1] or len(cells[VECTOR]) != 4 * self.dim:
                raise self.damaged(spoilt(cells))
        data = b"".join(cells[VECTOR] for cells in found)
        return Table.of(found), np.frombuffer(data, "<f4").reshape(-1, self.dim)

    def _joined(self, found: list[tuple[Any, ...]]) -> tuple[Table, Float32Array]:
        tables, vectors = zip(*map(self._opened, found), strict=True)
        return Table.joined(tables), np.concatenate(vectors)

    def _opened(self, cells: tuple[Any, ...]) -> tuple[Table, Float32Array]:
        opened = parcels.unpacked(cells, self.dim)
        if opened is None:
            raise self.damaged(spoilt_parcel(cells, self.dim))
        return opened

    def _runs(self, after: int) -> Iterator[tuple[list[tuple[Any, ...]], bool]]:
        """Read cells in the order of ids, some at a time: of rows, or of parcels."""
        query = f"SELECT {PARCEL} FROM parcels WHERE first > ? ORDER BY first"  # noqa: S608 - constants
        run: list[tuple[Any, ...]] = []
        for cells in self.db.execute(query, (after,)):
            for between in self._rows(after, cells[0]):
                if run:
                    yield run, True
                    run = []
                yield between, False
            run.append(cells)
            after = cells[0]  # and not its last: no row is among its items, and one that is shall be seen
            if len(run) == PARCELS_AT_ONCE:
                yield run, True
                run = []
        if run:
            yield run, True
        for rest in self._rows(after, LARGEST_KEY):
            yield rest, False

    def _rows(self, after: int, before: int) -> Iterator[list[tuple[Any, ...]]]:
        query = f"SELECT {ITEM} FROM items WHERE key > ? AND key < ? ORDER BY key"  # noqa: S608 - constants
        cursor = self.db.execute(query, (after, before))
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            yield found


def parcel_of(db: sqlite3.Connection, key: int, columns: str = PARCEL) -> tuple[Any, ...] | None:
    """Return the cells of the parcel that an item is in; None if it is in none.

    Args:
        db: the gallery's file.
        key: our id of the item.
        columns: what to read, ``first`` and ``count`` before all.
    """
    query = f"SELECT {columns} FROM parcels WHERE first <= :key ORDER BY first DESC LIMIT 1"  # noqa: S608 - constants
    found = db.execute(query, {"key": key}).fetchall()
    return tuple(found[0]) if found and key < found[0][0] + parcels.held(found[0]) else None


def spoilt(cells: Sequence[Cell]) -> str:
    """Say of a row that it is damaged."""
    item_id = cells[1]
    name = repr(item_id.decode(errors="replace")) if isinstance(item_id, bytes) else f"number {cells[0]!r}"
    return f"item {name} does not match its checksum"


def spoilt_parcel(cells: tuple[Any, ...], dim: int) -> str:
    """Say of a parcel that it is damaged, and of whose embeddings that is so."""
    first, held = cells[0], parcels.held(cells)
    gone = parcels.sound(cells, dim)[2]
    named = ", ".join(map(repr, gone[:NAMED])) + (
        f" and {len(gone) - NAMED} more" if len(gone) > NAMED else ""
    )
    of = f": {named}" if named else ""
    return f"the parcel of items number {first} to {first + held - 1} does not match its checksum{of}"


def _sum(found: list[tuple[Any, ...]]) -> int:
    total = 0
    for cells in found:
        total ^= _number(cells[-1])
    return total


def _number(checksum: bytes) -> int:
    return int.from_bytes(checksum, "big")
