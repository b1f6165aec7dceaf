"""Snapshots of a gallery: folders beside its file, each with a manifest that everything in it is checked against.

    GALLERY/gallery.sqlite
    GALLERY/snapshots/20261121T140000.000000Z/{manifest.json, gallery.sqlite}

A snapshot is written under a temporary name, flushed and renamed: what has its name is whole. Knows no search.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from index import manifests
from index.disk import FILE, MAKING, disk_errors, sync
from index.manifests import Files, Kind
from index.records import Records
from vireid.errors import DataLoss, InvalidRequest, SnapshotNotFound, StorageError
from vireid.types import Snapshot

log = logging.getLogger(__name__)

FOLDER = "snapshots"
KIND = Kind("snapshot", 1, "take another snapshot")
STAMP = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself.

    Attributes:
        gallery: the gallery's name.
        space_id: the embedding space of its vectors.
        dim: embedding dimension.
        version: of the gallery when it was made.
        items: records and vectors.
        images: encoded images.
        next_key: all its items have an int64 id below this.
        made_at: when, UTC, ISO 8601.
        expires_at: when it is to be removed; empty keeps it.
        files: bytes and sha256 of each file.
    """

    gallery: str
    space_id: str
    dim: int
    version: int
    items: int
    images: int
    next_key: int
    made_at: str
    expires_at: str
    files: Files


def make(records: Records, folder: Path, keep: timedelta | None = None) -> Path:
    """Copy a gallery as it is after the last change, durable on return; changes wait meanwhile.

    Args:
        records: of the gallery.
        folder: where its snapshots lie, made if absent.
        keep: how long; None for ever.

    Returns:
        The snapshot's folder.

    Raises:
        StorageError: the disk refuses; there is no such snapshot.
        DataLoss: a record is damaged; there is no such snapshot.
    """
    now = datetime.now(UTC)
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
        part = folder / f"{MAKING}{uuid.uuid4().hex}"
        part.mkdir()
        try:
            with records.still():
                records.copy_to(part / FILE)
                head, (_, images) = records.head, records.count()
            manifest = Manifest(
                gallery=head.name,
                space_id=head.space_id,
                dim=head.dim,
                version=head.version,
                items=head.items,
                images=images,
                next_key=head.next_key,
                made_at=now.isoformat(),
                expires_at="" if keep is None else (now + keep).isoformat(),
                files=manifests.told(part, [FILE]),
            )
            KIND.write(part, asdict(manifest))
            sync(part)
            place = folder / now.strftime(STAMP)
            part.rename(place)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync(folder)
        sync(folder.parent)
    return place


def listed(folder: Path) -> Iterator[Path]:
    """Name the snapshots of a gallery, oldest first; what a kill left half made is removed."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(MAKING):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir():
            yield path


def told(folder: Path) -> list[Snapshot]:
    """Describe the snapshots of a gallery, oldest first, beside whoever makes one."""
    if not folder.is_dir():
        return []
    with disk_errors(folder):
        places = sorted(path for path in folder.iterdir() if not path.name.startswith(MAKING))
    return [describe(path) for path in places if path.is_dir()]


def describe(path: Path) -> Snapshot:
    """Describe a snapshot by its manifest; one whose manifest cannot be read says so."""
    try:
        found = read(path)
    except (DataLoss, InvalidRequest, StorageError) as error:
        return Snapshot(path.name, damage=error.message)
    return Snapshot(
        path.name,
        found.version,
        found.items,
        found.images,
        sum(int(file["bytes"]) for file in found.files.values()),
        datetime.fromisoformat(found.made_at),
        datetime.fromisoformat(found.expires_at) if found.expires_at else None,
    )


def named(folder: Path, name: str) -> Path:
    """Return the folder of a snapshot.

    Raises:
        SnapshotNotFound: there is none of that name.
    """
    # compared, never joined: what a caller says leads nowhere
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name == name and path.is_dir() and not name.startswith(MAKING):
            return path
    raise SnapshotNotFound(
        f"there is no snapshot {name[:80]!r} of gallery {folder.parent.name!r}; list those there are",
        metadata={"snapshot": name[:80]},
    )


def read(path: Path) -> Manifest:
    """Read a snapshot's manifest.

    Raises:
        InvalidRequest: there is no snapshot.
        DataLoss: it is not as it was written.
        StorageError: the disk refuses.
    """
    body = KIND.read(path)
    try:
        return Manifest(**body)
    except TypeError:
        raise KIND.damaged(path / manifests.NAME, "it says more or less than this vireid knows of") from None


def check(path: Path) -> Manifest:
    """Compare every file of a snapshot with its manifest.

    Raises:
        InvalidRequest: there is no snapshot.
        DataLoss: a file is missing, cut or changed.
        StorageError: the disk refuses.
    """
    manifest = read(path)
    KIND.check(path, manifest.files)
    return manifest


def holding(folder: Path, first: int) -> list[Path]:
    """Return the snapshots that hold items which are there now and whose ids are ``first`` or above.

    Ids rise and are never given twice, so what is there now was in every snapshot made since it came. A snapshot
    whose manifest cannot be read is among them: nobody can say that it does not hold them.
    """
    found = []
    for path in listed(folder):
        try:
            holds = read(path).next_key > first
        except (DataLoss, InvalidRequest, StorageError):
            holds = True
        if holds:
            found.append(path)
    return found


def remove_expired(folder: Path, now: datetime) -> int:
    """Remove the snapshots whose time has come; return how many went."""
    gone = 0
    for path in listed(folder):
        try:
            until = read(path).expires_at
        except (DataLoss, InvalidRequest, StorageError) as error:
            log.warning("whether %s has expired cannot be read: %s", path, error.message)
            continue
        if until and datetime.fromisoformat(until) <= now:
            remove(path)
            gone += 1
    return gone


def remove(path: Path) -> None:
    """Remove a snapshot, a damaged one too.

    Raises:
        StorageError: the disk refuses.
    """
    with disk_errors(path):
        gone = path.with_name(f"{MAKING}{uuid.uuid4().hex}")
        path.rename(gone)
        sync(path.parent)
        shutil.rmtree(gone)
