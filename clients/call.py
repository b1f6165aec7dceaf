"""A call as a value, and the interface of what builds calls: one per wire.

Knows no wire and no sending.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from clients.replies import Embedding, Facets, ItemRef, Page, PutReply, Receipt, SearchReply
from clients.server_info import ServerInfo
from vireid.errors import ImageTooLarge, InvalidRequest
from vireid.types import Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

MAX_IMAGE_BYTES = 8 * 1024 * 1024

# An encoded image, in memory or as a file.
Image = bytes | Path
# What one may search with.
Query = bytes | Path | ItemRef | Embedding

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer_co]):
    """What to send, and how to read what comes back.

    Attributes:
        request: the wire's own form of the request.
        read: turns the wire's own form of the reply into the answer.
        repeatable: may be made twice without harm.
    """

    request: Any
    read: Callable[[Any], Answer_co]
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search is to answer.

    Attributes:
        top_k: hits at most.
        modality: what the image was taken with; None lets the server decide.
        where: which items may be hit.
        min_score: hits below this cosine are left out.
        min_probability: hits less likely than this are left out; the server's bundle must be calibrated.
        rerank: so many of the best are put into a new order by k-reciprocal neighbours; 0 for none.
        one_per_person: of each person the best hit only.
        exclude_own_camera: leave out what the camera of the asking item took.
        more_like: items that the query moves towards.
        less_like: items that it moves away from, and that are left out.
        together: more queries that show the same person.
        weights: of the query and of each of those in their mean; empty for equal ones.
        best: count for each item its best score with any of them, not that with their mean.
        other_modality_first: items of the query's own modality come after all others.
    """

    top_k: int = 10
    modality: Modality | None = None
    where: Filter = field(default_factory=Filter)
    min_score: float | None = None
    min_probability: float | None = None
    rerank: int = 0
    one_per_person: bool = False
    exclude_own_camera: bool = False
    more_like: tuple[str, ...] = ()
    less_like: tuple[str, ...] = ()
    together: tuple[Query, ...] = ()
    weights: tuple[float, ...] = ()
    best: bool = False
    other_modality_first: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """How a labelled gallery is measured.

    Attributes:
        query_modality: which items ask.
        gallery_modality: which items are found.
        rule: ``none``, ``market`` (a query's own person and camera are left out) or ``sysu``.
        cmc: ``identity`` or ``image``.
        rerank: so many of each query's best are put into a new order by k-reciprocal neighbours; 0 for none.
        k1: neighbours that must be mutual, where re-ranked; None for the server's usual.
        k2: neighbours a row is averaged over; None for the server's usual.
        weight: share of the original distance; None for the server's usual.
        query_gallery: whose labelled items ask; empty for the gallery's own.
        html: whether the report is drawn, too; the server needs the extra ``evaluation``.
    """

    query_modality: Modality = Modality.INFRARED
    gallery_modality: Modality = Modality.VISIBLE
    rule: str = "none"
    cmc: str = "identity"
    rerank: int = 0
    k1: int | None = None
    k2: int | None = None
    weight: float | None = None
    query_gallery: str = ""
    html: bool = False


USUAL = Choices()

# Told the queries that are done and how many there are, 0 while unknown.
Progress = Callable[[int, int], None]


class Wire(Protocol):
    """Builds the calls of one wire; pure functions, so that a module can be one."""

    def info(self) -> Call[ServerInfo]:
        """Ask what the server runs."""
        ...

    def embed(self, image: Image, modality: Modality | None) -> Call[Embedding]:
        """Ask for one image's embedding."""
        ...

    def search(self, gallery: str, query: Query, wanted: Wanted) -> Call[SearchReply]:
        """Ask for the items most like the query."""
        ...

    def create_gallery(self, name: str, *, store_images: bool, retention_s: int) -> Call[GalleryInfo]:
        """Ask for an empty gallery."""
        ...

    def get_gallery(self, name: str) -> Call[GalleryInfo]:
        """Ask for a gallery's description."""
        ...

    def retain(self, name: str, seconds: int) -> Call[GalleryInfo]:
        """Ask for a gallery's items to expire so long after their enrolment."""
        ...

    def list_galleries(self) -> Call[tuple[GalleryInfo, ...]]:
        """Ask for every gallery's description."""
        ...

    def delete_gallery(self, name: str) -> Call[Receipt]:
        """Ask for a gallery's end."""
        ...

    def put_item(
        self,
        gallery: str,
        item_id: str,
        image: Image,
        *,
        modality: Modality | None,
        meta: ItemMeta,
        expires_at: datetime | None,
    ) -> Call[PutReply]:
        """Ask for one item to be enrolled."""
        ...

    def get_item(self, gallery: str, item_id: str) -> Call[Item]:
        """Ask for an item's description."""
        ...

    def list_items(self, gallery: str, *, where: Filter, limit: int, cursor: str) -> Call[Page]:
        """Ask for a page of items."""
        ...

    def facets(self, gallery: str, where: Filter) -> Call[Facets]:
        """Ask how many items there are of each camera, modality and hour."""
        ...

    def delete_items(
        self, gallery: str, *, item_ids: Sequence[str], where: Filter, dry_run: bool
    ) -> Call[Receipt]:
        """Ask for items to be removed."""
        ...

    def list_snapshots(self, gallery: str) -> Call[tuple[Snapshot, ...]]:
        """Ask for a gallery's snapshots."""
        ...

    def delete_snapshot(self, gallery: str, name: str) -> Call[Snapshot]:
        """Ask for a snapshot's end."""
        ...


def image_bytes(image: Image) -> bytes:
    """Give the encoded bytes of an image, reading the file if it is one.

    Raises:
        InvalidRequest: the file cannot be read.
        ImageTooLarge: the file is larger than any server takes; it is not read.
    """
    if not isinstance(image, Path):
        return bytes(image)
    try:
        size = image.stat().st_size
        if size > MAX_IMAGE_BYTES:
            raise ImageTooLarge(
                f"{image} has {size} bytes, at most {MAX_IMAGE_BYTES} are taken; "
                "crop the person or encode it smaller",
                metadata={"limit": str(MAX_IMAGE_BYTES), "actual": str(size)},
            )
        return image.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read image {image}: {error.strerror}", field="image") from error
