"""What a large gallery held when it was closed, in the form in which it is kept in memory: a start that reads quickly.

Beside the gallery's file and never the truth: it is bound to the state that it was written from, every section of
it is under a checksum, and it is thrown away at any doubt, and before anything is removed from the gallery.
Knows no SQL and no backend.
"""

import hashlib
import itertools
import logging
import os
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from index.disk import disk_errors, sync
from index.head import Head
from index.table import SHA256_BYTES, Table
from vireid.arrays import Float32Array, Int64Array

log = logging.getLogger(__name__)

SUFFIX = "-cache"
MAGIC = b"vireid-cache-1\n\0"
LENGTH = struct.Struct("<Q")
TAIL_BYTES = 32 + LENGTH.size
ROWS_AT_ONCE = 8192
ARRAYS = ("keys", "modality", "time", "sha256", "has_image", "enrolled", "expires")
WORDS = ("ids", "persons", "cameras", "attributes")


class StaleCacheError(Exception):
    """The cache is of another state, cut or flipped; nothing that came of it may be used."""


@dataclass(frozen=True, slots=True)
class State:
    """What a cache was written from.

    Attributes:
        next_key: all its items have an id below this.
        items: how many there were.
        total: the sum over them.
        centres: the checksum of the centres that its vectors are centred by; empty for none.
    """

    next_key: int
    items: int
    total: int
    centres: bytes

    @staticmethod
    def of(head: Head) -> "State":
        """Return the state that a head tells of."""
        return State(head.next_key, head.items, head.total, head.centres)


class Cache:
    """The cache of one gallery.

    Args:
        path: the gallery's file; the cache lies beside it.

    Attributes:
        state: what the cache that is there was written from, None if there is none that is known to be of use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + SUFFIX)
        self.state: State | None = None

    def discard(self) -> None:
        """Take the cache away, if there is one, durable on return.

        Raises:
            StorageError: the disk refuses.
        """
        self.state = None
        with disk_errors(self.path):
            for path in (self.path, self._part):
                if path.exists():
                    path.unlink()
                    sync(path.parent)

    def write(self, head: Head, table: Table, vectors: Callable[[Int64Array], Float32Array]) -> None:
        """Write the cache anew, whole or not at all; a disk that refuses is logged, for nothing depends on it.

        Args:
            head: of the gallery.
            table: all its items.
            vectors: returns the vectors of some ids, (N, D).
        """
        try:
            with self._part.open("wb") as file:
                _write(file, head, table, vectors)
                file.flush()
                os.fsync(file.fileno())
            self._part.replace(self.path)
            sync(self.path.parent)
            self.state = State.of(head)
        except OSError as error:
            log.warning("%s cannot be written, the next start takes longer: %s", self.path, error)
            self._part.unlink(missing_ok=True)

    def read(self, head: Head) -> tuple[State, Iterator[tuple[Table, Float32Array]]] | None:
        """Open the cache, if there is one.

        Returns:
            What it was written from, and its items and vectors in the order of ids, some thousand at a time. The
            vectors lie in memory that is used again: they are to be copied before the next part is asked for.

        Raises:
            StaleCacheError: at once, or while the parts are read: it is not as it was written, or of no use here.
        """
        self._part.unlink(missing_ok=True)
        if not self.path.is_file():
            return None
        document = _footer(self.path)
        if (document["name"], document["space_id"], document["dim"]) != (head.name, head.space_id, head.dim):
            raise StaleCacheError(f"{self.path} is of another gallery")
        centres = bytes.fromhex(document.get("centres", ""))  # a cache of before there were centres has none
        state = State(document["next_key"], document["items"], int(document["total"], 16), centres)
        if centres != head.centres or state.next_key > head.next_key or state.items > head.items:
            raise StaleCacheError(f"{self.path} is of another state")
        return state, _parts(self.path, document)

    @property
    def _part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")


def _write(file: IO[bytes], head: Head, table: Table, vectors: Callable[[Int64Array], Float32Array]) -> None:
    file.write(MAGIC)
    sections = [np.ascontiguousarray(getattr(table, name)).tobytes() for name in ARRAYS]
    sections += [orjson.dumps(getattr(table, name)) for name in WORDS]
    told = [_put(file, section) for section in sections]
    blocks = [
        _put(file, vectors(table.keys[start : start + ROWS_AT_ONCE]).astype("<f4", copy=False).tobytes())
        for start in range(0, len(table), ROWS_AT_ONCE)
    ]
    footer = orjson.dumps(
        {
            "name": head.name,
            "space_id": head.space_id,
            "dim": head.dim,
            "next_key": head.next_key,
            "items": head.items,
            "total": f"{head.total:032x}",
            "centres": head.centres.hex(),
            "sections": told,
            "vectors": blocks,
        }
    )
    file.write(footer + hashlib.sha256(footer).digest() + LENGTH.pack(len(footer)))


def _put(file: IO[bytes], data: bytes) -> tuple[int, str]:
    file.write(data)
    return len(data), hashlib.sha256(data).hexdigest()


def _footer(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise StaleCacheError(f"{path} is no cache of this version")
        file.seek(max(size - TAIL_BYTES, 0))
        tail = file.read()
        length = LENGTH.unpack(tail[-LENGTH.size :])[0] if len(tail) == TAIL_BYTES else size
        if length + TAIL_BYTES > size:
            raise StaleCacheError(f"{path} is cut")
        file.seek(size - TAIL_BYTES - length)
        footer = file.read(length)
    if hashlib.sha256(footer).digest() != tail[: -LENGTH.size]:
        raise StaleCacheError(f"{path} does not match its checksum")
    document: dict[str, Any] = orjson.loads(footer)
    return document


def _parts(path: Path, document: dict[str, Any]) -> Iterator[tuple[Table, Float32Array]]:
    with path.open("rb") as file, ThreadPoolExecutor(1) as ahead:
        file.seek(len(MAGIC))
        table = _table([_get(path, file, bytearray(length), told) for length, told in document["sections"]])
        blocks = document["vectors"]
        longest = max((length for length, _ in blocks), default=0)
        # used in turn: where memory is new, the system has to find and clear each of its pages first
        rooms = itertools.cycle((bytearray(longest), bytearray(longest)))

        def get(at: int) -> Future[memoryview]:
            length, told = blocks[at]
            return ahead.submit(_get, path, file, memoryview(next(rooms))[:length], told)

        coming = get(0) if blocks else None
        for at, start in enumerate(range(0, len(table), ROWS_AT_ONCE)):
            assert coming is not None
            block = coming.result()
            if at + 1 < len(blocks):  # the next is read and summed up while this one is taken in
                coming = get(at + 1)
            yield (
                table.part(start, start + ROWS_AT_ONCE),
                np.frombuffer(block, "<f4").reshape(-1, document["dim"]),
            )


def _get(path: Path, file: BufferedReader, room: bytearray | memoryview, told: str) -> memoryview:
    whole = memoryview(room)
    if file.readinto(whole) != len(whole) or hashlib.sha256(whole).hexdigest() != told:
        raise StaleCacheError(f"{path} does not match its checksum")
    return whole


def _table(found: list[memoryview]) -> Table:
    types: dict[str, type] = {"sha256": np.uint8, "has_image": np.bool_}
    cells: dict[str, Any] = {
        name: np.frombuffer(data, types.get(name, np.int64))
        for name, data in zip(ARRAYS, found, strict=False)
    }
    cells["sha256"] = cells["sha256"].reshape(-1, SHA256_BYTES)
    cells |= {name: orjson.loads(data) for name, data in zip(WORDS, found[len(ARRAYS) :], strict=True)}
    return Table(**cells)
