"""The half of a gallery that is asked: descriptions, items, pictures, vectors, search. Changes nothing.

``index.gallery.Gallery`` is the other half. Readers see a whole state and never wait for the disk, but for what only
the disk holds: pictures, and the embeddings of a centred gallery as they came.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from index import limits, snapshots
from index.answers import Found, Labelled
from index.centres import Centres
from index.gate import Gate
from index.holdings import Holdings
from index.records import Records
from vireid.arrays import Float32Array
from vireid.errors import GalleryNotFound, StorageError, VireidError
from vireid.types import Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

Stored = TypeVar("Stored")


class Readable:
    """What any thread may ask of a gallery at any time; made by ``index.gallery.Gallery`` alone."""

    _records: Records
    _holdings: Holdings
    _info: GalleryInfo
    _gate: Gate
    _writer: threading.Lock
    _failure: StorageError | None
    _snapshots: Path
    _lost: int

    @property
    def records(self) -> Records:
        """Its file, for work that goes on beside the gallery's own.

        Raises:
            GalleryNotFound, StorageError: it was closed or deleted, or has failed.
        """
        self._gate.check()
        return self._records

    @property
    def space_id(self) -> str:
        """The embedding space it is bound to."""
        return self._records.head.space_id

    @property
    def centres(self) -> Centres | None:
        """What queries are to be brought to; None where they are searched with as they were embedded."""
        return self._holdings.centres

    def info(self) -> GalleryInfo:
        """Describe the gallery as the last change left it, a failed one too; waits for nobody."""
        if self._failure is None:
            self._gate.check()
        return self._info

    def holds(
        self,
        item_id: str,
        sha256: str,
        modality: Modality | None,
        meta: ItemMeta,
        expires_at: datetime | None = None,
    ) -> Item | None:
        """Return the item if the very same image and metadata are there already, and its image if it is to be kept.

        Args:
            item_id: the operator's id.
            sha256: hex digest of the encoded image.
            modality: None accepts whatever was decided then.
            meta: what is known of it.
            expires_at: when it is to go by its own word; None accepts any.
        """
        with self._gate.reading():
            keeps_image = self._records.head.stores_images
            return self._holdings.same(item_id, sha256, modality, meta, expires_at, keeps_image)

    def search(  # noqa: PLR0913 - one for each thing that a search may say
        self,
        queries: Float32Array,
        k: int,
        filter: Filter = Filter(),  # noqa: A002, B008 - the domain's word; a frozen value
        min_score: float | None = None,
        detailed: bool = False,
        centring: int = 0,
        together: bool = False,
    ) -> list[Found]:
        """Find the most similar items among those that pass the filter, all of them where the backend is exact.

        Args:
            queries: unit rows, (Q, D); of a centred gallery, brought to its centres by ``centres``.
            k: hits at most, 1 to 1000.
            filter: which items may be hit.
            min_score: hits below this cosine are left out.
            detailed: return the hits' vectors too, as searched, and how many items of each modality were searched.
            centring: the number of the centres that the queries were brought to, 0 for none.
            together: the queries show one person; each item counts with its best score with any of them.

        Returns:
            For each query its hits, or those of all queries together, best first; equal scores in the order of enrolment.

        Raises:
            InvalidRequest: ``k``, the filter, ``min_score`` or a query is out of range.
            EmbeddingNotFinite: NaN or infinity in a query.
            FailedPrecondition: the gallery is centred otherwise by now (reason ``CENTRING_CHANGED``).
        """
        with self._gate.reading():
            found = self._holdings.search(queries, k, filter, min_score, detailed, centring, together)
        return [replace(one, lost=self._lost) for one in found] if self._lost else found

    def item(self, item_id: str) -> Item:
        """Describe an item.

        Raises:
            ItemNotFound: no such item.
        """
        with self._gate.reading():
            return self._holdings.held(item_id)[1]

    def vector(self, item_id: str) -> Float32Array:
        """Return an item's embedding as it came, (D,), whatever the gallery is centred by.

        Raises:
            ItemNotFound: no such item.
            DataLoss: it is damaged.
        """
        return self.embedded(item_id)[1]

    def embedded(self, item_id: str) -> tuple[Item, Float32Array]:
        """Describe an item, with its embedding as it came, (D,): both of one moment.

        Raises:
            ItemNotFound: no such item.
            DataLoss: it is damaged.
        """
        with self._gate.reading():
            key, item = self._holdings.held(item_id)
            if self._holdings.centres is None:
                return item, self._holdings.vectors(np.array([key], np.int64))[0]

        def read(key: int, item: Item) -> tuple[Item, Float32Array] | None:
            vector = self._records.vector(key, item.item_id)
            return None if vector is None else (item, vector)

        return self._stored(item_id, read)

    def image(self, item_id: str) -> bytes:
        """Return an item's encoded image.

        Raises:
            ItemNotFound: no such item.
            ImageNotStored: it was not kept.
            DataLoss: it is damaged.
        """
        return self._stored(item_id, self._records.pictures.image)

    def thumbnail(self, item_id: str) -> bytes:
        """Return an item's thumbnail, a JPEG.

        Raises:
            ItemNotFound: no such item.
            ImageNotStored: there is none.
            DataLoss: it is damaged.
        """
        return self._stored(item_id, self._records.pictures.thumbnail)

    def items(
        self,
        filter: Filter = Filter(),  # noqa: A002, B008 - the domain's word; a frozen value
        limit: int = 100,
        cursor: str = "",
    ) -> tuple[list[Item], str]:
        """List items in the order they were enrolled.

        Args:
            filter: which items.
            limit: at most this many, 1 to 1000.
            cursor: where the last page ended, empty for the first.

        Returns:
            The items, and the cursor of the next page, empty after the last.

        Raises:
            InvalidRequest: the filter, the limit or the cursor is malformed.
        """
        limits.check_filter(filter)
        after = limits.check_page(limit, cursor)
        with self._gate.reading():
            return self._holdings.page(filter, limit, after)

    def snapshots(self) -> list[Snapshot]:
        """Describe its snapshots, oldest first; waits for nobody."""
        self._gate.check()
        return snapshots.told(self._snapshots)

    def facets(
        self,
        filter: Filter = Filter(),  # noqa: A002, B008 - the domain's word; a frozen value
    ) -> dict[str, dict[str, int]]:
        """Count the items that pass a filter by camera, modality and hour of the day.

        Raises:
            InvalidRequest: the filter is malformed.
        """
        limits.check_filter(filter)
        with self._gate.reading():
            return self._holdings.facets(filter)

    def labelled(self) -> Labelled:
        """Return every item that has a person, with its embedding as it came.

        Raises:
            DataLoss: one is damaged.
        """
        with self._gate.reading():
            found = self._holdings.labelled()
            if found.centres is None:
                return found
        with self._writer, self._gate.reading():  # no item is replaced between its name and its vector
            found = self._holdings.labelled()
            if found.centres is None:
                return found
            # one whose time has come meanwhile is still there
            keys, held = self._holdings.keys(found.item_ids), 0
            rows = np.empty((len(keys), self._records.head.dim), np.float32)
            for table, vectors in self._records.chunks():  # of a parcel all at once
                some = vectors[np.isin(table.keys, keys)]
                rows[held : held + len(some)] = some
                held += len(some)
        if held < len(keys):
            raise self._records.damaged(f"{len(keys) - held} of its items have vanished")
        return replace(found, vectors=rows)

    def _described(self, failure: str = "") -> GalleryInfo:
        centres = self._holdings.centres
        described = self._records.head.described(failure)
        return replace(described, centring=None if centres is None else centres.told, lost=self._lost)

    def _refusal(self) -> VireidError:
        if (failed := self._failure) is not None:
            return StorageError(failed.message, reason=failed.stable_reason, metadata=failed.metadata)
        name = self._records.head.name
        return GalleryNotFound(f"gallery {name!r} was closed or deleted", metadata={"gallery": name})

    def _stored(self, item_id: str, read: Callable[[int, Item], Stored | None]) -> Stored:
        with self._gate.reading():
            found = read(*self._holdings.held(item_id))
        if found is None:
            # the item was just replaced or removed, in the file and not here yet: wait for the writer
            with self._writer, self._gate.reading():
                found = read(*self._holdings.held(item_id))
        if found is None:
            raise self._records.damaged(f"what belongs to item {item_id!r} has vanished")
        return found
