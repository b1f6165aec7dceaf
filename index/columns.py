"""What filters read, as arrays: one row an item, in the order of our ids. Knows no vectors and no files."""

from collections.abc import Iterable

import numpy as np

from vireid.arrays import BoolArray, Float64Array, Int64Array
from vireid.types import Filter, Item

FIRST_CAPACITY = 1024


class Columns:
    """Cameras, persons, modalities and times of the items of a gallery."""

    def __init__(self) -> None:
        self._count = 0
        self._items: list[Item | None] = []
        self._places: dict[int, int] = {}
        self._keys: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._camera: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._person: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._modality: Int64Array = np.empty(FIRST_CAPACITY, np.int64)
        self._time: Float64Array = np.empty(FIRST_CAPACITY, np.float64)
        self._alive: BoolArray = np.zeros(FIRST_CAPACITY, np.bool_)
        self._cameras: dict[str, int] = {}
        self._persons: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the items."""
        return len(self._places)

    def add(self, key: int, item: Item) -> None:
        """Append an item; keys must rise."""
        if self._count == len(self._keys):
            self._grow()
        at = self._count
        meta = item.meta
        self._keys[at] = key
        self._camera[at] = self._cameras.setdefault(meta.camera, len(self._cameras))
        self._person[at] = self._persons.setdefault(meta.person, len(self._persons))
        self._modality[at] = int(item.modality)
        self._time[at] = np.nan if meta.captured_at is None else meta.captured_at.timestamp()
        self._alive[at] = True
        self._items.append(item)
        self._places[key] = at
        self._count += 1

    def drop(self, key: int) -> None:
        """Forget an item."""
        at = self._places.pop(key)
        self._alive[at] = False
        self._items[at] = None
        if self._count > FIRST_CAPACITY and len(self._places) * 2 < self._count:
            self._compact()

    def item(self, key: int) -> Item:
        """Return an item by our id."""
        item = self._items[self._places[key]]
        assert item is not None
        return item

    def items(self) -> Iterable[Item]:
        """Go through all items."""
        return (item for item in self._items if item is not None)

    def keys(self) -> Int64Array:
        """Return all our ids, ascending."""
        return self._keys[: self._count][self._alive[: self._count]]

    def passing(self, where: Filter) -> Int64Array:
        """Return our ids of the items that pass a filter, ascending."""
        n = self._count
        passes = self._alive[:n].copy()
        if where.cameras:
            passes &= np.isin(self._camera[:n], _codes(self._cameras, where.cameras))
        if where.exclude_cameras:
            passes &= ~np.isin(self._camera[:n], _codes(self._cameras, where.exclude_cameras))
        if where.persons:
            passes &= np.isin(self._person[:n], _codes(self._persons, where.persons))
        if where.modalities:
            passes &= np.isin(self._modality[:n], [int(modality) for modality in where.modalities])
        # a comparison with NaN is false, so items without a time never pass
        if where.captured_from is not None:
            passes &= self._time[:n] >= where.captured_from.timestamp()
        if where.captured_to is not None:
            passes &= self._time[:n] < where.captured_to.timestamp()
        if where.attributes or where.exclude_items:
            for at in np.flatnonzero(passes):
                passes[at] = _agrees(self._items[at], where)
        return self._keys[:n][passes]

    def _grow(self) -> None:
        for name in ("_keys", "_camera", "_person", "_modality", "_time", "_alive"):
            old = getattr(self, name)
            new = np.zeros(2 * len(old), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def _compact(self) -> None:
        stay = np.flatnonzero(self._alive[: self._count])
        for name in ("_keys", "_camera", "_person", "_modality", "_time"):
            column = getattr(self, name)
            column[: len(stay)] = column[stay]
        self._alive[:] = False
        self._alive[: len(stay)] = True
        self._items = [self._items[at] for at in stay]
        self._count = len(stay)
        self._places = {int(key): at for at, key in enumerate(self._keys[: self._count])}


def _codes(known: dict[str, int], names: Iterable[str]) -> list[int]:
    return [known[name] for name in names if name in known]


def _agrees(item: Item | None, where: Filter) -> bool:
    assert item is not None
    if item.item_id in where.exclude_items:
        return False
    return all(item.meta.attributes.get(key) == value for key, value in where.attributes.items())
