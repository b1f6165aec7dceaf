"""A gallery: durable records, a vector index over them, and filtered exact search.

The SQLite file is the truth; the index and the columns that filters read are rebuilt from it at every start.
One writer at a time, readers see a whole state. Knows no images and no model.
"""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from index.backend import Backend
from index.columns import Columns
from index.exact import ExactBackend, check_finite
from index.faiss_cpu import FaissBackend
from index.records import Enrolment, Records, Row
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import InvalidRequest, ItemNotFound
from vireid.types import Filter, GalleryInfo, Hit, Item, ItemMeta, Modality

BACKENDS: dict[str, Callable[[int], Backend]] = {"faiss": FaissBackend, "exact": ExactBackend}
ITEM_ID = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
MAX_TOP_K = 1000
MAX_PAGE = 1000
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query row.

    Attributes:
        hits: best first.
        items_total: items in the gallery.
        items_searched: items that pass the filter, all of which were compared.
        version: the gallery's version that was searched.
    """

    hits: tuple[Hit, ...]
    items_total: int
    items_searched: int
    version: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a removal took away, or would take."""

    items: int
    images: int
    vectors: int
    version: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """Every item that has a person, for evaluation.

    Attributes:
        item_ids: N ids.
        persons: N names.
        cameras: N names.
        modalities: (N,).
        vectors: unit rows, (N, D).
    """

    item_ids: tuple[str, ...]
    persons: tuple[str, ...]
    cameras: tuple[str, ...]
    modalities: Int64Array
    vectors: Float32Array


class Gallery:
    """One gallery.

    Args:
        path: its SQLite file.
        backend: ``faiss`` or ``exact``.

    Raises:
        DataLoss: the file is damaged.
    """

    def __init__(self, path: Path, backend: str = "faiss") -> None:
        self._records = Records(path)
        facts = self._records.facts
        self._name: str = facts["name"]
        self._space_id: str = facts["space_id"]
        self._dim = int(facts["dim"])
        self._stores_images = facts["stores_images"] == "1"
        self._lock = threading.RLock()
        self._backend: Backend = BACKENDS[backend](self._dim)
        self._columns = Columns()
        self._keys: dict[str, int] = {}
        self._take_in(list(self._records.vectors(self._dim)))
        self._version = self._records.version

    @property
    def space_id(self) -> str:
        """The embedding space it is bound to."""
        return self._space_id

    def close(self) -> None:
        """Close the file; nothing can be asked afterwards."""
        with self._lock:
            self._records.close()

    def info(self) -> GalleryInfo:
        """Describe the gallery."""
        with self._lock:
            return GalleryInfo(
                name=self._name,
                space_id=self._space_id,
                dim=self._dim,
                items=len(self._columns),
                version=self._version,
                stores_images=self._stores_images,
            )

    def enroll(self, batch: Sequence[Enrolment]) -> list[str]:
        """Store items, durable on return, all or none.

        Args:
            batch: items; an id that comes twice keeps the last.

        Returns:
            ``created``, ``replaced`` or ``unchanged`` for each.

        Raises:
            InvalidRequest: a malformed id or vector; nothing was stored.
            EmbeddingNotFinite: NaN or infinity in a vector; nothing was stored.
            StorageError: the disk is full; nothing was stored.
        """
        for new in batch:
            self._check(new)
        with self._lock:
            outcomes = []
            todo: dict[str, Enrolment] = {}
            for new in batch:
                known = new.item_id in self._keys or new.item_id in todo
                if new.item_id not in todo and self.holds(new.item_id, new.sha256, new.modality, new.meta):
                    outcomes.append("unchanged")
                    continue
                outcomes.append("replaced" if known else "created")
                todo[new.item_id] = self._kept(new)
            if todo:
                added, replaced = self._records.put(list(todo.values()))
                self._drop(replaced)
                self._take_in(added)
                self._version = self._records.version
            return outcomes

    def holds(self, item_id: str, sha256: str, modality: Modality | None, meta: ItemMeta) -> bool:
        """Say whether the very same image and metadata are there already.

        Args:
            item_id: the operator's id.
            sha256: hex digest of the encoded image.
            modality: None accepts whatever was decided then.
            meta: what is known of it.
        """
        with self._lock:
            key = self._keys.get(item_id)
            if key is None:
                return False
            item = self._columns.item(key)
            same = item.sha256 == sha256 and item.meta == meta
            return same and modality in (None, item.modality)

    def search(
        self,
        queries: Float32Array,
        k: int,
        filter: Filter = Filter(),  # noqa: A002, B008 - the domain's word; a frozen value
        min_score: float | None = None,
    ) -> list[Found]:
        """Find the most similar items, exactly, among those that pass the filter.

        Args:
            queries: unit rows, (Q, D).
            k: hits at most, 1 to 1000.
            filter: which items may be hit.
            min_score: hits below this cosine are left out.

        Raises:
            InvalidRequest: ``k`` or a shape is out of range.
            EmbeddingNotFinite: NaN or infinity in a query.
        """
        self.check_top_k(k)
        if queries.ndim != 2 or queries.shape[1] != self._dim:
            raise InvalidRequest(
                f"found queries {queries.shape}; expected (Q, {self._dim})", field="embedding"
            )
        with self._lock:
            allow = None if filter.is_empty else self._columns.passing(filter)
            scores, keys = self._backend.search(queries, k, allow)
            searched = len(self._columns) if allow is None else len(allow)
            return [
                Found(self._hits(row, found, min_score), len(self._columns), searched, self._version)
                for row, found in zip(scores, keys, strict=True)
            ]

    @staticmethod
    def check_top_k(k: int) -> None:
        """Refuse a number of hits that is out of range, before any work is done for it.

        Raises:
            InvalidRequest: ``k`` is not 1 to 1000.
        """
        if not 1 <= k <= MAX_TOP_K:
            raise InvalidRequest(
                f"top_k is {k}; expected 1 to {MAX_TOP_K}",
                field="top_k",
                reason="TOP_K_OUT_OF_RANGE",
                metadata={"limit": str(MAX_TOP_K)},
            )

    def item(self, item_id: str) -> Item:
        """Describe an item.

        Raises:
            ItemNotFound: no such item.
        """
        with self._lock:
            return self._columns.item(self._key(item_id))

    def vector(self, item_id: str) -> Float32Array:
        """Return an item's embedding, (D,).

        Raises:
            ItemNotFound: no such item.
        """
        with self._lock:
            self._key(item_id)
            return self._records.vector(item_id, self._dim)

    def image(self, item_id: str) -> bytes:
        """Return an item's encoded image.

        Raises:
            ItemNotFound: no such item.
            ImageNotStored: it was not kept.
        """
        return self._records.picture(item_id, "image")

    def thumbnail(self, item_id: str) -> bytes:
        """Return an item's thumbnail, a JPEG.

        Raises:
            ItemNotFound: no such item.
            ImageNotStored: it was not kept.
        """
        return self._records.picture(item_id, "thumbnail")

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
            InvalidRequest: the limit or the cursor is malformed.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit is {limit}; expected 1 to {MAX_PAGE}", field="limit")
        if cursor and not cursor.isdecimal():
            raise InvalidRequest(f"found cursor {cursor!r}; expected one that a listing gave", field="cursor")
        after = int(cursor or 0)
        with self._lock:
            keys = self._columns.passing(filter)
            page = keys[np.searchsorted(keys, after, side="right") :][: limit + 1]
            items = [self._columns.item(int(key)) for key in page[:limit]]
            return items, str(page[limit - 1]) if len(page) > limit else ""

    def every_item(self) -> list[Item]:
        """Return all items in the order they were enrolled."""
        with self._lock:
            return list(self._columns.items())

    def facets(self) -> dict[str, dict[str, int]]:
        """Count the items by camera and by modality."""
        with self._lock:
            cameras: dict[str, int] = {}
            modalities: dict[str, int] = {}
            for item in self._columns.items():
                cameras[item.meta.camera] = cameras.get(item.meta.camera, 0) + 1
                modalities[item.modality.word] = modalities.get(item.modality.word, 0) + 1
        cameras.pop("", None)
        return {"cameras": dict(sorted(cameras.items())), "modalities": dict(sorted(modalities.items()))}

    def remove(
        self,
        ids: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002 - the domain's word
        dry_run: bool = False,
    ) -> Receipt:
        """Remove items by id or by filter, durable on return; ids not held are ignored.

        Raises:
            InvalidRequest: neither or both of ids and filter, or a filter that restricts nothing.
        """
        if (ids is None) == (filter is None):
            raise InvalidRequest("give item ids or a filter, one of the two", field="selector")
        if filter is not None and filter.is_empty:
            raise InvalidRequest(
                "an empty filter would remove everything; delete the gallery instead", field="filter"
            )
        with self._lock:
            if ids is not None:
                keys = [self._keys[item_id] for item_id in dict.fromkeys(ids) if item_id in self._keys]
            else:
                assert filter is not None
                keys = [int(key) for key in self._columns.passing(filter)]
            if dry_run or not keys:
                images = sum(self._columns.item(key).has_image for key in keys)
                return Receipt(len(keys), images, len(keys), self._version)
            items, images = self._records.remove(keys)
            vectors = self._drop(keys)
            self._version = self._records.version
            return Receipt(items, images, vectors, self._version)

    def labelled(self) -> Labelled:
        """Return every item that has a person, with its embedding."""
        with self._lock:
            known = [
                (row.item, vector) for row, vector in self._records.vectors(self._dim) if row.item.meta.person
            ]
        items = [item for item, _ in known]
        vectors = [vector for _, vector in known]
        return Labelled(
            tuple(item.item_id for item in items),
            tuple(item.meta.person for item in items),
            tuple(item.meta.camera for item in items),
            np.array([int(item.modality) for item in items], np.int64),
            np.stack(vectors) if vectors else np.empty((0, self._dim), np.float32),
        )

    def _key(self, item_id: str) -> int:
        if item_id not in self._keys:
            raise ItemNotFound(
                f"there is no item {item_id!r} in gallery {self._name!r}", metadata={"item": item_id}
            )
        return self._keys[item_id]

    def _check(self, new: Enrolment) -> None:
        if not ITEM_ID.fullmatch(new.item_id):
            raise InvalidRequest(
                f"found item id {new.item_id[:220]!r}; expected 1 to 200 of A-Z a-z 0-9 . _ : / -",
                field="item_id",
                reason="ITEM_ID_INVALID",
            )
        if new.vector.shape != (self._dim,) or new.vector.dtype != np.float32:
            raise InvalidRequest(
                f"found an embedding {new.vector.dtype} {new.vector.shape}; expected float32 ({self._dim},)",
                field="embedding",
            )
        check_finite(new.vector[None])
        norm = float(np.linalg.norm(new.vector))
        if abs(norm - 1.0) > UNIT_TOLERANCE:
            raise InvalidRequest(
                f"found an embedding of norm {norm:.4g}; expected 1: normalise it",
                field="embedding",
                reason="EMBEDDING_NOT_UNIT",
            )

    def _kept(self, new: Enrolment) -> Enrolment:
        return new if self._stores_images else replace(new, image=None)

    def _take_in(self, rows: Sequence[tuple[Row, Float32Array]]) -> None:
        if not rows:
            return
        keys = np.array([row.key for row, _ in rows], np.int64)
        self._backend.add(keys, np.stack([vector for _, vector in rows]))
        for row, _ in rows:
            self._columns.add(row.key, row.item)
            self._keys[row.item.item_id] = row.key

    def _drop(self, keys: Sequence[int]) -> int:
        for key in keys:
            del self._keys[self._columns.item(key).item_id]
            self._columns.drop(key)
        return self._backend.remove(np.array(keys, np.int64)) if keys else 0

    def _hits(self, scores: Float32Array, keys: Int64Array, min_score: float | None) -> tuple[Hit, ...]:
        lowest = -np.inf if min_score is None else min_score
        return tuple(
            Hit(rank, float(score), self._columns.item(int(key)))
            for rank, (score, key) in enumerate(zip(scores, keys, strict=True), start=1)
            if score >= lowest
        )
