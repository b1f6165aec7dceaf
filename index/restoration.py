"""A gallery from a snapshot: checked whole before anything is in its place. Knows no search."""

import shutil
import uuid
from dataclasses import replace as altered
from pathlib import Path

from index import limits, lost, snapshots
from index.cache import SUFFIX
from index.disk import FILE, MAKING, disk_errors, sync
from index.records import Records
from index.seal import Seal
from vireid.errors import DataLoss, GalleryExists, VireidError

LEFT = ("-wal", "-shm", SUFFIX)


def restore(snapshot: Path, galleries: Path, name: str = "", replace: bool = False) -> Path:
    """Put a snapshot in the place of a gallery, durable on return, whole or not at all.

    Nobody may have the gallery open. Snapshots that the gallery has stay with it. No id of an item is given again
    that the gallery or any of its snapshots gave.

    Args:
        snapshot: its folder.
        galleries: the folder of all galleries.
        name: of the gallery; empty for the one that it was made of.
        replace: a gallery of that name may be there, and is gone afterwards.

    Returns:
        The gallery's folder.

    Raises:
        InvalidRequest: no snapshot, or a malformed name.
        DataLoss: the snapshot is damaged; nothing was done.
        GalleryExists: there is such a gallery and it may not be replaced.
        StorageError: the disk refuses; the gallery is as it was.
    """
    manifest = snapshots.check(snapshot)
    limits.check_gallery_name(name := name or manifest.gallery)
    place = galleries / name
    if place.exists() and not replace:
        raise GalleryExists(
            f"there is a gallery {name!r} already; replace it (--replace), or give another name (--gallery)",
            metadata={"gallery": name},
        )
    with disk_errors(galleries):
        part = galleries / f"{MAKING}{uuid.uuid4().hex}"
        part.mkdir()
        try:
            fresh = part / FILE
            shutil.copyfile(snapshot / FILE, fresh)
            _settle(fresh, manifest, name, place)
            sync(fresh)
            sync(part)
            if place.exists():
                _take_over(fresh, place)
                lost.settle(place, manifest.made_at)
            else:
                part.rename(place)
            sync(galleries)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return place


def _settle(fresh: Path, manifest: snapshots.Manifest, name: str, place: Path) -> None:
    """Verify every record of the copy and give it a head that goes on from what was there."""
    records = Records(fresh)
    try:
        head = records.head
        if (head.name, head.version, head.items) != (manifest.gallery, manifest.version, manifest.items):
            raise DataLoss(f"{fresh}: the head does not match the manifest; take another snapshot")
        for _ in records.chunks():
            pass
        version, next_key = _left(place)
        records.amend(
            altered(
                head, name=name, version=max(head.version, version) + 1, next_key=max(head.next_key, next_key)
            )
        )
    finally:
        records.close()


def _left(place: Path) -> tuple[int, int]:
    """Return the version and the next id of what is there, as far as it can be read."""
    version, next_key = _sealed(place / FILE), 1
    for snapshot in snapshots.listed(place / snapshots.FOLDER):
        try:
            next_key = max(next_key, snapshots.read(snapshot).next_key)
        except VireidError:
            continue  # a damaged one can give no id back either
    if (place / FILE).is_file():
        try:
            records = Records(place / FILE)
        except VireidError:
            return version, next_key  # damaged: that is why it is replaced
        version, next_key = max(version, records.head.version), max(next_key, records.head.next_key)
        records.close()
    return version, next_key


def _sealed(path: Path) -> int:
    """Return the version that was acknowledged last; the restored file's is above it, so its seal still agrees."""
    if not path.parent.is_dir():
        return 0
    seal = Seal(path)
    try:
        told = seal.read()
    finally:
        seal.close()
    return 0 if told is None else told[0]


def _take_over(fresh: Path, place: Path) -> None:
    """Put the file in the place of another, whose log and cache must not be taken for its own."""
    old = place / FILE
    for suffix in LEFT:
        old.with_name(old.name + suffix).unlink(missing_ok=True)
    sync(place)
    fresh.replace(old)
    sync(place)
