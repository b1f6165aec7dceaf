"""Upload archives, read without trust: zip, tar and tar.gz, their whole directory judged before anything is stored.

Nothing is ever extracted to a path: entries are read by position, from several threads, and named by us. Knows no gallery.
"""

import gzip
import os
import re
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO

from vireid.errors import ArchiveError, StorageError

MAX_ENTRIES = 100_000
MAX_UNFOLDED_BYTES = 8 * 1024**3
MAX_RATIO = 100
MIB = 1024 * 1024
RATIO_FREE_BYTES = MIB
# a directory is read in pieces of this size at most, so that it cannot fill the memory
MAX_ZIP_PIECE, MAX_TAR_PIECE = 64 * MIB, MIB
ZIP_STARTS, ZIP_ENTRY, GZIP_START = (b"PK\x03\x04", b"PK\x05\x06"), b"PK\x01\x02", b"\x1f\x8b"
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
NESTED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
DRIVE = re.compile(r"[A-Za-z]:")
UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive, not read yet.

    Attributes:
        name: its path inside, with forward slashes.
        size: bytes once unfolded, as the directory says.
        read: gives at most that many of its bytes.
    """

    name: str
    size: int
    read: Callable[[int], bytes]


class Archive:
    """An archive whose directory was found safe.

    Args:
        file: seekable, a file of the system; stays the caller's.
        packed_bytes: its size as it came.

    Raises:
        ArchiveError: not readable, or unsafe in any entry; nothing may be stored from it.
        StorageError: there is no room to unfold it.
    """

    def __init__(self, file: IO[bytes], packed_bytes: int) -> None:
        self._unfolded: IO[bytes] | None = None
        try:
            file.seek(0)
            start = file.read(4)
            file.seek(0)
            if start in ZIP_STARTS:
                found = list(_zip_entries(file))
            else:
                if start.startswith(GZIP_START):
                    # a gzip stream can only be read from its beginning, entries are read in any order
                    file = self._unfolded = _unfold(file, packed_bytes)
                found = list(_tar_entries(file))
            self.entries = _judged(found, packed_bytes)
        except UNREADABLE as error:
            self.close()
            raise ArchiveError(
                f"the upload is no readable zip, tar or tar.gz ({error}); send it again",
                reason="ARCHIVE_UNREADABLE",
            ) from None
        except BaseException:
            self.close()
            raise

    def read(self, entry: Entry, limit: int) -> bytes:
        """Read one entry, at most ``limit`` bytes and one more; may be called from several threads.

        Raises:
            ArchiveError: the entry is damaged.
        """
        try:
            return entry.read(limit + 1)
        except UNREADABLE as error:
            raise ArchiveError(
                f"{entry.name}: cannot be read ({error})", reason="ARCHIVE_ENTRY_DAMAGED"
            ) from None

    def close(self) -> None:
        """Let go of what was unfolded."""
        if self._unfolded is not None:
            self._unfolded.close()


class _Pieces:
    """A file that refuses to be read in large pieces, such as the directory of a crafted archive would ask for."""

    def __init__(self, file: IO[bytes], largest: int) -> None:
        self._file, self._largest = file, largest
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._largest + 1 if size < 0 else min(size, self._largest + 1))
        if len(data) > self._largest:
            raise ArchiveError(
                f"the archive's directory is larger than {self._largest:,} bytes; split it",
                reason="ARCHIVE_TOO_MANY_ENTRIES",
            )
        if data.count(ZIP_ENTRY) > MAX_ENTRIES:  # before an object is made for each
            raise _too_many()
        return data


def _zip_entries(file: IO[bytes]) -> Iterator[Entry]:
    archive = zipfile.ZipFile(_Pieces(file, MAX_ZIP_PIECE))
    for count, info in enumerate(archive.infolist(), start=1):
        if count > MAX_ENTRIES:
            raise _too_many()
        if not info.filename:
            raise _unsafe("", "has no name", "ARCHIVE_NAME_INVALID")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(info.filename, "is a link or device", "ARCHIVE_LINK")
        if info.flag_bits & 1:
            raise _unsafe(info.filename, "is encrypted", "ARCHIVE_ENCRYPTED")
        if info.compress_type not in ZIP_METHODS:
            raise _unsafe(info.filename, "is neither stored nor deflated", "ARCHIVE_COMPRESSION")
        if info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise _bomb(repr(info.filename[:200]), info.file_size, info.compress_size)
        if not info.is_dir():
            yield Entry(info.filename, info.file_size, partial(_read_zipped, archive, info))


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(info) as stream:
        return stream.read(most)


def _tar_entries(file: IO[bytes]) -> Iterator[Entry]:
    pieces = _Pieces(file, MAX_TAR_PIECE)
    with tarfile.open(fileobj=pieces, mode="r:", encoding="utf-8", errors="replace") as archive:  # type: ignore[call-overload]
        for count, info in enumerate(archive, start=1):
            if count > MAX_ENTRIES:
                raise _too_many()
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                raise _unsafe(info.name, "is a link, device or sparse file", "ARCHIVE_LINK")
            yield Entry(info.name, info.size, partial(_read_at, file, info.offset_data, info.size))


def _read_at(file: IO[bytes], place: int, size: int, most: int) -> bytes:
    wanted = min(size, most)
    data = os.pread(file.fileno(), wanted, place)
    if len(data) != wanted:
        raise EOFError(f"{len(data)} of {wanted} bytes are there")
    return data


def _unfold(file: IO[bytes], packed_bytes: int) -> IO[bytes]:
    """Write what a gzip stream holds to an unnamed temporary file, and stop as soon as it is too much."""
    most = min(MAX_UNFOLDED_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * packed_bytes))
    unfolded = tempfile.TemporaryFile()  # noqa: SIM115 - the archive closes it
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while block := stream.read(MIB):
                _write(unfolded, block)
                _check_unfolded(unfolded.tell(), most, packed_bytes)
        unfolded.seek(0)
    except BaseException:
        unfolded.close()
        raise
    return unfolded


def _check_unfolded(found: int, most: int, packed_bytes: int) -> None:
    if found > most:
        raise _bomb("the archive", found, packed_bytes)


def _write(file: IO[bytes], block: bytes) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise StorageError(f"the upload cannot be unfolded: {error}; free space, then try again") from error


def _judged(entries: Iterable[Entry], packed_bytes: int) -> tuple[Entry, ...]:
    seen: dict[str, str] = {}
    total = 0
    kept = []
    for entry in entries:
        path = PurePosixPath(entry.name)
        _check_place(entry.name, path)
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


def _check_place(name: str, path: PurePosixPath) -> None:
    if not path.parts or "\0" in name:
        raise _unsafe(name, "has no name", "ARCHIVE_NAME_INVALID")
    if path.is_absolute() or ".." in path.parts or "\\" in name or DRIVE.match(name):
        raise _unsafe(name, "leaves the archive's own folder", "ARCHIVE_PATH_ESCAPES")


def _too_many() -> ArchiveError:
    return ArchiveError(
        f"the archive holds more than {MAX_ENTRIES:,} entries; split it", reason="ARCHIVE_TOO_MANY_ENTRIES"
    )


def _unsafe(name: str, why: str, reason: str) -> ArchiveError:
    return ArchiveError(f"entry {name[:200]!r} {why}; nothing of this archive was stored", reason=reason)


def _bomb(name: str, unfolded: int, packed: int) -> ArchiveError:
    return ArchiveError(
        f"{name} unfolds from {packed:,} to {unfolded:,} bytes; at most {MAX_RATIO} times as many and "
        f"{MAX_UNFOLDED_BYTES:,} are taken; nothing of this archive was stored",
        reason="ARCHIVE_BOMB",
    )
