"""What filters read, as arrays: one row an item, in the order of our ids. Knows no vectors and no files.

An item is kept as numbers and codes and made when it is asked for: a million of them start in a second.
"""

import json
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from index.codes import Codes
from index.rows import microseconds, moment
from index.table import NEVER, NO_TIME, SHA256_BYTES, Table
from vireid.arrays import BoolArray, Int64Array, UInt8Array
from vireid.types import NO_ATTRIBUTES, Filter, Item, ItemMeta, Modality

HOUR_US, HOURS = 3_600_000_000, 24
FIRST_CAPACITY = 1024
MICROSECONDS = 1_000_000
COLUMNS = (
    "_keys",
    "_camera",
    "_person",
    "_modality",
    "_time",
    "_described",
    "_sha256",
    "_has_image",
    "_enrolled",
    "_asked",
    "_expires",
    "_alive",
)


def now() -> int:
    """Return the time, microseconds since 1970."""
    return time.time_ns() // 1000


def gone_at(asked: Int64Array, enrolled: Int64Array, retention_s: int) -> Int64Array:
    """Return when items go, (N,), microseconds since 1970.

    Args:
        asked: when they go by their own word, ``NEVER`` if they say nothing, (N,).
        enrolled: when they came, (N,).
        retention_s: how long after that they go, or earlier where they say so; 0 sets no time.
    """
    return np.minimum(asked, enrolled + retention_s * MICROSECONDS) if retention_s else asked


class Columns:
    """The items of a gallery, with cameras, persons, modalities, times and attributes ready to be filtered by.

    Items whose time has come are held until they are dropped, and shown to nobody.
    """

    def __init__(self) -> None:
        self._count, self._first_expiry, self._retention_s = 0, NEVER, 0
        self._reset()

    def __len__(self) -> int:
        """Count the items held."""
        return len(self._by_id)

    def extend(self, table: Table) -> None:
        """Append items; keys must rise and ids be new."""
        start, stop = self._count, self._count + len(table)
        while stop > len(self._keys):
            self._grow()
        here = slice(start, stop)
        self._keys[here] = table.keys
        self._camera[here] = self._cameras.of(table.cameras)
        self._person[here] = self._persons.of(table.persons)
        self._modality[here] = table.modality
        self._time[here] = table.time
        self._described[here] = self._descriptions(table.attributes, start)
        self._sha256[here] = table.sha256
        self._has_image[here] = table.has_image
        self._enrolled[here] = table.enrolled
        self._asked[here] = table.expires
        self._expires[here] = gone_at(table.expires, table.enrolled, self._retention_s)
        self._alive[here] = True
        self._ids.extend(table.ids)
        self._by_id.update(zip(table.ids, range(start, stop), strict=True))
        self._first_expiry = min(self._first_expiry, int(self._expires[here].min(initial=NEVER)))
        self._count = stop

    def retain(self, seconds: int) -> None:
        """Let every item expire so long after its enrolment, or earlier where it says so; 0 sets no time."""
        self._retention_s = seconds
        here = slice(self._count)
        self._expires[here] = gone_at(self._asked[here], self._enrolled[here], self._retention_s)
        self._first_expiry = int(self._expires[here][self._alive[here]].min(initial=NEVER))

    def drop(self, keys: Iterable[int]) -> None:
        """Forget items."""
        for at in np.searchsorted(self._keys[: self._count], np.fromiter(keys, np.int64)).tolist():
            del self._by_id[self._ids[at]]
            self._alive[at] = False
            self._ids[at] = ""
        if self._count > FIRST_CAPACITY and 2 * len(self) < self._count:
            self._close_up()

    def table(self) -> Table:
        """Return all items held."""
        at = np.flatnonzero(self._alive[: self._count])
        return Table(
            keys=self._keys[at],
            ids=[self._ids[one] for one in at.tolist()],
            modality=self._modality[at],
            persons=[self._persons.words[code] for code in self._person[at].tolist()],
            cameras=[self._cameras.words[code] for code in self._camera[at].tolist()],
            time=self._time[at],
            attributes=[self._texts.words[code] for code in self._described[at].tolist()],
            sha256=self._sha256[at],
            has_image=self._has_image[at],
            enrolled=self._enrolled[at],
            expires=self._asked[at],
        )

    def key(self, item_id: str) -> int | None:
        """Return our id of an item, one whose time has come too; None if there is no such item."""
        at = self._by_id.get(item_id)
        return None if at is None else int(self._keys[at])

    def held(self, ids: Iterable[str]) -> set[str]:
        """Return those of some ids that are held, of items whose time has come too."""
        return self._by_id.keys() & ids

    def expiry(self, item_id: str) -> int:
        """Return when an item that is held goes by its own word, microseconds since 1970; ``NEVER`` if it says nothing."""
        return int(self._asked[self._by_id[item_id]])

    def find(self, item_id: str) -> Item | None:
        """Return an item by its own id, None if there is no such item."""
        at = self._by_id.get(item_id)
        return None if at is None or self._expires[at] <= now() else self._item(at)

    def items(self, keys: Int64Array) -> list[Item]:
        """Return items by our ids, all of which must be held."""
        return [self._item(at) for at in np.searchsorted(self._keys[: self._count], keys).tolist()]

    def shown(self) -> int:
        """Count the items whose time has not come."""
        return len(self) if now() < self._first_expiry else int(self._visible().sum())

    def expired(self) -> Int64Array:
        """Return our ids of the items whose time has come, ascending."""
        n = self._count
        return self._keys[:n][self._alive[:n] & (self._expires[:n] <= now())]

    def passing(self, where: Filter) -> Int64Array:
        """Return our ids of the items that pass a filter, ascending."""
        n = self._count
        passes = self._visible()
        if where.cameras:
            passes &= self._cameras.chosen(where.cameras)[self._camera[:n]]
        if where.exclude_cameras:
            passes &= ~self._cameras.chosen(where.exclude_cameras)[self._camera[:n]]
        if where.persons:
            passes &= self._persons.chosen(where.persons)[self._person[:n]]
        if where.modalities:
            passes &= np.isin(self._modality[:n], [int(modality) for modality in where.modalities])
        self._restrict_times(passes, where)
        for pair in where.attributes.items():
            having = np.zeros(n, np.bool_)
            having[np.array(self._having.get(pair, ()), np.int64)] = True
            passes &= having
        for item_id in where.exclude_items:
            if item_id in self._by_id:
                passes[self._by_id[item_id]] = False
        return self._keys[:n][passes]

    def labelled(self) -> Int64Array:
        """Return our ids of the items that have a person, ascending."""
        n = self._count
        return self._keys[:n][self._visible() & ~self._persons.chosen([""])[self._person[:n]]]

    def images(self, keys: Int64Array | None = None) -> int:
        """Count the images kept with some items, or with all of them."""
        n = self._count
        chosen = self._alive[:n] if keys is None else np.searchsorted(self._keys[:n], keys)
        return int(self._has_image[:n][chosen].sum())

    def cameras(self, keys: Int64Array | None = None) -> dict[str, int]:
        """Count some items by camera, or all of them, those that have none aside."""
        counts = np.bincount(self._camera[: self._count][self._among(keys)], minlength=len(self._cameras))
        return {
            name: int(count)
            for name, count in sorted(zip(self._cameras.words, counts.tolist(), strict=True))
            if name and count
        }

    def hours(self, keys: Int64Array | None = None) -> dict[str, int]:
        """Count some items by the hour of the day they were captured in, UTC, those without a time aside."""
        time = self._time[: self._count][self._among(keys)]
        counts = np.bincount(time[time != NO_TIME] // HOUR_US % HOURS, minlength=HOURS)
        return {f"{hour:02}": int(count) for hour, count in enumerate(counts.tolist()) if count}

    def modalities(self, keys: Int64Array | None = None) -> Int64Array:
        """Count some items by modality, or all of them, (2,)."""
        return np.bincount(self._modality[: self._count][self._among(keys)], minlength=2)

    def _among(self, keys: Int64Array | None) -> BoolArray | Int64Array:
        return self._visible() if keys is None else np.searchsorted(self._keys[: self._count], keys)

    def _visible(self) -> BoolArray:
        n, moment_now = self._count, now()
        alive = self._alive[:n]
        return alive.copy() if moment_now < self._first_expiry else alive & (self._expires[:n] > moment_now)

    def _restrict_times(self, passes: BoolArray, where: Filter) -> None:
        time = self._time[: self._count]
        if where.captured_from is not None or where.captured_to is not None:
            passes &= time != NO_TIME
        if where.captured_from is not None:
            passes &= time >= microseconds(where.captured_from)
        if where.captured_to is not None:
            passes &= time < microseconds(where.captured_to)

    def _item(self, at: int) -> Item:
        captured, expires = int(self._time[at]), int(self._expires[at])
        return Item(
            item_id=self._ids[at],
            modality=Modality.INFRARED if self._modality[at] else Modality.VISIBLE,
            meta=ItemMeta(
                person=self._persons.words[self._person[at]],
                camera=self._cameras.words[self._camera[at]],
                captured_at=None if captured == NO_TIME else moment(captured),
                attributes=self._attributes[self._described[at]],
            ),
            sha256=self._sha256[at].tobytes().hex(),
            has_image=bool(self._has_image[at]),
            enrolled_at=moment(int(self._enrolled[at])),
            expires_at=None if expires == NEVER else moment(expires),
        )

    def _descriptions(self, texts: Sequence[str], start: int) -> Int64Array:
        """Number the attributes of new items and note who has which."""
        codes = self._texts.of(texts)
        for text in self._texts.words[len(self._attributes) :]:
            self._attributes.append(MappingProxyType(json.loads(text)) if text else NO_ATTRIBUTES)
        for at, code in enumerate(codes.tolist(), start):
            if self._attributes[code]:
                for pair in self._attributes[code].items():
                    self._having.setdefault(pair, array("q")).append(at)
        return codes

    def _reset(self) -> None:
        self._count = 0
        self._ids: list[str] = []
        self._by_id: dict[str, int] = {}
        self._cameras: Codes = Codes()
        self._persons: Codes = Codes()
        self._texts: Codes = Codes()
        self._attributes: list[Mapping[str, str]] = []  # by the codes of their texts
        self._having: dict[tuple[str, str], array[int]] = {}
        self._first_expiry = NEVER
        self._keys: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._camera: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._person: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._modality: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._time: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._described: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._sha256: UInt8Array = np.empty((FIRST_CAPACITY, SHA256_BYTES), np.uint8)
        self._has_image: BoolArray = np.zeros(FIRST_CAPACITY, np.bool_)
        self._enrolled: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._asked: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._expires: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._alive: BoolArray = np.zeros(FIRST_CAPACITY, np.bool_)

    def _grow(self) -> None:
        for name in COLUMNS:
            old = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def _close_up(self) -> None:
        table = self.table()
        self._reset()
        self.extend(table)
