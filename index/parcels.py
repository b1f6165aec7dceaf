"""Many items in one row, a parcel: how items without pictures that come many at a time are kept.

A row of its own for each costs more than half of what storing it takes. Parcels are written and deleted, never changed:
where one of its items is to go, the others become rows. Its words prove themselves and each of its vectors, so
damage costs no more than where it is. Knows no SQL.

The words are JSON: of each item what a row holds, and a sum of its vector, which is

    sum_i w_i x_i  mod 2^64,    x_i the i-th 32 bits of the vector, w_i fixed odd numbers,

so a change of one number is always seen, of several but once in 2^32 at the worst, where each changed its sign alone.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from index.rows import Cell, checksum
from index.table import SHA256_BYTES, Table
from vireid.arrays import Float32Array, UInt64Array

AT_MOST = 64
WORDS = ("ids", "persons", "cameras", "attributes")
NUMBERS = ("modality", "time", "enrolled", "expires")


def packed(table: Table, vectors: Float32Array) -> Iterator[tuple[Cell, ...]]:
    """Pack items that keep no image.

    Args:
        table: N items whose keys follow one another.
        vectors: of each, (N, D).

    Yields:
        The cells of a parcel, its checksum last.
    """
    for start in range(0, len(table), AT_MOST):
        part, rows = table.part(start, start + AT_MOST), vectors[start : start + AT_MOST]
        first, count = int(part.keys[0]), len(part)
        words = _told(part, _sums(rows))
        data = np.ascontiguousarray(rows, "<f4").tobytes()
        yield first, count, words, data, checksum((first, count, words))


def unpacked(cells: tuple[Any, ...], dim: int) -> tuple[Table, Float32Array] | None:
    """Return a parcel's items and their vectors, (N, D); None if it is not as it was written."""
    table, vectors, gone = sound(cells, dim)
    if not len(table) or gone or len(cells[3]) != vectors.nbytes:
        return None
    return table, vectors


def vector(cells: tuple[Any, ...], key: int, dim: int) -> Float32Array | None:
    """Return the vector, (D,), of one of a parcel's items without the others; None if it is not as it was written.

    Args:
        cells: the parcel's; of its vectors only that one.
        key: our id of the item.
        dim: embedding dimension D.
    """
    table, sums = _items(cells)
    data = cells[3]
    if table is None or not isinstance(data, bytes) or len(data) != 4 * dim:
        return None
    found = np.frombuffer(data, "<f4")
    return found if _sums(found[None])[0] == sums[key - cells[0]] else None


def sound(cells: tuple[Any, ...], dim: int) -> tuple[Table, Float32Array, list[str]]:
    """Save of a damaged parcel what proves itself.

    Returns:
        The items that are as they were written, their vectors, (N, D), and the ids of those that are not, as far as
        they can be read.
    """
    table, sums = _items(cells)
    none = np.empty((0, dim), np.float32)
    if table is None:
        return Table.none(), none, _names(cells[2])
    data = cells[3] if isinstance(cells[3], bytes) else b""
    rows = np.frombuffer(data[: len(data) // (4 * dim) * 4 * dim], "<f4").reshape(-1, dim)[: len(table)]
    good = np.zeros(len(table), np.bool_)
    good[: len(rows)] = _sums(rows) == sums[: len(rows)]
    if good.all():
        return table, rows, []
    gone = [item_id for item_id, kept in zip(table.ids, good, strict=True) if not kept]
    return table.chosen(good), rows[good[: len(rows)]], gone


def held(cells: Sequence[Any]) -> int:
    """Return how many items a parcel holds; of one that says what cannot be, as many as there may be."""
    count = cells[1]
    return count if isinstance(count, int) and 0 < count <= AT_MOST else AT_MOST


def _told(table: Table, sums: UInt64Array) -> bytes:
    document: dict[str, Any] = {name: getattr(table, name) for name in WORDS}
    document |= {name: getattr(table, name).tolist() for name in NUMBERS}
    return orjson.dumps(document | {"sha256": table.sha256.tobytes().hex(), "sums": sums.tolist()})


def _items(cells: tuple[Any, ...]) -> tuple[Table | None, UInt64Array]:
    """Read a parcel's words; no table if they are not as they were written."""
    first, count, words, _, told = cells
    if told != checksum((first, count, words)):
        return None, np.empty(0, np.uint64)
    document = orjson.loads(words)
    sha256 = np.frombuffer(bytes.fromhex(document["sha256"]), np.uint8).reshape(count, SHA256_BYTES)
    columns: dict[str, Any] = {name: document[name] for name in WORDS}
    columns |= {name: np.array(document[name], np.int64) for name in NUMBERS}
    table = Table(
        keys=np.arange(first, first + count, dtype=np.int64),
        sha256=sha256,
        has_image=np.zeros(count, np.bool_),
        **columns,
    )
    return table, np.array(document["sums"], np.uint64)


def _names(words: Cell) -> list[str]:
    try:
        found = orjson.loads(words if isinstance(words, bytes) else b"")["ids"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _sums(rows: Float32Array) -> UInt64Array:
    wholes = np.ascontiguousarray(rows, "<f4").view("<u4")
    found: UInt64Array = np.einsum("ij,j->i", wholes, _weights(rows.shape[1]), dtype=np.uint64)
    return found


@functools.lru_cache(8)
def _weights(dim: int) -> UInt64Array:
    drawn = hashlib.shake_256(b"vireid parcel").digest(8 * dim)
    return np.frombuffer(drawn, "<u8").astype(np.uint64) | np.uint64(1)
