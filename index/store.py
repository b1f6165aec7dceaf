"""All galleries below one folder, held by one process at a time.

    ROOT/lock
    ROOT/galleries/NAME/gallery.sqlite

A gallery that is damaged, or of another embedding space, is listed as failed and never stops the others.
"""

import logging
import shutil
import threading
import uuid
from pathlib import Path

from index import limits, snapshots
from index.answers import Receipt
from index.backends import DEFAULT
from index.disk import FILE, GALLERIES, LOCK, MAKING, disk_errors, hold, sync
from index.gallery import Gallery
from index.head import Head
from index.records import Records
from vireid.errors import (
    DataLoss,
    GalleryExists,
    GalleryMismatch,
    GalleryNotFound,
    VireidError,
)
from vireid.types import GalleryInfo

__all__ = ["FILE", "GalleryStore", "survey"]

log = logging.getLogger(__name__)

DISCARDED = ".discarded-"  # begins the names of galleries that a kill left half deleted


class GalleryStore:
    """Opens, makes and removes galleries; may be asked by many threads.

    Args:
        root: a folder, made if absent.
        space_id: the embedding space of the bundle in use.
        dim: its embedding dimension.
        backend: a name in ``index.backends.BACKENDS``.

    Raises:
        StorageError: another process holds the folder, or it cannot be written.
    """

    def __init__(self, root: Path, space_id: str, dim: int, backend: str = DEFAULT) -> None:
        self._space_id, self._dim, self._backend = space_id, dim, backend
        self._folder = root / GALLERIES
        self._changing = threading.Lock()
        self._open: dict[str, Gallery] = {}
        self._failed: dict[str, tuple[GalleryInfo, VireidError]] = {}
        with disk_errors(root, str(root)):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._held = hold(root / LOCK)
            places = sorted(self._folder.iterdir())
        for path in places:
            if path.name.startswith((MAKING, DISCARDED)):
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_dir() and limits.GALLERY_NAME.fullmatch(path.name):
                self._try_to_open(path)

    def create(self, name: str, store_images: bool = True, retention_s: int = 0) -> Gallery:
        """Make an empty gallery in this store's space, durable on return.

        Args:
            name: of the gallery.
            store_images: whether encoded images are kept.
            retention_s: seconds after its enrolment that an item expires; 0 sets no time.

        Raises:
            InvalidRequest: a malformed name, or a time that cannot be counted.
            GalleryExists: the name is taken.
            StorageError: the disk refuses; there is no such gallery.
        """
        limits.check_gallery_name(name)
        limits.check_retention(retention_s)
        with self._changing, disk_errors(self._folder):
            path = self._folder / name
            if path.exists():
                raise GalleryExists(f"there is a gallery {name!r} already", metadata={"gallery": name})
            # made aside and renamed: a gallery that was half made does not exist
            part = self._folder / f"{MAKING}{uuid.uuid4().hex}"
            try:
                part.mkdir()
                Records.create(part / FILE, self._head_of(name, store_images, retention_s))
                sync(part)
                part.rename(path)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            sync(self._folder)
            self._try_to_open(path)  # where that fails, the gallery is there all the same
            return self.get(name)

    def get(self, name: str) -> Gallery:
        """Return an open gallery of this store's space.

        Raises:
            GalleryNotFound: no gallery of that name.
            GalleryMismatch: it was embedded by another bundle.
            DataLoss, StorageError: it failed to open.
        """
        gallery = self._open.get(name)
        if gallery is not None:
            return gallery
        failed = self._failed.get(name)
        if failed is None:
            raise GalleryNotFound(f"there is no gallery {name[:80]!r}", metadata={"gallery": name[:80]})
        error = failed[1]
        raise type(error)(error.message, reason=error.stable_reason, metadata=error.metadata)

    def describe(self, name: str) -> GalleryInfo:
        """Describe a gallery, a failed one too.

        Raises:
            GalleryNotFound: no gallery of that name.
        """
        failed = self._failed.get(name)
        return self.get(name).info() if failed is None else failed[0]

    def list(self) -> list[GalleryInfo]:
        """Describe every gallery, those that failed to open too."""
        found = [info for info, _ in list(self._failed.values())]
        for gallery in list(self._open.values()):
            try:
                found.append(gallery.info())
            except GalleryNotFound:  # deleted meanwhile
                continue
        return sorted(found, key=lambda info: info.name)

    def delete(self, name: str) -> Receipt:
        """Remove a gallery and all its files, a failed one too.

        Returns:
            What went; of a failed gallery, what its head says it held.

        Raises:
            GalleryNotFound: no gallery of that name.
            StorageError: the disk refuses.
        """
        with self._changing, disk_errors(self._folder):
            gallery, failed = self._open.get(name), self._failed.get(name)
            if gallery is None and failed is None:
                raise GalleryNotFound(f"there is no gallery {name[:80]!r}", metadata={"gallery": name[:80]})
            path = self._folder / name
            receipt = _contents(path) if gallery is None else gallery.close(for_good=True)
            self._open.pop(name, None)
            self._failed.pop(name, None)
            gone = self._folder / f"{DISCARDED}{uuid.uuid4().hex}"
            try:
                path.rename(gone)
            except OSError:
                self._try_to_open(path)
                raise
            sync(self._folder)
            shutil.rmtree(gone)
            return receipt

    def close(self) -> None:
        """Close every gallery and let the folder go."""
        with self._changing:
            for gallery in self._open.values():
                gallery.close()
            self._open.clear()
            self._failed.clear()
            self._held.close()

    def _try_to_open(self, path: Path) -> None:
        head = Head(path.name, "", 0, False)
        try:
            head = _head(path)
            if (head.space_id, head.dim) != (self._space_id, self._dim):
                raise self._mismatch(head)
            self._open[path.name] = Gallery(path / FILE, self._backend)
        except VireidError as error:
            log.warning("gallery %s is not available: %s", path.name, error.message)
            self._failed[path.name] = (head.described(error.message), error)

    def _head_of(self, name: str, store_images: bool, retention_s: int) -> Head:
        return Head(name, self._space_id, self._dim, store_images, retention_s=retention_s)

    def _mismatch(self, head: Head) -> GalleryMismatch:
        return GalleryMismatch(
            f"gallery {head.name!r} holds embeddings of space {head.space_id[:12]}... ({head.dim} numbers each), the "
            f"bundle in use makes {self._space_id[:12]}... ({self._dim}); use the bundle it was made with, "
            "embed the images it keeps anew with 'vireid index reembed', or build a new gallery from the images",
            metadata={"gallery": head.name, "found": head.space_id, "expected": self._space_id},
        )


def survey(root: Path) -> list[GalleryInfo]:
    """Read and verify every gallery below a folder, of whatever embedding space.

    Raises:
        GalleryNotFound: there is no such folder of galleries.
        StorageError: another process holds it, or it cannot be read.
    """
    folder = root / GALLERIES
    if not folder.is_dir():
        raise GalleryNotFound(f"{root} holds no galleries; name the folder that was given to serve or build")
    found = []
    with disk_errors(root, str(root)), hold(root / LOCK):
        for path in sorted(folder.iterdir()):
            if not path.is_dir() or not limits.GALLERY_NAME.fullmatch(path.name):
                continue
            head = Head(path.name, "", 0, False)
            try:
                head = _head(path)
                gallery = Gallery(path / FILE, cached=False)
                found.append(gallery.info())
                gallery.close()
            except VireidError as error:
                found.append(head.described(error.message))
    return found


def _head(path: Path) -> Head:
    records = Records(path / FILE)
    head = records.head
    records.close()
    if head.name != path.name:
        raise DataLoss(f"{path} holds the gallery {head.name!r}; give the folder its name back")
    return head


def _contents(path: Path) -> Receipt:
    """Count what a gallery that is not open holds; nothing where its file cannot be read."""
    try:
        records = Records(path / FILE)
    except VireidError:
        return Receipt(0, 0, 0, 0)
    try:
        items, images = records.count()
        kept = len(list(snapshots.listed(path / snapshots.FOLDER)))
        return Receipt(items, images, items, records.head.version, kept)
    except VireidError:
        return Receipt(0, 0, 0, records.head.version)
    finally:
        records.close()
