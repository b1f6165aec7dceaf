"""An item as a row of the gallery's file, and back, under a checksum over all of it.

A row whose checksum disagrees is never turned into an item: a flipped bit in a name would show the wrong
person. Knows no SQL and no file.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from index.table import NEVER, NO_TIME, SHA256_BYTES, Table
from vireid.arrays import Float32Array, Int64Array
from vireid.types import NO_ATTRIBUTES, Item, ItemMeta, Modality

SUM_BYTES = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# the cells of a row that never expires, as ``checksum`` tells them
WRITTEN = b"i%d;b%d;%bi%d;b%d;%bb%d;%b%bb%d;%bb%d;%bi%d;i%d;b%d;%b"
MICROSECOND = timedelta(microseconds=1)

# a row as SQLite gives it: text is left as bytes, so that what is checked is what was stored
Cell = bytes | int | float | None


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
        converted: the image holds the same pixels in another format than the file that ``sha256`` is of.
        expires_at: when it is to go, unless the gallery's own time comes first; None leaves it to the gallery.
        enrolled_at: when it was enrolled elsewhere; None for now.
    """

    item_id: str
    modality: Modality
    meta: ItemMeta
    sha256: str
    vector: Float32Array
    image: bytes | None = None
    thumbnail: bytes | None = None
    converted: bool = False
    expires_at: datetime | None = None
    enrolled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A stored item and the int64 id that is ours."""

    key: int
    item: Item


def tabled(batch: Sequence[Enrolment], first: int, enrolled: int) -> Table:
    """Return new items as columns.

    Args:
        batch: as ``limits.settle`` returns them.
        first: our id of the first; the others follow.
        enrolled: now, microseconds since 1970.
    """
    metas = [new.meta for new in batch]
    return Table(
        keys=np.arange(first, first + len(batch), dtype=np.int64),
        ids=[new.item_id for new in batch],
        modality=np.array([new.modality for new in batch], np.int64),
        persons=[meta.person for meta in metas],
        cameras=[meta.camera for meta in metas],
        time=_counted([meta.captured_at for meta in metas], NO_TIME),
        attributes=[
            json.dumps(dict(meta.attributes), sort_keys=True, ensure_ascii=False) if meta.attributes else ""
            for meta in metas
        ],
        sha256=np.frombuffer(bytes.fromhex("".join([new.sha256 for new in batch])), np.uint8).reshape(
            -1, SHA256_BYTES
        ),
        has_image=np.array([new.image is not None for new in batch], np.bool_),
        # another machine's clock may be ahead
        enrolled=np.minimum(_counted([new.enrolled_at for new in batch], enrolled), enrolled),
        expires=_counted([new.expires_at for new in batch], NEVER),
    )


def encoded(table: Table, vectors: Float32Array) -> Iterator[tuple[Cell, ...]]:
    """Return the cells of each item's row, its checksum last.

    Args:
        table: N items.
        vectors: of each, (N, D).
    """
    for at, (key, vector) in enumerate(zip(table.keys.tolist(), vectors, strict=True)):
        time, expires = int(table.time[at]), int(table.expires[at])
        cells: tuple[Cell, ...] = (
            key,
            table.ids[at].encode(),
            int(table.modality[at]),
            table.persons[at].encode(),
            table.cameras[at].encode(),
            None if time == NO_TIME else time,
            table.attributes[at].encode(),
            table.sha256[at].tobytes().hex().encode(),
            int(table.has_image[at]),
            int(table.enrolled[at]),
            vector.astype("<f4", copy=False).tobytes(),
            None if expires == NEVER else expires,
        )
        yield *cells, row_checksum(cells)


def item_of(table: Table, at: int) -> Item:
    """Return one of some items."""
    time, expires, attributes = int(table.time[at]), int(table.expires[at]), table.attributes[at]
    return Item(
        item_id=table.ids[at],
        modality=Modality(int(table.modality[at])),
        meta=ItemMeta(
            person=table.persons[at],
            camera=table.cameras[at],
            captured_at=None if time == NO_TIME else moment(time),
            attributes=json.loads(attributes) if attributes else NO_ATTRIBUTES,
        ),
        sha256=table.sha256[at].tobytes().hex(),
        has_image=bool(table.has_image[at]),
        enrolled_at=moment(int(table.enrolled[at])),
        expires_at=None if expires == NEVER else moment(expires),
    )


def decode(cells: Sequence[Cell], dim: int) -> tuple[Row, Float32Array] | None:
    """Return the item and its vector, (D,); None if the row is not as it was written."""
    *body, found = cells
    if found != row_checksum(body):
        return None
    (
        key,
        item_id,
        modality,
        person,
        camera,
        captured,
        attributes,
        sha256,
        has_image,
        enrolled,
        vector,
        expires,
    ) = body
    assert isinstance(key, int)
    assert isinstance(vector, bytes)
    assert isinstance(enrolled, int)
    if len(vector) != 4 * dim:
        return None
    item = Item(
        item_id=_text(item_id),
        modality=Modality.INFRARED if modality else Modality.VISIBLE,
        meta=ItemMeta(
            person=_text(person),
            camera=_text(camera),
            captured_at=moment(captured) if isinstance(captured, int) else None,
            attributes=json.loads(_text(attributes)) if attributes else NO_ATTRIBUTES,
        ),
        sha256=_text(sha256),
        has_image=bool(has_image),
        enrolled_at=moment(enrolled),
        expires_at=moment(expires) if isinstance(expires, int) else None,
    )
    return Row(key, item), np.frombuffer(vector, dtype="<f4")


def row_checksum(cells: Sequence[Any]) -> bytes:
    """Sum an item's cells up; one that never expires as it was before there was such a cell.

    The same as ``checksum``, in one go where every cell is of the kind that it is written with.
    """
    if cells[-1] is not None:
        return checksum(cells)
    key, item_id, modality, person, camera, captured, attributes, sha256, has_image, enrolled, vector, _ = (
        cells
    )
    numbers = (key, modality, has_image, enrolled, 0 if captured is None else captured)
    texts = (item_id, person, camera, attributes, sha256, vector)
    if not (set(map(type, numbers)) == {int} and set(map(type, texts)) == {bytes}):
        return checksum(cells[:-1])
    one, two, three, four, five, six = map(len, texts)
    when = b"n" if captured is None else b"i%d;" % captured
    told = WRITTEN % (
        key, one, item_id, modality, two, person, three, camera, when, four, attributes, five, sha256, has_image,
        enrolled, six, vector,
    )  # fmt: skip
    return hashlib.blake2b(told, digest_size=SUM_BYTES).digest()


def checksum(cells: Sequence[Cell]) -> bytes:
    """Sum cells up, each with its kind and length, so that nothing can move from one to the next."""
    return hashlib.blake2b(b"".join([_told(cell) for cell in cells]), digest_size=SUM_BYTES).digest()


def _told(cell: Cell) -> bytes:
    if isinstance(cell, bytes):
        return b"b%d;%b" % (len(cell), cell)
    if isinstance(cell, int):
        return b"i%d;" % cell
    return b"n" if cell is None else b"?"  # a number with a fraction: nothing that was ever written


def microseconds(when: datetime) -> int:
    """Count a time's microseconds since 1970, exactly."""
    return (when - EPOCH) // MICROSECOND


def moment(count: int) -> datetime:
    """Return the time of a count of microseconds, UTC."""
    return EPOCH + timedelta(microseconds=count)


def _counted(moments: Sequence[datetime | None], none: int) -> Int64Array:
    if not any(moments):
        return np.full(len(moments), none, np.int64)
    return np.array([none if when is None else microseconds(when) for when in moments], np.int64)


def _text(cell: Cell) -> str:
    assert isinstance(cell, bytes)
    return cell.decode()
