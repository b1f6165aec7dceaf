"""The durable truth of one gallery: items, vectors, images and thumbnails in one SQLite file.

Write-ahead log with full sync: what a transaction returned from survives a kill. Deleted content is overwritten
(``secure_delete``). Knows no vector search and no embedding model beyond the space it is bound to.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from vireid.arrays import Float32Array
from vireid.errors import DataLoss, ImageNotStored, ItemNotFound, StorageError
from vireid.types import Item, ItemMeta, Modality

FORMAT = 1
FULL = ("database or disk is full", "disk I/O error", "readonly")

SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL UNIQUE,
    modality INTEGER NOT NULL,
    person TEXT NOT NULL,
    camera TEXT NOT NULL,
    captured_at REAL,
    attributes TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    enrolled_at REAL NOT NULL,
    vector BLOB NOT NULL,
    vector_sum BLOB NOT NULL,
    image BLOB,
    thumbnail BLOB
);
"""
COLUMNS = (
    "id, item_id, modality, person, camera, captured_at, attributes, sha256, enrolled_at, image IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One item to store.

    Attributes:
        item_id: the operator's id.
        modality: visible or infrared.
        meta: what is known of it.
        sha256: hex digest of the encoded image.
        vector: unit row, (D,).
        image: the encoded image, None if it is not to be kept.
        thumbnail: a small JPEG, or None.
    """

    item_id: str
    modality: Modality
    meta: ItemMeta
    sha256: str
    vector: Float32Array
    image: bytes | None = None
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A stored item and the int64 id that is ours."""

    key: int
    item: Item


class Records:
    """One gallery's SQLite file; one connection, used under a lock.

    Args:
        path: an existing file made by ``create``.

    Raises:
        DataLoss: the file is damaged or no gallery of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._errors():
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA secure_delete=ON")
            self.facts = dict(self._db.execute("SELECT key, value FROM facts"))
        if self.facts.get("format") != str(FORMAT):
            raise DataLoss(
                f"{path}: gallery format {self.facts.get('format')!r} found, {FORMAT} is supported",
                reason="GALLERY_FORMAT",
            )

    @staticmethod
    def create(path: Path, facts: dict[str, str]) -> None:
        """Make an empty file holding ``facts``, in one transaction."""
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            whole = {"format": str(FORMAT), "version": "0", **facts}
            db.executemany("INSERT INTO facts VALUES (?, ?)", whole.items())
        finally:
            db.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @property
    def version(self) -> int:
        """Grows with every change."""
        with self._errors():
            return int(self._db.execute("SELECT value FROM facts WHERE key='version'").fetchone()[0])

    def vectors(self, dim: int) -> Iterator[tuple[Row, Float32Array]]:
        """Read every item with its vector, in the order of ids.

        Raises:
            DataLoss: a vector does not match its checksum; the item is named.
        """
        with self._errors():
            query = f"SELECT {COLUMNS}, vector, vector_sum FROM items ORDER BY id"  # noqa: S608 - constant
            for *columns, vector, stored in self._db.execute(query):
                row = _row(columns)
                yield row, self._verified(row.item.item_id, vector, stored, dim)

    def vector(self, item_id: str, dim: int) -> Float32Array:
        """Read one item's vector, (D,).

        Raises:
            ItemNotFound: no such item.
            DataLoss: it does not match its checksum.
        """
        with self._errors():
            query = "SELECT vector, vector_sum FROM items WHERE item_id = ?"
            found = self._db.execute(query, (item_id,)).fetchone()
        if found is None:
            raise ItemNotFound(f"there is no item {item_id!r} in this gallery")
        return self._verified(item_id, found[0], found[1], dim)

    def _verified(self, item_id: str, vector: bytes, stored: bytes, dim: int) -> Float32Array:
        if len(vector) != 4 * dim or _sum(vector) != stored:
            raise DataLoss(
                f"{self._path}: the vector of item {item_id!r} does not match its checksum; "
                f"restore a copy, or delete the item and enrol it again",
                metadata={"item": item_id},
            )
        return np.frombuffer(vector, dtype="<f4").astype(np.float32)

    def picture(self, item_id: str, column: str) -> bytes:
        """Read an item's ``image`` or ``thumbnail``.

        Raises:
            ItemNotFound: no such item.
            ImageNotStored: the picture was not kept.
        """
        assert column in {"image", "thumbnail"}
        with self._errors():
            query = f"SELECT {column} FROM items WHERE item_id = ?"  # noqa: S608 - checked above
            found = self._db.execute(query, (item_id,)).fetchone()
        if found is None:
            raise ItemNotFound(f"there is no item {item_id!r} in this gallery")
        if found[0] is None:
            raise ImageNotStored(f"item {item_id!r} was enrolled without keeping its {column}")
        return bytes(found[0])

    def put(self, batch: Sequence[Enrolment]) -> tuple[list[tuple[Row, Float32Array]], list[int]]:
        """Insert or replace items in one transaction, durable on return.

        Returns:
            The new rows with their vectors, and the ids that they replaced.
        """
        now = datetime.now(UTC)
        added: list[tuple[Row, Float32Array]] = []
        replaced: list[int] = []
        with self._transaction() as db:
            for new in batch:
                old = db.execute(
                    "DELETE FROM items WHERE item_id = ? RETURNING id", (new.item_id,)
                ).fetchone()
                if old is not None:
                    replaced.append(old[0])
                vector = new.vector.astype("<f4").tobytes()
                cursor = db.execute(
                    "INSERT INTO items (item_id, modality, person, camera, captured_at, attributes, sha256,"
                    " enrolled_at, vector, vector_sum, image, thumbnail)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        new.item_id,
                        int(new.modality),
                        new.meta.person,
                        new.meta.camera,
                        None if new.meta.captured_at is None else new.meta.captured_at.timestamp(),
                        json.dumps(dict(new.meta.attributes), sort_keys=True),
                        new.sha256,
                        now.timestamp(),
                        vector,
                        _sum(vector),
                        new.image,
                        new.thumbnail,
                    ),
                )
                item = Item(new.item_id, new.modality, new.meta, new.sha256, new.image is not None, now)
                assert cursor.lastrowid is not None
                added.append((Row(cursor.lastrowid, item), new.vector))
        return added, replaced

    def remove(self, keys: Sequence[int]) -> tuple[int, int]:
        """Remove items by our ids in one transaction, durable on return.

        Returns:
            How many items went, and how many images went with them.
        """
        items = images = 0
        with self._transaction() as db:
            for key in keys:
                gone = db.execute(
                    "DELETE FROM items WHERE id = ? RETURNING image IS NOT NULL", (key,)
                ).fetchone()
                if gone is not None:
                    items += 1
                    images += gone[0]
        with self._errors():
            # the log still holds what was deleted until it is written back and emptied
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return items, images

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("UPDATE facts SET value = value + 1 WHERE key = 'version'")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                if any(word in str(error) for word in FULL):
                    raise StorageError(f"{self._path}: {error}; free space, then try again") from error
                raise DataLoss(f"{self._path}: {error}; restore a copy of the gallery") from error


def _sum(vector: bytes) -> bytes:
    return hashlib.blake2b(vector, digest_size=8).digest()


def _row(columns: Sequence[object]) -> Row:
    key, item_id, modality, person, camera, captured, attributes, sha256, enrolled, has_image = columns
    meta = ItemMeta(
        person=str(person),
        camera=str(camera),
        captured_at=None if captured is None else datetime.fromtimestamp(float(str(captured)), UTC),
        attributes=json.loads(str(attributes)),
    )
    item = Item(
        item_id=str(item_id),
        modality=Modality(int(str(modality))),
        meta=meta,
        sha256=str(sha256),
        has_image=bool(has_image),
        enrolled_at=datetime.fromtimestamp(float(str(enrolled)), UTC),
    )
    return Row(int(str(key)), item)
