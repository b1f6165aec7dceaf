"""The tables of a gallery's file, how it is written, and how an older file is brought on. Knows no item."""

import sqlite3
from pathlib import Path

from index.disk import sqlite_errors
from index.head import Head

APPLICATION = 0x56524549  # "VREI"
FORMAT = 6
PAGE_BYTES = 8192
LARGEST_KEY = 2**63 - 1  # of SQLite
# of a log that was longer once so much is kept when it begins anew; less than what index.writeback begins at
LOG_KEPT_BYTES = 2**22

SCHEMA = """
CREATE TABLE head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    name TEXT NOT NULL, space_id TEXT NOT NULL, dim INTEGER NOT NULL, stores_images INTEGER NOT NULL,
    version INTEGER NOT NULL, next_key INTEGER NOT NULL, items INTEGER NOT NULL, total BLOB NOT NULL,
    checksum BLOB NOT NULL, retention_s INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE items (
    key INTEGER PRIMARY KEY,
    item_id TEXT NOT NULL UNIQUE,
    modality INTEGER NOT NULL,
    person TEXT NOT NULL,
    camera TEXT NOT NULL,
    captured_at INTEGER,
    attributes TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    has_image INTEGER NOT NULL,
    enrolled_at INTEGER NOT NULL,
    vector BLOB NOT NULL,
    checksum BLOB NOT NULL,
    expires_at INTEGER
);
CREATE TABLE pictures (key INTEGER PRIMARY KEY, thumbnail BLOB, thumbnail_checksum BLOB, image BLOB, image_sha256 TEXT);
"""
# vectors of a second embedding space
SECOND = """
CREATE TABLE IF NOT EXISTS second_space (
    only INTEGER PRIMARY KEY CHECK (only = 1), space_id TEXT NOT NULL, dim INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS second_vectors (key INTEGER PRIMARY KEY, vector BLOB NOT NULL, checksum BLOB NOT NULL);
"""
# centres of either space, each with the checksum of those before it; head and second_space name the last of theirs
CENTRES = """
CREATE TABLE IF NOT EXISTS centres (
    number INTEGER PRIMARY KEY, space_id TEXT NOT NULL, made_at INTEGER NOT NULL, strength TEXT NOT NULL,
    visible INTEGER NOT NULL, infrared INTEGER NOT NULL, rows BLOB NOT NULL, before BLOB NOT NULL,
    checksum BLOB NOT NULL UNIQUE
);
ALTER TABLE head ADD COLUMN centres BLOB NOT NULL DEFAULT x'';
ALTER TABLE second_space ADD COLUMN centres BLOB NOT NULL DEFAULT x'';
"""
# many items in one row
PARCELS = """
CREATE TABLE IF NOT EXISTS parcels (
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, words BLOB NOT NULL, vectors BLOB NOT NULL,
    checksum BLOB NOT NULL
);
"""
# what takes a file from a format to the next
STEPS = {
    1: ("ALTER TABLE pictures ADD COLUMN image_sha256 TEXT",),
    2: (
        "ALTER TABLE items ADD COLUMN expires_at INTEGER",
        "ALTER TABLE head ADD COLUMN retention_s INTEGER NOT NULL DEFAULT 0",
    ),
    3: tuple(SECOND.split(";")[:-1]),
    4: tuple(CENTRES.split(";")[:-1]),
    5: tuple(PARCELS.split(";")[:-1]),
}
HEAD = "name, space_id, dim, stores_images, version, next_key, items, total, retention_s, centres, checksum"
HEAD_TEXTS = (0, 1)
ITEM = (
    "key, item_id, modality, person, camera, captured_at, attributes, sha256, has_image, enrolled_at, vector, "
    "expires_at, checksum"
)
VECTOR = 10
# text comes as bytes, which SQLite takes over as they are
INSERT_ITEM = (
    f"INSERT INTO items ({ITEM}) VALUES (?, CAST(? AS TEXT), ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, "  # noqa: S608 - constants
    "CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?)"
)
INSERT_PICTURES = (
    "INSERT INTO pictures (key, thumbnail, thumbnail_checksum, image, image_sha256) VALUES (?, ?, ?, ?, ?)"
)
PARCEL = "first, count, words, vectors, checksum"
INSERT_PARCEL = f"INSERT INTO parcels ({PARCEL}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - constants


def create(path: Path, head: Head) -> None:
    """Make a file that holds no item, durable on return."""
    with sqlite_errors(path):
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN")
            for statement in (SCHEMA + SECOND + CENTRES + PARCELS).split(";")[:-1]:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={FORMAT}")
            write_head(db, head)
            db.execute("COMMIT")
        finally:
            db.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open a file so that a commit is durable and what is deleted is overwritten."""
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.text_factory = bytes  # what is checked is what was stored
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")
        db.execute("PRAGMA wal_autocheckpoint=0")  # see index.writeback
        db.execute(f"PRAGMA journal_size_limit={LOG_KEPT_BYTES}")
    except BaseException:
        db.close()
        raise
    return db


def bring_on(db: sqlite3.Connection, found: int) -> None:
    """Take a file from an older format to ours, whole or not at all."""
    db.execute("BEGIN IMMEDIATE")
    for step in range(found, FORMAT):
        for statement in STEPS[step]:
            db.execute(statement)
    db.execute(f"PRAGMA user_version={FORMAT}")
    db.execute("COMMIT")


def second_space(db: sqlite3.Connection) -> tuple[str, int, bytes] | None:
    """Read the second space: its id, its dimension, and the checksum of its centres; None if none was begun.

    Raises:
        sqlite3.DatabaseError: the row holds what was never written.
    """
    found = db.execute("SELECT space_id, dim, centres FROM second_space").fetchone()
    if found is None:
        return None
    if tuple(map(type, found)) != (bytes, int, bytes):
        raise sqlite3.DatabaseError("the row that tells of the second embedding space is damaged")
    return found[0].decode(), found[1], found[2]


def write_head(db: sqlite3.Connection, head: Head) -> None:
    """Put the head row in the place of the one before."""
    cells = [
        cell.decode() if at in HEAD_TEXTS and isinstance(cell, bytes) else cell
        for at, cell in enumerate(head.cells())
    ]
    db.execute(
        f"INSERT OR REPLACE INTO head (only, {HEAD}) VALUES (1, {', '.join('?' * len(cells))})",  # noqa: S608 - constants
        cells,
    )
