"""A gallery into an export: made aside under a temporary name, flushed, renamed. Knows no search."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from index import centring, neutral
from index.columns import gone_at
from index.disk import MAKING, disk_errors, sync
from index.kept_centres import KeptCentres
from index.neutral import Entry, Manifest, Shard
from index.records import Records
from index.rows import item_of
from vireid.errors import ImageNotStored, InvalidRequest, StorageError
from vireid.types import Item

TOLD_EVERY = 500


def export(records: Records, out: Path, pictures: bool, advance: Callable[[int], None]) -> Manifest:
    """Write what a gallery shows into a folder, durable on return, whole or not at all; changes wait meanwhile.

    Items that have expired stay behind.

    Args:
        records: of the gallery.
        out: the folder, which must not be there.
        pictures: put images and thumbnails along.
        advance: told how many items were just written.

    Raises:
        InvalidRequest: the folder is there.
        DataLoss: the gallery is damaged; there is no export.
        StorageError: the disk refuses, or another export to this folder was cut short; there is no export.
    """
    if out.exists():
        raise InvalidRequest(f"{out} is there already; name a folder that is not", field="out")
    head, shards = records.head, list[Shard]()
    part = out.with_name(f"{MAKING}{out.name}")
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if part.exists():
            raise StorageError(
                f"{part} is there: an export to {out} goes on, or was cut short and left a part of the gallery; let it "
                "end, or remove that folder, then try again",
                reason="EXPORT_UNFINISHED",
            )
        part.mkdir()
        try:
            entries = told(stored(records, pictures), advance)
            for first in entries:
                some = chain([first], islice(entries, neutral.ITEMS_A_SHARD - 1))
                shards.append(neutral.write_shard(part, len(shards) + 1, some, pictures))
            manifest = Manifest(
                gallery=head.name,
                space_id=head.space_id,
                dim=head.dim,
                version=head.version,
                items=sum(shard.items for shard in shards),
                pictures=pictures,
                stores_images=head.stores_images,
                retention_s=head.retention_s,
                centring=_centring(records),
                made_at=datetime.now(UTC).isoformat(),
                shards=tuple(shards),
            )
            neutral.write_manifest(part, manifest)
            sync(part)
            part.rename(out)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync(out.parent)
    return manifest


def stored(records: Records, pictures: bool = False) -> Iterator[Entry]:
    """Read a gallery's items that have not expired one after the other, in the order of enrolment.

    Args:
        records: of the gallery.
        pictures: read theirs, too.

    Raises:
        DataLoss: one is damaged, or some are missing: nothing may be said of those before.
    """
    limit = records.head.retention_s
    for table, rows, alive in centring.shown(records):
        table = replace(table, expires=gone_at(table.expires, table.enrolled, limit))
        for at in np.flatnonzero(alive).tolist():
            key, item = int(table.keys[at]), item_of(table, at)
            image, thumbnail = _pictures(records, key, item) if pictures else (None, None)
            yield Entry(key, item, rows[at], image, thumbnail)


def told(entries: Iterable[Entry], advance: Callable[[int], None]) -> Iterator[Entry]:
    """Pass items on, and tell now and then how many went by."""
    count = 0
    for count, entry in enumerate(entries, 1):
        yield entry
        if count % TOLD_EVERY == 0:
            advance(TOLD_EVERY)
    advance(count % TOLD_EVERY)


def _centring(records: Records) -> dict[str, Any] | None:
    centres = KeptCentres(records).current()
    if centres is None or centres.told.since is None:
        return None
    return {**asdict(centres.told), "since": centres.told.since.isoformat()}


def _pictures(records: Records, key: int, item: Item) -> tuple[bytes | None, bytes | None]:
    image = records.pictures.image(key, item) if item.has_image else None
    try:
        return image, records.pictures.thumbnail(key, item)
    except ImageNotStored:
        return image, None
