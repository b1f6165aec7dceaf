"""What filters read, as arrays: one row an item, in the order of our ids. Knows no vectors and no files."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from index.rows import Row, microseconds
from vireid.arrays import BoolArray, Int64Array
from vireid.types import Filter, Item

FIRST_CAPACITY = 1024
NO_TIME = np.iinfo(np.int64).min
COLUMNS = ("_keys", "_camera", "_person", "_modality", "_time", "_alive")


class Columns:
    """The items of a gallery, with cameras, persons, modalities, times and attributes ready to be filtered by."""

    def __init__(self) -> None:
        self._reset()

    def __len__(self) -> int:
        """Count the items."""
        return len(self._by_id)

    def add(self, row: Row) -> None:
        """Append an item; keys must rise and ids be new."""
        at, item, meta = self._count, row.item, row.item.meta
        if at == len(self._keys):
            self._grow()
        self._keys[at] = row.key
        self._camera[at] = self._cameras.setdefault(meta.camera, len(self._cameras))
        self._person[at] = self._persons.setdefault(meta.person, len(self._persons))
        self._modality[at] = int(item.modality)
        self._time[at] = NO_TIME if meta.captured_at is None else microseconds(meta.captured_at)
        self._alive[at] = True
        for pair in meta.attributes.items():
            self._attributes.setdefault(pair, array("q")).append(at)
        self._items.append(item)
        self._by_id[item.item_id] = at
        self._count += 1

    def drop(self, keys: Iterable[int]) -> None:
        """Forget items."""
        for key in keys:
            at = int(np.searchsorted(self._keys[: self._count], key))
            item = self._items[at]
            assert item is not None
            del self._by_id[item.item_id]
            self._alive[at] = False
            self._items[at] = None
        if self._count > FIRST_CAPACITY and 2 * len(self) < self._count:
            self._close_up()

    def key(self, item_id: str) -> int | None:
        """Return our id of an item, None if there is no such item."""
        at = self._by_id.get(item_id)
        return None if at is None else int(self._keys[at])

    def find(self, item_id: str) -> Item | None:
        """Return an item by its own id, None if there is no such item."""
        at = self._by_id.get(item_id)
        return None if at is None else self._items[at]

    def items(self, keys: Int64Array) -> list[Item]:
        """Return items by our ids, all of which must be held."""
        found = []
        for at in np.searchsorted(self._keys[: self._count], keys):
            item = self._items[at]
            assert item is not None
            found.append(item)
        return found

    def passing(self, where: Filter) -> Int64Array:
        """Return our ids of the items that pass a filter, ascending."""
        n = self._count
        passes = self._alive[:n].copy()
        if where.cameras:
            passes &= _chosen(self._cameras, where.cameras)[self._camera[:n]]
        if where.exclude_cameras:
            passes &= ~_chosen(self._cameras, where.exclude_cameras)[self._camera[:n]]
        if where.persons:
            passes &= _chosen(self._persons, where.persons)[self._person[:n]]
        if where.modalities:
            passes &= np.isin(self._modality[:n], [int(modality) for modality in where.modalities])
        self._restrict_times(passes, where)
        for pair in where.attributes.items():
            having = np.zeros(n, np.bool_)
            having[np.array(self._attributes.get(pair, ()), np.int64)] = True
            passes &= having
        for item_id in where.exclude_items:
            if item_id in self._by_id:
                passes[self._by_id[item_id]] = False
        return self._keys[:n][passes]

    def labelled(self) -> Int64Array:
        """Return our ids of the items that have a person, ascending."""
        n = self._count
        return self._keys[:n][self._alive[:n] & ~_chosen(self._persons, [""])[self._person[:n]]]

    def images(self, keys: Int64Array) -> int:
        """Count the images kept with some items."""
        return sum(item.has_image for item in self.items(keys))

    def cameras(self) -> dict[str, int]:
        """Count the items by camera, those that have none aside."""
        n = self._count
        counts = np.bincount(self._camera[:n][self._alive[:n]], minlength=len(self._cameras))
        return {
            name: int(counts[code]) for name, code in sorted(self._cameras.items()) if name and counts[code]
        }

    def modalities(self, keys: Int64Array | None = None) -> Int64Array:
        """Count some items by modality, or all of them, (2,)."""
        n = self._count
        chosen = self._alive[:n] if keys is None else np.searchsorted(self._keys[:n], keys)
        return np.bincount(self._modality[:n][chosen], minlength=2)

    def _restrict_times(self, passes: BoolArray, where: Filter) -> None:
        time = self._time[: self._count]
        if where.captured_from is not None or where.captured_to is not None:
            passes &= time != NO_TIME
        if where.captured_from is not None:
            passes &= time >= microseconds(where.captured_from)
        if where.captured_to is not None:
            passes &= time < microseconds(where.captured_to)

    def _reset(self) -> None:
        self._count = 0
        self._items: list[Item | None] = []
        self._by_id: dict[str, int] = {}
        self._cameras: dict[str, int] = {}
        self._persons: dict[str, int] = {}
        self._attributes: dict[tuple[str, str], array[int]] = {}
        self._keys: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._camera: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._person: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._modality: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._time: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._alive: BoolArray = np.zeros(FIRST_CAPACITY, np.bool_)

    def _grow(self) -> None:
        for name in COLUMNS:
            old = getattr(self, name)
            new = np.zeros(2 * len(old), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def _close_up(self) -> None:
        rows = [
            Row(int(key), item)
            for key, item in zip(self._keys[: self._count], self._items, strict=True)
            if item is not None
        ]
        self._reset()
        for row in rows:
            self.add(row)


def _chosen(codes: dict[str, int], names: Sequence[str]) -> BoolArray:
    """Return for each code whether its name is among some."""
    chosen = np.zeros(max(len(codes), 1), np.bool_)
    chosen[[codes[name] for name in names if name in codes]] = True
    return chosen
