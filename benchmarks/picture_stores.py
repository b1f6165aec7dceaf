"""Two ways to keep the pictures of items for good: in the gallery's file, and in files named by what they hold.

Both keep the same records and vectors in a gallery, say that a call is done when all of it is on the disk, and check a
picture against its checksum when it is read. The files are the plain way to do it: each is written under a temporary
name and flushed, then all are renamed, then each of their 256 folders that changed is flushed, once a call. They come before
the record, and go after it, so that a kill leaves files without a record and no record without its files.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from index.disk import sync
from index.records import Enrolment
from index.store import GalleryStore


class PictureStore(Protocol):
    """Keeps items with their pictures."""

    def enrol(self, batch: Sequence[Enrolment]) -> None:
        """Store items, durable on return."""
        ...

    def image(self, item_id: str) -> bytes:
        """Read an item's image, checked."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items, durable on return."""
        ...

    def close(self) -> None:
        """Let all go."""
        ...


class InTheGallery:
    """Pictures as rows of the gallery's file.

    Args:
        folder: an empty one.
        space: the embedding space.
        dim: embedding dimension.
    """

    def __init__(self, folder: Path, space: str, dim: int) -> None:
        self._store = GalleryStore(folder, space, dim)
        self._gallery = self._store.create("g")
        self.enrol, self.image = self._gallery.enroll, self._gallery.image

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items; what they held is overwritten."""
        assert self._gallery.remove(ids).images == len(ids)

    def close(self) -> None:
        """Close the gallery."""
        self._store.close()


class InFiles:
    """Pictures as files beside a gallery that keeps none.

    Args:
        folder: an empty one.
        space: the embedding space.
        dim: embedding dimension.
    """

    def __init__(self, folder: Path, space: str, dim: int) -> None:
        self._store = GalleryStore(folder / "data", space, dim)
        self._gallery = self._store.create("g", store_images=False)
        self._root = folder / "pictures"
        for number in range(256):
            (self._root / f"{number:02x}").mkdir(parents=True)
        sync(self._root)
        self._named: dict[str, tuple[str, str]] = {}  # the record would name the thumbnail

    def enrol(self, batch: Sequence[Enrolment]) -> None:
        """Write the files, then the records."""
        there: list[tuple[Path, Path]] = []
        for new in batch:
            names = []
            for data in (new.image, new.thumbnail):
                assert data is not None
                names.append(hashlib.sha256(data).hexdigest())
                part, path = self._root / f".part-{len(there)}", self._path(names[-1])
                part.write_bytes(data)
                there.append((part, path))
            assert names[0] == new.sha256
            self._named[new.item_id] = (names[0], names[1])
        for part, _ in there:
            sync(part)
        for part, path in there:
            part.replace(path)
        self._flush([path for _, path in there])
        self._gallery.enroll([replace(new, image=None, thumbnail=None) for new in batch])

    def image(self, item_id: str) -> bytes:
        """Read a file and check it."""
        name = self._gallery.item(item_id).sha256
        data = self._path(name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == name
        return data

    def remove(self, ids: Sequence[str]) -> None:
        """Remove the records, then the files; the disk keeps what they held until it is used again."""
        self._gallery.remove(ids)
        gone = [self._path(name) for item_id in ids for name in self._named.pop(item_id)]
        for path in gone:
            path.unlink()
        self._flush(gone)

    def close(self) -> None:
        """Close the gallery."""
        self._store.close()

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name

    def _flush(self, paths: Sequence[Path]) -> None:
        for folder in {path.parent for path in paths}:
            sync(folder)


def room(folder: Path) -> int:
    """Count the bytes that files take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
