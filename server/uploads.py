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
from server.archive import IMAGES, MANIFEST, Archive
from server.jobs import Job
from server.manifest import Described
from server.service import RetrievalService
from vireid.errors import ArchiveError, InvalidRequest, Overloaded, VireidError
from vireid.images.decode import Limits

BATCH = 32
MANIFEST_BYTES = 64 * 1024 * 1024
LONGEST_LINE = 16 * 1024 * 1024

# a name for lists of errors, and what reads the item
Source = tuple[str, Callable[[], tuple[Described, bytes]]]


async def run_archive(
    service: RetrievalService, gallery: Gallery, file: IO[bytes], job: Job
) -> Mapping[str, Any]:
    """Enrol the images of a zip or tar; refused whole, with nothing stored, if any entry is unsafe."""
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        archive = await asyncio.to_thread(Archive, file, size)
        try:
            sources = await asyncio.to_thread(lambda: list(_of_archive(archive)))
            return await _enrol(service, gallery, sources, job)
        finally:
            archive.close()


async def run_ndjson(
    service: RetrievalService, gallery: Gallery, file: IO[bytes], job: Job
) -> Mapping[str, Any]:
    """Enrol the images of lines of JSON."""
    try:
        offsets = await asyncio.to_thread(lambda: list(_lines(file)))
        sources = [_of_line(file, number, *place) for number, place in enumerate(offsets, start=1)]
        return await _enrol(service, gallery, sources, job)
    finally:
        file.close()


async def run_files(
    service: RetrievalService, gallery: Gallery, files: Sequence[tuple[str, IO[bytes]]], job: Job
) -> Mapping[str, Any]:
    """Enrol loose files under their names."""
    sources = [(name, _file_reader(name, file)) for name, file in files]
    ids = [manifest.from_place(name).item_id for name, _ in files]
    if len(set(ids)) != len(ids):
        raise ArchiveError("two of the files have one name; nothing was stored", reason="ARCHIVE_NAME_TWICE")
    return await _enrol(service, gallery, sources, job)


async def _enrol(
    service: RetrievalService, gallery: Gallery, sources: Sequence[Source], job: Job
) -> Mapping[str, Any]:
    job.total = len(sources)
    waiting = iter(sources)
    for some in iter(lambda: [source for _, source in zip(range(BATCH), waiting, strict=False)], []):
        embedded = await asyncio.gather(*(_embed(service, gallery, source, job) for source in some))
        new = [one for one in embedded if one is not None]
        if new:
            for outcome in await asyncio.shield(asyncio.to_thread(gallery.enroll, new)):
                job.count(outcome)
    return dict(job.counts)


async def _embed(service: RetrievalService, gallery: Gallery, source: Source, job: Job) -> Enrolment | None:
    name, read = source
    try:
        described, data = await asyncio.to_thread(read)
        query = ImageQuery(data, described.modality)
        while True:
            try:
                new, _ = await service.prepare_item(
                    gallery, described.item_id, query, described.meta, Lane.BULK
                )
                break
            except Overloaded as error:  # bulk work gives way and waits as long as it must
                await asyncio.sleep(error.retry_after_s)
    except VireidError as error:
        job.refuse(name, error)
        return None
    if new is None:
        job.count("unchanged")
    return new


def _of_archive(archive: Archive) -> Iterator[Source]:
    listed = {}
    for entry in archive.entries:
        if PurePosixPath(entry.name).name == MANIFEST:
            base = PurePosixPath(entry.name).parent
            data = archive.read(entry, MANIFEST_BYTES)
            listed = {str(base / place): one for place, one in manifest.from_csv(data).items()}
    names = {str(PurePosixPath(entry.name)) for entry in archive.entries}
    missing = sorted(set(listed) - names)
    if missing:
        raise ArchiveError(
            f"manifest.csv names {len(missing)} files that are not in the archive, {missing[0]!r} first; "
            "nothing was stored",
            reason="MANIFEST_INVALID",
        )
    for entry in archive.entries:
        place = str(PurePosixPath(entry.name))
        if PurePosixPath(place).suffix.lower() not in IMAGES:
            continue
        described = listed.get(place) or manifest.from_place(place)

        def read(entry: Any = entry, described: Described = described) -> tuple[Described, bytes]:
            return described, archive.read(entry, Limits().max_bytes)

        yield place, read


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    file.seek(0)
    at = 0
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ArchiveError(
                f"a line has more than {LONGEST_LINE:,} bytes; nothing was stored", reason="LINE_TOO_LONG"
            )
        if line.strip():
            yield at, len(line)
        at += len(line)


def _of_line(file: IO[bytes], number: int, at: int, length: int) -> Source:
    name = f"line {number}"

    def read() -> tuple[Described, bytes]:
        # positioned reads: several lines are read at a time
        line = os.pread(file.fileno(), length, at)
        return manifest.from_ndjson(line)

    return name, read


def _file_reader(name: str, file: IO[bytes]) -> Callable[[], tuple[Described, bytes]]:
    def read() -> tuple[Described, bytes]:
        limit = Limits().max_bytes
        data = file.read(limit + 1)
        if not data:
            raise InvalidRequest("the file is empty", field="files", reason="NOT_AN_IMAGE")
        return manifest.from_place(name), data

    return read
