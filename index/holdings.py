"""What a gallery holds in memory, ready to be asked: columns that filters read, and vectors in a backend.

Vectors are held as they are searched: centred, where the gallery has centres. One whole state; who changes it while
others ask is the gallery's affair. Knows no file, no lock and no pictures.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from index import limits, several
from index.answers import Found, Labelled
from index.backend import Backend, Roomy
from index.centres import Centres
from index.columns import Columns
from index.rows import Enrolment, microseconds
from index.table import Table
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import FailedPrecondition, ItemNotFound
from vireid.types import Filter, Hit, Item, ItemMeta, Modality

CENTRING_CHANGED = "CENTRING_CHANGED"


class Holdings:
    """The items of one gallery with their vectors.

    Args:
        name: of the gallery, for messages.
        dim: embedding dimension D.
        backend: empty; from now on ours.
        centres: that what is taken in is centred by; None leaves it as it comes.
    """

    def __init__(self, name: str, dim: int, backend: Backend, centres: Centres | None = None) -> None:
        self._name, self._dim, self.centres = name, dim, centres
        self._backend = backend
        self._columns = Columns()
        self.version = 0

    def __len__(self) -> int:
        """Count the items."""
        return len(self._columns)

    def expect(self, count: int) -> None:
        """Make room for so many items in all, where the backend can."""
        if isinstance(self._backend, Roomy):
            self._backend.expect(count)

    def take_in(self, table: Table, vectors: Float32Array) -> None:
        """Add items whose keys are above all before, with their vectors as they were embedded."""
        if self.centres is not None:
            vectors = self.centres.applied(vectors, table.modality)
        self.take_back(table, vectors)

    def take_back(self, table: Table, vectors: Float32Array) -> None:
        """Add items whose keys are above all before, with their vectors as they are searched."""
        self._backend.add(table.keys, vectors)
        self._columns.extend(table)

    def retain(self, seconds: int) -> None:
        """Let every item expire so long after its enrolment, or earlier where it says so; 0 sets no time."""
        self._columns.retain(seconds)

    def drop(self, keys: Sequence[int]) -> None:
        """Forget items, all of which must be held."""
        self._columns.drop(keys)
        self._backend.remove(np.array(keys, np.int64))

    def key(self, item_id: str) -> int | None:
        """Return our id of an item, None if there is no such item."""
        return self._columns.key(item_id)

    def judged(
        self, batch: Sequence[Enrolment]
    ) -> tuple[list[tuple[str, str]], dict[str, Item], dict[str, int]]:
        """Say what becomes of items that are to be enrolled.

        Returns:
            ``created``, ``replaced`` or ``unchanged`` with the id of each; those that are there unchanged; and which
            are to be stored, the last of each id.
        """
        outcomes: list[tuple[str, str]] = []
        unchanged: dict[str, Item] = {}
        todo: dict[str, int] = {}
        held = self._columns.held([new.item_id for new in batch])
        for at, new in enumerate(batch):
            known = new.item_id in todo
            if not known and new.item_id in held:
                same = self.same(
                    new.item_id, new.sha256, new.modality, new.meta, new.expires_at, new.image is not None
                )
                if same is not None:
                    unchanged[new.item_id] = same
                    outcomes.append(("unchanged", new.item_id))
                    continue
                known = self.shows(new.item_id)
            outcomes.append(("replaced" if known else "created", new.item_id))
            todo[new.item_id] = at
        return outcomes, unchanged, todo

    def shows(self, item_id: str) -> bool:
        """Say whether there is such an item and its time has not come."""
        return self._columns.find(item_id) is not None

    def keys(self, ids: Sequence[str]) -> Int64Array:
        """Return our ids of those items that are held, ascending."""
        found = {self._columns.key(item_id) for item_id in ids} - {None}
        return np.array(sorted(key for key in found if key is not None), np.int64)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the items of some ids, all of which must be held."""
        keys = self.keys(ids)
        return {item.item_id: item for item in self._columns.items(keys)}

    def expired(self) -> Int64Array:
        """Return our ids of the items whose time has come, ascending."""
        return self._columns.expired()

    def passing(self, where: Filter) -> Int64Array:
        """Return our ids of the items that pass a filter, ascending."""
        return self._columns.passing(where)

    def images(self, keys: Int64Array | None = None) -> int:
        """Count the images kept with some items, or with all of them."""
        return self._columns.images(keys)

    def held(self, item_id: str) -> tuple[int, Item]:
        """Return our id of an item, and the item.

        Raises:
            ItemNotFound: no such item.
        """
        key, item = self._columns.key(item_id), self._columns.find(item_id)
        if key is None or item is None:
            raise ItemNotFound(
                f"there is no item {item_id[:220]!r} in gallery {self._name!r}",
                metadata={"item": item_id[:220]},
            )
        return key, item

    def same(
        self,
        item_id: str,
        sha256: str,
        modality: Modality | None,
        meta: ItemMeta,
        expires_at: datetime | None = None,
        keeps_image: bool = False,
    ) -> Item | None:
        """Return the item if the very same image and metadata are there; a modality or an end of None accepts any.

        One that has no image is not the same where an image is to be kept: a salvage may have lost it.
        """
        item = self._columns.find(item_id)
        if (
            item is None
            or (item.sha256, item.meta) != (sha256, meta)
            or modality not in (None, item.modality)
            or (keeps_image and not item.has_image)
            or (expires_at is not None and self._columns.expiry(item_id) != microseconds(expires_at))
        ):
            return None
        return item

    def vectors(self, keys: Int64Array) -> Float32Array:
        """Return the vectors of items by our ids, (N, D), as they are searched."""
        return self._backend.vectors(keys)

    def table(self) -> Table:
        """Return all items held."""
        return self._columns.table()

    def search(  # noqa: PLR0913 - one for each thing that a search may say
        self,
        queries: Float32Array,
        k: int,
        where: Filter,
        min_score: float | None,
        detailed: bool,
        centring: int,
        together: bool,
    ) -> list[Found]:
        """Find the most similar items; see ``index.gallery.Gallery.search``."""
        self._check_centring(centring)
        limits.check_top_k(k)
        limits.check_filter(where)
        limits.check_min_score(min_score)
        limits.check_embeddings(queries, self._dim)
        held, total = len(self._columns), self._columns.shown()
        allow = None if where.is_empty and held == total else self._columns.passing(where)
        searched = total if allow is None else len(allow)
        scores, keys = self._backend.search(queries, k, None if searched == held else allow)
        if together and len(queries):
            scores, keys = several.best_of_any(scores, keys, k)
        by = self._columns.modalities(allow) if detailed else None
        answers = []
        for row, found in zip(scores, keys, strict=True):
            hits = self._hits(row, found, min_score)
            vectors = self._backend.vectors(found[: len(hits)]) if detailed else None
            answers.append(Found(hits, total, searched, self.version, vectors, by, centring))
        return answers

    def _check_centring(self, centring: int) -> None:
        held = self.centres.number if self.centres is not None else 0
        if centring != held:
            raise FailedPrecondition(
                f"gallery {self._name!r} searches {_space(held)}, the queries are {_space(centring)}: bring them to "
                "its centres and ask again",
                reason=CENTRING_CHANGED,
                metadata={"gallery": self._name, "found": str(centring), "expected": str(held)},
            )

    def page(self, where: Filter, limit: int, after: int) -> tuple[list[Item], str]:
        """List items whose keys come after one; the cursor of the next page is empty after the last."""
        keys = self._columns.passing(where)
        page = keys[np.searchsorted(keys, after, side="right") :][: limit + 1]
        return self._columns.items(page[:limit]), str(page[limit - 1]) if len(page) > limit else ""

    def facets(self, where: Filter) -> dict[str, dict[str, int]]:
        """Count the items that pass a filter by camera, modality and hour of the day."""
        keys = None if where.is_empty else self._columns.passing(where)
        counts = self._columns.modalities(keys)
        modalities = {one.word: int(counts[one]) for one in Modality if counts[one]}
        return {
            "cameras": self._columns.cameras(keys),
            "modalities": dict(sorted(modalities.items())),
            "hours": self._columns.hours(keys),
        }

    def labelled(self) -> Labelled:
        """Return every item that has a person, with its vector as it is searched."""
        keys = self._columns.labelled()
        items = self._columns.items(keys)
        return Labelled(
            tuple(item.item_id for item in items),
            tuple(item.meta.person for item in items),
            tuple(item.meta.camera for item in items),
            np.array([int(item.modality) for item in items], np.int64),
            self._backend.vectors(keys),
            self.version,
            self.centres,
        )

    def _hits(self, scores: Float32Array, keys: Int64Array, min_score: float | None) -> tuple[Hit, ...]:
        shown = len(scores) if min_score is None else int((scores >= min_score).sum())
        items = self._columns.items(keys[:shown])
        return tuple(
            Hit(rank, float(score), item)
            for rank, (score, item) in enumerate(zip(scores[:shown], items, strict=True), start=1)
        )


def _space(number: int) -> str:
    return f"centred by version {number}" if number else "as they were embedded"
