"""A gallery from an export: every file and every item checked, made aside, then renamed. Knows no search."""

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from index import limits, neutral
from index.disk import FILE, MAKING, disk_errors, sync
from index.gallery import Enrolment, Gallery
from index.head import Head
from index.neutral import Entry, Manifest
from index.records import Records
from vireid.errors import GalleryExists, InvalidRequest

ITEMS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        name: of the gallery.
        manifest: of the export.
        items: that the gallery holds.
        expired: items of the export whose time had come; they were left out.
    """

    name: str
    manifest: Manifest
    items: int
    expired: int


def bring_in(export: Path, galleries: Path, name: str, advance: Callable[[int], None]) -> Imported:
    """Make a gallery of an export, durable on return, whole or not at all.

    Nobody may have the folder of galleries open. Items are enrolled in their order and keep the time they came at.

    Args:
        export: its folder.
        galleries: the folder of all galleries.
        name: of the new gallery; empty for the one that was exported.
        advance: told how many items were just dealt with.

    Raises:
        InvalidRequest: no export, or a malformed name.
        DataLoss: the export is damaged, or tells of what is no item; there is no gallery.
        GalleryExists: there is such a gallery.
        StorageError: the disk refuses; there is no gallery.
    """
    manifest = neutral.read(export)
    limits.check_gallery_name(name := name or manifest.gallery)
    limits.check_retention(manifest.retention_s)
    place = galleries / name
    if place.exists():
        raise GalleryExists(
            f"there is a gallery {name!r} already; give another name (--gallery)", metadata={"gallery": name}
        )
    neutral.check(export, manifest)
    with disk_errors(galleries):
        for left in galleries.glob(f"{MAKING}*"):  # by a kill
            shutil.rmtree(left)
        part = galleries / f"{MAKING}{uuid.uuid4().hex}"
        part.mkdir()
        try:
            head = Head(
                name,
                manifest.space_id,
                manifest.dim,
                manifest.stores_images,
                retention_s=manifest.retention_s,
            )
            Records.create(part / FILE, head)
            items, expired = _fill(part / FILE, export, manifest, advance)
            sync(part)
            part.rename(place)
            sync(galleries)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Imported(name, manifest, items, expired)


def _fill(path: Path, export: Path, manifest: Manifest, advance: Callable[[int], None]) -> tuple[int, int]:
    """Enrol all that has not expired; return how many items that were, and how many had."""
    gallery, expired = Gallery(path, "exact", cached=False), 0
    try:
        for lines, batch in _batches(export, manifest):
            now = datetime.now(UTC)
            new = [_enrolment(one) for one in batch if not one.expired(now)]
            try:
                outcomes = gallery.enroll(new)
            except InvalidRequest as error:  # a malformed id, word, time, checksum or vector
                first, last = batch[0].item.item_id, batch[-1].item.item_id
                raise neutral.KIND.damaged(
                    lines, f"of the items {first[:80]!r} to {last[:80]!r}: {error.message}"
                ) from error
            for one, outcome in zip(new, outcomes, strict=True):
                if outcome != "created":
                    raise neutral.KIND.damaged(lines, f"item {one.item_id!r} is there twice")
            expired += len(batch) - len(new)
            advance(len(batch))
        return gallery.info().items, expired
    finally:
        gallery.close()


def _batches(export: Path, manifest: Manifest) -> Iterator[tuple[Path, list[Entry]]]:
    """Read items, some at a time, and the file that tells of them."""
    for shard in manifest.shards:
        entries = neutral.entries(export, manifest, shard, pictures=True)
        while batch := list(islice(entries, ITEMS_AT_ONCE)):
            yield export / min(shard.files), batch


def _enrolment(entry: Entry) -> Enrolment:
    item, image = entry.item, entry.image
    # a gallery keeps a bitmap as PNG, under the sha256 of the bitmap
    converted = image is not None and hashlib.sha256(image).hexdigest() != item.sha256
    return Enrolment(
        item.item_id,
        item.modality,
        item.meta,
        item.sha256,
        entry.vector,
        image,
        entry.thumbnail,
        converted,
        item.expires_at,
        item.enrolled_at,
    )
