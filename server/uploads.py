"""Bulk enrolment as a job: archives, NDJSON and loose files.

Items are embedded in the bulk lane and stored in batches; one bad image is listed and spoils nothing else. Sending the same
upload again stores nothing twice. Knows no HTTP.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Any

from index.gallery import Gallery
from index.records import Enrolment
from server import manifest
from server.admission import Lane
from server.answers import ImageQuery
from server.archive import MAX_ENTRIES, Archive, Entry
from server.jobs import Job
from server.service import RetrievalService
from vireid.described import Described, from_place
from vireid.errors import ArchiveError, DeadlineExceeded, Overloaded, VireidError
from vireid.images.decode import Limits
from vireid.types import Item

BATCH = 32
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
MANIFEST_BYTES = 64 * 1024 * 1024
LONGEST_LINE = 16 * 1024 * 1024

# a name for lists of errors, and what reads the item
Source = tuple[str, Callable[[], tuple[Described, bytes]]]


async def run_archive(
    service: RetrievalService, gallery: Gallery, file: IO[bytes], job: Job
) -> Mapping[str, Any]:
    """Enrol the images of a zip or tar; refused whole, with nothing stored, if any entry is unsafe."""
    size = file.seek(0, os.SEEK_END)
    archive = await asyncio.to_thread(Archive, file, size)
    try:
        sources = await asyncio.to_thread(_of_archive, archive)
        return await _enrol(service, gallery, sources, job)
    finally:
        archive.close()


async def run_ndjson(
    service: RetrievalService, gallery: Gallery, file: IO[bytes], job: Job
) -> Mapping[str, Any]:
    """Enrol the images of lines of JSON; an item that comes twice keeps the last."""
    offsets = await asyncio.to_thread(lambda: list(_lines(file)))
    sources = [_of_line(file, number, *place) for number, place in enumerate(offsets, start=1)]
    return await _enrol(service, gallery, sources, job)


async def run_files(
    service: RetrievalService, gallery: Gallery, files: Sequence[tuple[str, IO[bytes]]], job: Job
) -> Mapping[str, Any]:
    """Enrol loose files under their names."""
    described = [(name, from_place(name)) for name, _ in files]
    _check_ids(described)
    sources = [
        (name, _file_reader(one, file)) for (name, one), (_, file) in zip(described, files, strict=True)
    ]
    return await _enrol(service, gallery, sources, job)


async def _enrol(
    service: RetrievalService, gallery: Gallery, sources: Sequence[Source], job: Job
) -> Mapping[str, Any]:
    job.total = len(sources)
    waiting = iter(sources)
    for some in iter(lambda: [source for _, source in zip(range(BATCH), waiting, strict=False)], []):
        prepared = await asyncio.gather(*(_prepare(service, gallery, source, job) for source in some))
        # of an item that comes twice the last counts, also where the gallery holds that one already
        last = {one.item_id: one for one in prepared if one is not None}
        for one in prepared:
            if one is not None and (isinstance(one, Item) or last[one.item_id] is not one):
                job.count("unchanged")
        new = [one for one in last.values() if isinstance(one, Enrolment)]
        if new:
            for outcome in await asyncio.shield(asyncio.to_thread(gallery.enroll, new)):
                job.count(outcome)
    return dict(job.counts)


async def _prepare(
    service: RetrievalService, gallery: Gallery, source: Source, job: Job
) -> Enrolment | Item | None:
    name, read = source
    try:
        described, data = await asyncio.to_thread(read)
        query = ImageQuery(data, described.modality)
        while True:
            try:
                new, _ = await service.prepare_item(
                    gallery,
                    described.item_id,
                    query,
                    described.meta,
                    Lane.BULK,
                    expires_at=described.expires_at,
                )
                break
            # bulk work gives way and waits as long as it must
            except Overloaded as error:
                await asyncio.sleep(error.retry_after_s)
            except DeadlineExceeded as error:
                if error.stable_reason != DeadlineExceeded.reason:  # at work: the image itself takes too long
                    raise
    except VireidError as error:
        job.refuse(name, error)
        return None
    return new


def _of_archive(archive: Archive) -> list[Source]:
    listed: dict[str, Described] = {}
    for entry in archive.entries:
        path = PurePosixPath(entry.name)
        if path.name in manifest.NAMES:
            if entry.size > MANIFEST_BYTES:
                raise ArchiveError(
                    f"{entry.name!r} has {entry.size:,} bytes; at most {MANIFEST_BYTES:,} are taken: split the archive; "
                    "nothing was stored",
                    reason="MANIFEST_INVALID",
                )
            found = manifest.from_manifest(path.name, archive.read(entry, MANIFEST_BYTES))
            for place, one in found.items():
                whole = str(path.parent / place)
                if whole in listed:
                    raise ArchiveError(
                        f"two manifests describe {whole!r}; nothing was stored", reason="MANIFEST_INVALID"
                    )
                listed[whole] = one
    places = {str(PurePosixPath(entry.name)): entry for entry in archive.entries}
    missing = sorted(set(listed) - set(places))
    if missing:
        raise ArchiveError(
            f"the manifest names {len(missing)} files that are not in the archive, {missing[0]!r} first; "
            "nothing was stored",
            reason="MANIFEST_INVALID",
        )
    described = [
        (place, listed.get(place) or from_place(place))
        for place in places
        if place in listed or PurePosixPath(place).suffix.lower() in IMAGES
    ]
    _check_ids(described)
    return [(place, _entry_reader(archive, places[place], one)) for place, one in described]


def _check_ids(described: Sequence[tuple[str, Described]]) -> None:
    """Refuse an upload in which one item would silently replace another."""
    seen: dict[str, str] = {}
    for place, one in described:
        if one.item_id in seen:
            raise ArchiveError(
                f"{seen[one.item_id]!r} and {place!r} would both become item {one.item_id!r}; nothing was stored",
                reason="ARCHIVE_NAME_TWICE",
            )
        seen[one.item_id] = place


def _entry_reader(
    archive: Archive, entry: Entry, described: Described
) -> Callable[[], tuple[Described, bytes]]:
    return lambda: (described, archive.read(entry, Limits().max_bytes))


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    file.seek(0)
    at = count = 0
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ArchiveError(
                f"a line has more than {LONGEST_LINE:,} bytes; nothing was stored", reason="LINE_TOO_LONG"
            )
        if line.strip():
            count += 1
            if count > MAX_ENTRIES:
                raise ArchiveError(
                    f"there are more than {MAX_ENTRIES:,} lines; split the upload; nothing was stored",
                    reason="ARCHIVE_TOO_MANY_ENTRIES",
                )
            yield at, len(line)
        at += len(line)


def _of_line(file: IO[bytes], number: int, at: int, length: int) -> Source:
    name = f"line {number}"

    def read() -> tuple[Described, bytes]:
        # positioned reads: several lines are read at a time
        line = os.pread(file.fileno(), length, at)
        return manifest.from_ndjson(line)

    return name, read


def _file_reader(described: Described, file: IO[bytes]) -> Callable[[], tuple[Described, bytes]]:
    return lambda: (described, file.read(Limits().max_bytes + 1))
