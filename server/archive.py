"""Upload archives, read without trust: zip and tar, their whole directory judged before anything is stored.

Nothing is ever extracted to a path: entries are read as streams and named by us. Knows no gallery.
"""

import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from vireid.errors import ArchiveError

MAX_ENTRIES = 100_000
MAX_UNFOLDED_BYTES = 8 * 1024**3
MAX_RATIO = 100
RATIO_FREE_BYTES = 1024 * 1024
NESTED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
MANIFEST = "manifest.csv"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive, not read yet.

    Attributes:
        name: its path inside, with forward slashes.
        size: bytes once unfolded, as the directory says.
        handle: what the archive's library knows it by.
    """

    name: str
    size: int
    handle: zipfile.ZipInfo | tarfile.TarInfo


class Archive:
    """An archive whose directory was found safe.

    Args:
        file: seekable.
        packed_bytes: its size as it came.

    Raises:
        ArchiveError: not readable, or unsafe in any entry; nothing may be stored from it.
    """

    def __init__(self, file: IO[bytes], packed_bytes: int) -> None:
        try:
            self._archive: zipfile.ZipFile | tarfile.TarFile
            if zipfile.is_zipfile(file):
                self._archive = zipfile.ZipFile(file)
                found = list(_zip_entries(self._archive.infolist()))
            else:
                file.seek(0)
                self._archive = tarfile.open(fileobj=file, mode="r:*")  # noqa: SIM115 - closed by close()
                found = list(_tar_entries(self._archive, packed_bytes))
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
            raise ArchiveError(
                f"the upload is no readable zip or tar ({error}); send it again", reason="ARCHIVE_UNREADABLE"
            ) from None
        self.entries = _judged(found, packed_bytes)

    def read(self, entry: Entry, limit: int) -> bytes:
        """Read one entry, at most ``limit`` bytes and one more.

        Raises:
            ArchiveError: the entry is damaged.
        """
        try:
            stream = self._open(entry)
            with stream:
                return stream.read(limit + 1)
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            zlib.error,
            EOFError,
            OSError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise ArchiveError(
                f"{entry.name}: cannot be read ({error})", reason="ARCHIVE_ENTRY_DAMAGED"
            ) from None

    def _open(self, entry: Entry) -> IO[bytes]:
        if isinstance(self._archive, zipfile.ZipFile):
            assert isinstance(entry.handle, zipfile.ZipInfo)
            return self._archive.open(entry.handle)
        assert isinstance(entry.handle, tarfile.TarInfo)
        stream = self._archive.extractfile(entry.handle)
        assert stream is not None  # only regular files passed
        return stream

    def close(self) -> None:
        """Let the archive go."""
        self._archive.close()


def _zip_entries(infos: Iterable[zipfile.ZipInfo]) -> Iterator[Entry]:
    for count, info in enumerate(infos, start=1):
        _count(count)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        if kind not in (0, stat.S_IFREG):
            raise _unsafe(info.filename, "is a link or device", "ARCHIVE_LINK")
        if info.flag_bits & 1:
            raise _unsafe(info.filename, "is encrypted", "ARCHIVE_ENCRYPTED")
        if info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise _bomb(info.filename, info.file_size, info.compress_size)
        yield Entry(info.filename, info.file_size, info)


def _tar_entries(archive: tarfile.TarFile, packed_bytes: int) -> Iterator[Entry]:
    unfolded = 0
    for count, info in enumerate(archive, start=1):
        _count(count)
        if info.isdir():
            continue
        if not info.isreg():
            raise _unsafe(info.name, "is a link or device", "ARCHIVE_LINK")
        unfolded += info.size
        # judged while walking: a compressed tar unfolds as its directory is read
        if unfolded > RATIO_FREE_BYTES and unfolded > MAX_RATIO * packed_bytes:
            raise _bomb(info.name, unfolded, packed_bytes)
        yield Entry(info.name, info.size, info)


def _judged(entries: list[Entry], packed_bytes: int) -> tuple[Entry, ...]:
    seen: dict[str, str] = {}
    total = 0
    kept = []
    for entry in entries:
        path = PurePosixPath(entry.name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in entry.name
            or "\0" in entry.name
            or ":" in path.parts[0]
        ):
            raise _unsafe(entry.name, "leaves the archive's own folder", "ARCHIVE_PATH_ESCAPES")
        if path.name.startswith(".") or path.parts[0] == "__MACOSX":
            continue
        folded = unicodedata.normalize("NFC", str(path)).casefold()
        if folded in seen:
            raise _unsafe(entry.name, f"falls on the same file as {seen[folded]!r}", "ARCHIVE_NAME_TWICE")
        seen[folded] = entry.name
        if path.suffix.lower() in NESTED:
            raise _unsafe(entry.name, "is an archive inside the archive", "ARCHIVE_NESTED")
        total += entry.size
        kept.append(entry)
    if total > MAX_UNFOLDED_BYTES or (total > RATIO_FREE_BYTES and total > MAX_RATIO * packed_bytes):
        raise _bomb("the archive", total, packed_bytes)
    if not kept:
        raise ArchiveError("the archive holds no files", reason="ARCHIVE_EMPTY")
    return tuple(sorted(kept, key=lambda entry: entry.name))


def _count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise ArchiveError(
            f"the archive holds more than {MAX_ENTRIES:,} entries; split it",
            reason="ARCHIVE_TOO_MANY_ENTRIES",
        )


def _unsafe(name: str, why: str, reason: str) -> ArchiveError:
    return ArchiveError(f"entry {name[:200]!r} {why}; nothing of this archive was stored", reason=reason)


def _bomb(name: str, unfolded: int, packed: int) -> ArchiveError:
    return ArchiveError(
        f"{name} unfolds from {packed:,} to {unfolded:,} bytes, more than {MAX_RATIO} times; "
        "nothing of this archive was stored",
        reason="ARCHIVE_BOMB",
    )
