"""The half of the service that keeps galleries: it describes, lists, lets expire and removes, and embeds nothing.

``server.service.RetrievalService`` is the other half. Raises only ``vireid.errors``.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from index import snapshots
from index.gallery import Gallery, Receipt
from index.store import GalleryStore
from server.threads import Threads
from vireid.types import Filter, GalleryInfo, Item, Snapshot


class Keeper:
    """What is asked of galleries without a model; made by ``RetrievalService`` alone."""

    _store: GalleryStore
    _threads: Threads

    def gallery(self, name: str) -> Gallery:
        """Return an open gallery, for jobs."""
        return self._store.get(name)

    async def get_item(self, gallery: str, item_id: str) -> Item:
        """Describe an item."""
        return await self._threads.reading(self._store.get(gallery).item, item_id)

    async def image(self, gallery: str, item_id: str) -> bytes:
        """Return an item's encoded image."""
        return await self._threads.reading(self._store.get(gallery).image, item_id)

    async def thumbnail(self, gallery: str, item_id: str) -> bytes:
        """Return an item's thumbnail, a JPEG."""
        return await self._threads.reading(self._store.get(gallery).thumbnail, item_id)

    async def list_items(
        self, gallery: str, where: Filter, limit: int, cursor: str
    ) -> tuple[list[Item], str]:
        """List a page of items."""
        return await self._threads.reading(self._store.get(gallery).items, where, limit, cursor)

    async def facets(
        self,
        gallery: str,
        where: Filter = Filter(),  # noqa: B008 - a frozen value
    ) -> dict[str, dict[str, int]]:
        """Count the items that pass a filter by camera, modality and hour of the day."""
        return await self._threads.reading(self._store.get(gallery).facets, where)

    async def delete_items(
        self, gallery: str, ids: Sequence[str] | None, where: Filter | None, dry_run: bool
    ) -> Receipt:
        """Remove items by id or filter."""
        return await self._threads.writing(self._store.get(gallery).remove, ids, where, dry_run)

    async def create_gallery(self, name: str, store_images: bool = True, retention_s: int = 0) -> GalleryInfo:
        """Make an empty gallery in the space of the bundle in use."""
        gallery = await self._threads.writing(self._store.create, name, store_images, retention_s)
        return gallery.info()

    async def get_gallery(self, name: str) -> GalleryInfo:
        """Describe a gallery."""
        return self._store.describe(name)

    async def list_galleries(self) -> list[GalleryInfo]:
        """Describe every gallery, those that failed to open too."""
        return self._store.list()

    async def retain(self, name: str, seconds: int) -> GalleryInfo:
        """Let a gallery's items expire so long after their enrolment, those that are there too; 0 sets no time.

        Raises:
            InvalidRequest: a time that cannot be counted.
            GalleryNotFound, GalleryMismatch, StorageError: the gallery cannot be asked.
        """
        gallery = self._store.get(name)
        await self._threads.writing(gallery.retain, seconds)
        return gallery.info()

    async def snapshot(self, name: str, keep_days: int) -> Snapshot:
        """Copy a gallery, for so many days, 0 for ever; who stops waiting for the copy gets none.

        Raises:
            GalleryNotFound, GalleryMismatch, StorageError: the gallery cannot be copied.
        """
        gallery = self._store.get(name)
        keep = timedelta(days=keep_days) if keep_days else None
        making = asyncio.ensure_future(self._threads.writing(_copied, gallery, keep))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            made = await making  # a copy cannot be stopped half way
            await self._threads.writing(gallery.drop_snapshot, made.name)
            raise

    async def list_snapshots(self, name: str) -> list[Snapshot]:
        """Describe a gallery's snapshots, oldest first."""
        return await self._threads.reading(self._store.get(name).snapshots)

    async def delete_snapshot(self, name: str, snapshot: str) -> Snapshot:
        """Remove a snapshot; describe what went.

        Raises:
            SnapshotNotFound: there is none of that name.
        """
        return await self._threads.writing(self._store.get(name).drop_snapshot, snapshot)

    async def delete_gallery(self, name: str) -> Receipt:
        """Remove a gallery and all it holds."""
        return await self._threads.writing(self._store.delete, name)


def _copied(gallery: Gallery, keep: timedelta | None) -> Snapshot:
    return snapshots.describe(gallery.snapshot(keep))
