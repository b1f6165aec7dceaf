"""What can still be read of a damaged file, row by row. Proves nothing and writes nothing."""

import sqlite3
from collections.abc import Iterable, Iterator

from index.rows import Cell
from index.schema import LARGEST_KEY

ROWS_AT_ONCE = 1024


def names(db: sqlite3.Connection) -> dict[int, str]:
    """Read from the index of ids, which lies apart from the rows, what items there were; it may be damaged too."""
    query = "SELECT key, item_id FROM items INDEXED BY sqlite_autoindex_items_1 ORDER BY item_id"
    found: dict[int, str] = {}
    try:
        for key, name in db.execute(query):
            if isinstance(key, int) and 0 < key < LARGEST_KEY:
                found[key] = readable(name)
    except sqlite3.DatabaseError:
        return found  # those that were read before
    return found


def every(
    db: sqlite3.Connection, query: str, next_key: int, names: Iterable[int], column: str = "key"
) -> Iterator[tuple[int, tuple[Cell, ...] | None]]:
    """Read rows by their key, in its order; a key where nothing can be read is given without a row.

    Args:
        db: the damaged file.
        query: reads them.
        next_key: as far as the head knows, all keys are below this.
        names: keys that the index of ids has; a flipped bit makes one of them astronomic.
        column: that holds the key.
    """
    for low in range(1, next_key, ROWS_AT_ONCE):  # where a page is zeros, all its rows read as number 0
        yield from _between(db, query, column, low, min(low + ROWS_AT_ONCE, next_key))
    for key in sorted(key for key in names if key >= next_key):
        yield from _between(db, query, column, key, key + 1)


def _between(
    db: sqlite3.Connection, query: str, column: str, low: int, high: int
) -> Iterator[tuple[int, tuple[Cell, ...] | None]]:
    try:
        where = f"WHERE {column} >= ? AND {column} < ? ORDER BY {column}"
        rows = db.execute(f"{query} {where}", (low, high)).fetchall()
    except (sqlite3.DatabaseError, OverflowError):
        if high - low == 1:
            yield low, None
            return
        middle = (low + high) // 2
        yield from _between(db, query, column, low, middle)
        yield from _between(db, query, column, middle, high)
        return
    for row in rows:
        yield row[0], row


def readable(cell: Cell) -> str:
    """Return a text as far as it is one."""
    return cell.decode(errors="replace") if isinstance(cell, bytes) else ""
