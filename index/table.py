"""Stored items as columns: what is read, cached and kept in memory many at a time. Knows no vectors and no file."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vireid.arrays import BoolArray, Int64Array, UInt8Array

NO_TIME = np.iinfo(np.int64).min
NEVER = np.iinfo(np.int64).max
SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class Table:
    """N items, in the order of our ids.

    Attributes:
        keys: our ids, rising, (N,).
        ids: the operator's.
        modality: 0 visible, 1 infrared, (N,).
        persons: names, empty if unknown.
        cameras: names, empty if unknown.
        time: of capture, microseconds since 1970, ``NO_TIME`` if unknown, (N,).
        attributes: as JSON, empty if there are none.
        sha256: of the encoded image, (N, 32).
        has_image: whether it was kept, (N,).
        enrolled: microseconds since 1970, (N,).
        expires: microseconds since 1970, ``NEVER`` if it stays, (N,).
    """

    keys: Int64Array
    ids: list[str]
    modality: Int64Array
    persons: list[str]
    cameras: list[str]
    time: Int64Array
    attributes: list[str]
    sha256: UInt8Array
    has_image: BoolArray
    enrolled: Int64Array
    expires: Int64Array

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    @staticmethod
    def of(found: Sequence[tuple[Any, ...]]) -> "Table":
        """Turn cells, as ``rows.encode`` gives them and checked by who read them, into columns; at least one row."""
        key, item_id, modality, person, camera, time, attributes, sha256, has_image, enrolled, _, expires, _ = zip(
            *found, strict=True
        )  # fmt: skip
        return Table(
            keys=np.array(key, np.int64),
            ids=[one.decode() for one in item_id],
            modality=np.array(modality, np.int64),
            persons=[one.decode() for one in person],
            cameras=[one.decode() for one in camera],
            time=np.array([NO_TIME if one is None else one for one in time], np.int64),
            attributes=[one.decode() for one in attributes],
            sha256=np.frombuffer(bytes.fromhex(b"".join(sha256).decode()), np.uint8).reshape(
                -1, SHA256_BYTES
            ),
            has_image=np.array(has_image, np.bool_),
            enrolled=np.array(enrolled, np.int64),
            expires=np.array([NEVER if one is None else one for one in expires], np.int64),
        )

    @staticmethod
    def none() -> "Table":
        """Return no items."""
        wholes, words = np.empty(0, np.int64), list[str]()
        sha256 = np.empty((0, SHA256_BYTES), np.uint8)
        return Table(
            wholes, words, wholes, words, words, wholes, words, sha256, np.empty(0, np.bool_), wholes, wholes
        )

    @staticmethod
    def joined(tables: Sequence["Table"]) -> "Table":
        """Put tables one after the other; at least one."""
        if len(tables) == 1:
            return tables[0]
        return Table(*(_joined([getattr(table, one.name) for table in tables]) for one in fields(Table)))

    def part(self, start: int, stop: int) -> "Table":
        """Return the items from one row up to another."""
        return Table(*(getattr(self, one.name)[start:stop] for one in fields(self)))

    def chosen(self, rows: BoolArray) -> "Table":
        """Return some of the items, rows as a mask, (N,)."""
        return Table(*(_chosen(getattr(self, one.name), rows) for one in fields(self)))


def _joined(parts: Sequence[Any]) -> Any:
    return list(itertools.chain(*parts)) if isinstance(parts[0], list) else np.concatenate(parts)


def _chosen(column: Any, rows: BoolArray) -> Any:
    return list(itertools.compress(column, rows)) if isinstance(column, list) else column[rows]
