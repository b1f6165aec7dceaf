"""Where a bundle's files lie: a folder, or a .zip that nobody has to trust. Whole files, in memory, with limits.

Knows names and bytes; what they mean, and their checksums, is ``vireid.bundle``'s.
"""

import io
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from vireid.errors import AlreadyExists, BundleCorrupt, BundleMissing, StorageError

MANIFEST = "bundle.json"
MAX_MANIFEST_BYTES = 1024**2
MAX_BYTES = 2 * 1024**3  # of all files together
MAX_FILES = 64
MAX_RATIO = 100  # of an entry in a zip that unfolds to more than the next line
RATIO_FROM_BYTES = 16 * 1024**2
_EPOCH = (1980, 1, 1, 0, 0, 0)


def reader(path: Path) -> Callable[[str], bytes]:
    """Open a bundle's place for reading: what comes back gives a file's bytes by its name.

    Raises:
        BundleMissing: there is nothing at ``path``; from the reader, a folder without a manifest.
        BundleCorrupt: no readable zip, or one that is unsafe; from the reader, a file that is missing or cannot be read.
    """
    if path.is_dir():
        return _FolderFiles(path)
    if path.is_file():
        return _ZipFiles(path)
    raise BundleMissing(
        f"there is no bundle at {path}; expected a folder or .zip with {MANIFEST}: export one with 'vireid export onnx'"
    )


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files atomically and durably: a .zip if ``path`` ends so (an old one is replaced), else a new folder.

    Raises:
        AlreadyExists: the folder exists.
        StorageError: the disk is full or refuses; what was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            _write_zip(path, files)
        else:
            _write_folder(path, files)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error.strerror}), and what was there stays; make room or name another place"
        ) from error


def is_plain(name: str) -> bool:
    """Whether a name stays in its folder on every system."""
    return name == Path(name).name and name not in {"", ".", ".."} and not set(name) & set("\\:\0")


class _FolderFiles:
    """Reads a bundle's files from a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._left = MAX_BYTES

    def __call__(self, name: str) -> bytes:
        file = self._root / name
        if file.is_symlink() or not file.is_file():
            if name == MANIFEST and not file.exists():
                raise BundleMissing(f"{self._root} holds no {MANIFEST}; expected a bundle folder")
            raise BundleCorrupt(f"{self._root}: {name} is missing or no plain file", metadata={"file": name})
        try:
            self._left -= file.stat().st_size
            if self._left < 0 or (name == MANIFEST and file.stat().st_size > MAX_MANIFEST_BYTES):
                raise _too_large(self._root, name)
            return file.read_bytes()
        except OSError as error:
            raise BundleCorrupt(
                f"{self._root}: {name} cannot be read ({error})", metadata={"file": name}
            ) from None


class _ZipFiles:
    """Reads a bundle's files from a zip, whole and in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.stat().st_size > MAX_BYTES:
                raise _too_large(path, "the zip")
            self._zip = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise BundleCorrupt(f"{path} is no readable zip ({error}); copy it again") from None
        entries = self._zip.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        if len(entries) > MAX_FILES or len({name.casefold() for name in self._entries}) != len(entries):
            raise BundleCorrupt(
                f"{path} holds {len(entries)} entries or a name twice; that is no bundle of ours"
            )
        if strange := [name for name in self._entries if not is_plain(name)]:
            raise BundleCorrupt(
                f"{path} holds {strange[0]!r}; expected plain files: zip the files, not their folder"
            )
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise _too_large(path, "the zip")

    def __call__(self, name: str) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise BundleCorrupt(
                f"{self._path}: {name} is missing; it holds {sorted(self._entries)}", metadata={"file": name}
            )
        folded = max(entry.compress_size, 1)
        bomb = entry.file_size > RATIO_FROM_BYTES and entry.file_size / folded > MAX_RATIO
        if bomb or (name == MANIFEST and entry.file_size > MAX_MANIFEST_BYTES):
            raise _too_large(self._path, name)
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise BundleCorrupt(
                f"{self._path}: {name} is packed by method {entry.compress_type}; expected deflate or none",
                metadata={"file": name},
            )
        try:
            return self._zip.read(entry)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,
            struct.error,
        ) as error:
            raise BundleCorrupt(
                f"{self._path}: {name} cannot be read ({error})", metadata={"file": name}
            ) from None


def _too_large(path: Path, name: str) -> BundleCorrupt:
    return BundleCorrupt(
        f"{path}: {name} unfolds to more than a bundle may hold ({MAX_BYTES:,} bytes in all, {MAX_MANIFEST_BYTES:,} "
        f"in {MANIFEST}, {MAX_RATIO} times what is packed)",
        metadata={"file": name},
    )


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # the same bytes on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _write_durably(file.fileno(), out.getvalue())
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    if path.exists():
        raise AlreadyExists(f"{path} exists; write a bundle to a new place")
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        for name, data in files.items():
            with (part / name).open("wb") as file:
                _write_durably(file.fileno(), data)
        part.chmod(0o755)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_durably(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
    os.fsync(handle)
