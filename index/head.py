"""The one row that says what a gallery is and what it must hold, under its own checksum. Knows no SQL."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from index.rows import SUM_BYTES, Cell, checksum
from vireid.types import GalleryInfo


@dataclass(frozen=True, slots=True)
class Head:
    """What a gallery's file says of itself.

    Attributes:
        name: of the gallery.
        space_id: the embedding space it is bound to.
        dim: embedding dimension.
        stores_images: whether encoded images are kept.
        version: grows with every change.
        next_key: the int64 id that the next item gets; never goes back, so no id is used twice.
        items: how many items there must be.
        total: the checksums of all items, exclusive-or: a row that is lost, old or there twice shows.
        retention_s: how long after its enrolment an item expires, unless earlier by itself; 0 sets no time.
        centres: the checksum of the centres in use; empty where vectors are searched as they came.
    """

    name: str
    space_id: str
    dim: int
    stores_images: bool
    version: int = 0
    next_key: int = 1
    items: int = 0
    total: int = 0
    retention_s: int = 0
    centres: bytes = b""

    def cells(self) -> tuple[Cell, ...]:
        """Return the row, its checksum last."""
        name, space_id, dim, stores_images, version, next_key, items, total, retention_s, centres = astuple(
            self
        )
        body: tuple[Cell, ...] = (
            name.encode(),
            space_id.encode(),
            dim,
            int(stores_images),
            version,
            next_key,
            items,
            total.to_bytes(SUM_BYTES, "big"),
            retention_s,
            centres,
        )
        return (*body, _sum(body))

    def described(self, failure: str = "") -> GalleryInfo:
        """Describe the gallery; with the reason if it failed."""
        return GalleryInfo(
            self.name,
            self.space_id,
            self.dim,
            self.items,
            self.version,
            self.stores_images,
            "failed" if failure else "ready",
            failure,
            retention_s=self.retention_s,
        )

    @staticmethod
    def of(cells: tuple[Cell, ...]) -> "Head | None":
        """Read a row; None if it is not as it was written."""
        *body, found = cells
        if found != _sum(body):
            return None
        name, space_id, dim, stores_images, version, next_key, items, total, retention_s, centres = body
        assert isinstance(name, bytes)
        assert isinstance(space_id, bytes)
        assert isinstance(dim, int)
        assert isinstance(version, int)
        assert isinstance(next_key, int)
        assert isinstance(items, int)
        assert isinstance(total, bytes)
        assert isinstance(retention_s, int)
        assert isinstance(centres, bytes)
        return Head(
            name.decode(),
            space_id.decode(),
            dim,
            bool(stores_images),
            version,
            next_key,
            items,
            int.from_bytes(total, "big"),
            retention_s,
            centres,
        )


def _sum(body: Sequence[Cell]) -> bytes:
    # as it was before there were centres or a retention, where there are none
    if body[-1] == b"":
        body = body[:-1] if body[-2] != 0 else body[:-2]
    return checksum(body)
