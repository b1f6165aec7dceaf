"""Every call that both clients offer, said once: its arguments, what they are if not given, and what it answers.

Knows no wire, no sending and no patience; ``clients.base`` makes of each a method that waits and one that is awaited.
"""

from collections.abc import Sequence
from datetime import datetime

from clients.call import Call, Image, Query, Wanted, Wire
from clients.replies import Embedding, Facets, Page, PutReply, Receipt, SearchReply
from clients.server_info import ServerInfo
from vireid.types import Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

EVERYTHING = Filter()
NOTHING_KNOWN = ItemMeta()


class Calls:
    """The calls over one wire.

    Args:
        wire: builds them.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def info(self) -> Call[ServerInfo]:
        """Say what the server runs: version, model, engine and why it, whether another is being built, limits."""
        return self._wire.info()

    def embed(self, image: Image, modality: Modality | None = None) -> Call[Embedding]:
        """Embed one image; modality None lets the server decide."""
        return self._wire.embed(image, modality)

    def search(  # noqa: PLR0913 - each is said by name
        self,
        gallery: str,
        query: Query,
        *,
        top_k: int = 10,
        modality: Modality | None = None,
        where: Filter = EVERYTHING,
        min_score: float | None = None,
        min_probability: float | None = None,
        rerank: int = 0,
        one_per_person: bool = False,
        exclude_own_camera: bool = False,
        more_like: Sequence[str] = (),
        less_like: Sequence[str] = (),
        together: Sequence[Query] = (),
        weights: Sequence[float] = (),
        best: bool = False,
        other_modality_first: bool = False,
    ) -> Call[SearchReply]:
        """Find the items most like the query.

        Args:
            gallery: where to look.
            query: an image (bytes or a file), an item of the gallery, or an embedding computed before.
            top_k: hits at most.
            modality: what the image was taken with; None lets the server decide.
            where: which items may be hit.
            min_score: hits below this cosine are left out.
            min_probability: hits less likely than this are left out; the server's bundle must be calibrated.
            rerank: put so many of the best into a new order by k-reciprocal neighbours; 0 keeps that of the scores.
            one_per_person: of each person the best hit only; items of nobody stand for themselves.
            exclude_own_camera: leave out what the camera of the asking item took; an item must ask.
            more_like: items of the gallery that the query moves towards.
            less_like: items that it moves away from, and that are left out.
            together: more queries that show the same person, of the same ``modality`` where they are images.
            weights: of the query and of each of those in their mean; empty for equal ones.
            best: count for each item its best score with any of them, not that with their mean.
            other_modality_first: items of the query's own modality come after all others.

        Raises:
            VireidError: what the server raised, or ``ServerUnreachable``.
        """
        wanted = Wanted(
            top_k=top_k,
            modality=modality,
            where=where,
            min_score=min_score,
            min_probability=min_probability,
            rerank=rerank,
            one_per_person=one_per_person,
            exclude_own_camera=exclude_own_camera,
            more_like=tuple(more_like),
            less_like=tuple(less_like),
            together=tuple(together),
            weights=tuple(weights),
            best=best,
            other_modality_first=other_modality_first,
        )
        return self._wire.search(gallery, query, wanted)

    def create_gallery(
        self, name: str, *, store_images: bool = True, retention_s: int = 0
    ) -> Call[GalleryInfo]:
        """Make an empty gallery, whose items expire so long after their enrolment, 0 for no such time."""
        return self._wire.create_gallery(name, store_images=store_images, retention_s=retention_s)

    def retain(self, name: str, seconds: int) -> Call[GalleryInfo]:
        """Let a gallery's items expire so long after their enrolment, those that are there too; 0 sets no time."""
        return self._wire.retain(name, seconds)

    def get_gallery(self, name: str) -> Call[GalleryInfo]:
        """Describe a gallery."""
        return self._wire.get_gallery(name)

    def list_galleries(self) -> Call[tuple[GalleryInfo, ...]]:
        """Describe every gallery."""
        return self._wire.list_galleries()

    def delete_gallery(self, name: str) -> Call[Receipt]:
        """Remove a gallery and all it holds."""
        return self._wire.delete_gallery(name)

    def put_item(
        self,
        gallery: str,
        item_id: str,
        image: Image,
        *,
        modality: Modality | None = None,
        meta: ItemMeta = NOTHING_KNOWN,
        expires_at: datetime | None = None,
    ) -> Call[PutReply]:
        """Enrol or replace one item, which goes at its time; the same again, or with no time said, changes nothing."""
        return self._wire.put_item(
            gallery, item_id, image, modality=modality, meta=meta, expires_at=expires_at
        )

    def get_item(self, gallery: str, item_id: str) -> Call[Item]:
        """Describe one item."""
        return self._wire.get_item(gallery, item_id)

    def list_items(
        self, gallery: str, *, where: Filter = EVERYTHING, limit: int = 100, cursor: str = ""
    ) -> Call[Page]:
        """List a page of items."""
        return self._wire.list_items(gallery, where=where, limit=limit, cursor=cursor)

    def facets(self, gallery: str, *, where: Filter = EVERYTHING) -> Call[Facets]:
        """Count the items that pass a filter by camera, modality and hour of the day."""
        return self._wire.facets(gallery, where)

    def delete_items(
        self,
        gallery: str,
        *,
        item_ids: Sequence[str] = (),
        where: Filter = EVERYTHING,
        dry_run: bool = False,
    ) -> Call[Receipt]:
        """Remove the items named, or those a filter that is not empty matches."""
        return self._wire.delete_items(gallery, item_ids=item_ids, where=where, dry_run=dry_run)

    def list_snapshots(self, gallery: str) -> Call[tuple[Snapshot, ...]]:
        """Describe a gallery's snapshots, the oldest first."""
        return self._wire.list_snapshots(gallery)

    def delete_snapshot(self, gallery: str, name: str) -> Call[Snapshot]:
        """Remove a snapshot; describe what went."""
        return self._wire.delete_snapshot(gallery, name)
