"""Snapshots of galleries as jobs: a copy takes as long as the disk does. Knows no transport."""

from collections.abc import Mapping
from typing import Any

from index.limits import check_keep_days
from server.jobs import Job, JobBoard
from server.service import RetrievalService
from vireid.types import Snapshot

KIND = "snapshot"


def start(service: RetrievalService, board: JobBoard, gallery: str, keep_days: int) -> Job:
    """Begin to copy a gallery; its description will be the job's result.

    Args:
        service: holds the gallery.
        board: runs the work; one copy, or evaluation, at a time.
        gallery: its name.
        keep_days: after how many days the snapshot is removed; 0 keeps it.

    Raises:
        InvalidRequest: a number of days that cannot be counted.
        GalleryNotFound, GalleryMismatch, StorageError: the gallery cannot be asked.
        Overloaded, Unavailable: there is no room for a job.
    """
    check_keep_days(keep_days)
    service.gallery(gallery)

    async def work(job: Job) -> Mapping[str, Any]:
        job.total = 1
        made = job.value = await service.snapshot(gallery, keep_days)
        job.count("made")
        return as_json(made)

    return board.start(KIND, work, lambda: None, alone=True)


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """Describe a snapshot in words that JSON has."""
    return {
        "name": snapshot.name,
        "version": snapshot.version,
        "items": snapshot.items,
        "images": snapshot.images,
        "bytes": snapshot.bytes,
        "made_at": snapshot.made_at.isoformat() if snapshot.made_at else None,
        "expires_at": snapshot.expires_at.isoformat() if snapshot.expires_at else None,
        "damage": snapshot.damage,
    }
