"""All galleries below one folder, held by one process at a time.

    ROOT/lock
    ROOT/galleries/NAME/gallery.sqlite

One broken gallery is listed as failed and never stops the others.
"""

import fcntl
import os
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import IO

from index.gallery import Gallery, Receipt
from index.records import Records
from vireid.errors import (
    DataLoss,
    GalleryExists,
    GalleryMismatch,
    GalleryNotFound,
    InvalidRequest,
    StorageError,
    VireidError,
)
from vireid.types import GalleryInfo

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FILE = "gallery.sqlite"
DISCARDED = ".discarded-"


class GalleryStore:
    """Opens, makes and removes galleries.

    Args:
        root: a folder, made if absent.
        space_id: the embedding space of the bundle in use.
        dim: its embedding dimension.
        backend: ``faiss`` or ``exact``.

    Raises:
        StorageError: another process holds the folder, or it cannot be written.
    """

    def __init__(self, root: Path, space_id: str, dim: int, backend: str = "faiss") -> None:
        self._space_id, self._dim, self._backend = space_id, dim, backend
        self._folder = root / "galleries"
        self._lock = threading.RLock()
        self._open: dict[str, Gallery] = {}
        self._failed: dict[str, str] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._held = _hold(root / "lock")
        except OSError as error:
            raise StorageError(f"{root} cannot be used: {error}", reason="DATA_FOLDER_UNUSABLE") from error
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_dir():
                self._try_to_open(path)

    def create(self, name: str, store_images: bool = True) -> Gallery:
        """Make an empty gallery in this store's space.

        Raises:
            InvalidRequest: a malformed name.
            GalleryExists: the name is taken.
        """
        if not NAME.fullmatch(name):
            raise InvalidRequest(
                f"found gallery name {name[:80]!r}; expected 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
                field="name",
                reason="GALLERY_NAME_INVALID",
            )
        with self._lock:
            path = self._folder / name
            if path.exists():
                raise GalleryExists(f"there is a gallery {name!r} already", metadata={"gallery": name})
            # made aside and renamed: a gallery that was half made does not exist
            part = self._folder / f".making-{uuid.uuid4().hex}"
            part.mkdir()
            facts = {
                "name": name,
                "space_id": self._space_id,
                "dim": str(self._dim),
                "stores_images": "1" if store_images else "0",
            }
            Records.create(part / FILE, facts)
            part.rename(path)
            _sync(self._folder)
            self._open[name] = Gallery(path / FILE, self._backend)
            return self._open[name]

    def get(self, name: str) -> Gallery:
        """Return an open gallery of this store's space.

        Raises:
            GalleryNotFound: no gallery of that name.
            GalleryMismatch: it was embedded by another bundle.
            DataLoss: it failed to open.
        """
        with self._lock:
            if name in self._failed:
                raise DataLoss(f"gallery {name!r} could not be opened: {self._failed[name]}")
            if name not in self._open:
                raise GalleryNotFound(f"there is no gallery {name!r}", metadata={"gallery": name})
            gallery = self._open[name]
        if gallery.space_id != self._space_id:
            raise GalleryMismatch(
                f"gallery {name!r} holds embeddings of space {gallery.space_id[:12]}..., the bundle in use makes "
                f"{self._space_id[:12]}...; serve the bundle it was made with, or enrol it again",
                metadata={"gallery": name, "found": gallery.space_id, "expected": self._space_id},
            )
        return gallery

    def describe(self, name: str) -> GalleryInfo:
        """Describe a gallery, a failed one too.

        Raises:
            GalleryNotFound: no gallery of that name.
        """
        found = next((info for info in self.list() if info.name == name), None)
        if found is None:
            raise GalleryNotFound(f"there is no gallery {name!r}", metadata={"gallery": name})
        return found

    def list(self) -> list[GalleryInfo]:
        """Describe every gallery, those that failed to open too."""
        with self._lock:
            found = [gallery.info() for gallery in self._open.values()]
            found += [
                GalleryInfo(name, "", 0, 0, 0, False, state="failed", detail=detail)
                for name, detail in self._failed.items()
            ]
        return sorted(found, key=lambda info: info.name)

    def delete(self, name: str) -> Receipt:
        """Remove a gallery and all its files, a failed one too.

        Raises:
            GalleryNotFound: no gallery of that name.
        """
        with self._lock:
            if name not in self._open and name not in self._failed:
                raise GalleryNotFound(f"there is no gallery {name!r}", metadata={"gallery": name})
            gallery = self._open.pop(name, None)
            self._failed.pop(name, None)
            receipt = Receipt(0, 0, 0, 0)
            if gallery is not None:
                info = gallery.info()
                images = sum(item.has_image for item in gallery.every_item())
                receipt = Receipt(info.items, images, info.items, info.version)
                gallery.close()
            gone = self._folder / f"{DISCARDED}{uuid.uuid4().hex}"
            (self._folder / name).rename(gone)
            _sync(self._folder)
            shutil.rmtree(gone)
            return receipt

    def close(self) -> None:
        """Close every gallery and let the folder go."""
        with self._lock:
            for gallery in self._open.values():
                gallery.close()
            self._open.clear()
            self._held.close()

    def _try_to_open(self, path: Path) -> None:
        try:
            self._open[path.name] = Gallery(path / FILE, self._backend)
        except VireidError as error:
            self._failed[path.name] = error.message


def _hold(path: Path) -> IO[str]:
    held = path.open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise StorageError(
            f"{path.parent} is in use by another vireid process; stop it, or choose another data folder",
            reason="DATA_FOLDER_IN_USE",
        ) from None
    return held


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
