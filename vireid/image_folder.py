"""A folder of images on disk: which files, and what is known of each.

    ROOT/manifest.csv                                  see ``vireid.described``
    ROOT/{visible,infrared}/<person>/<camera>_*.jpg    where there is no manifest
    ROOT/**/*.jpg                                      nothing known

The item id is the file's place below ROOT, so that a second enrolment finds the first. Opens no image.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vireid import described
from vireid.described import MANIFEST
from vireid.errors import DatasetError, InvalidRequest
from vireid.types import ItemMeta, Modality

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file and what is known of it.

    Attributes:
        path: the file.
        item_id: its id in a gallery.
        modality: None where the picture is to tell.
        meta: person, camera, time, attributes.
        split: ``train``, ``query``, ``gallery`` or ``test``.
        expires_at: when a gallery is to let it go; None leaves that to the gallery.
    """

    path: Path
    item_id: str
    modality: Modality | None
    meta: ItemMeta
    split: str = "test"
    expires_at: datetime | None = None


def read(root: Path, manifest: Path | None = None) -> tuple[Entry, ...]:
    """Find a folder's images and what is known of them.

    Args:
        root: the folder.
        manifest: a manifest elsewhere; its paths are relative to ``root``.

    Raises:
        DatasetError: there is no image, the manifest is malformed or names a file that is not there, or two
            images have one item id.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected a folder of images")
    entries = tuple(
        _listed(root, manifest or root / MANIFEST) if manifest or is_listed(root) else _walk(root)
    )
    if not entries:
        raise DatasetError(f"{root} holds no image; expected {', '.join(sorted(SUFFIXES))} files")
    check_distinct(entries)
    _tell_left_out(root, entries)
    return entries


def _tell_left_out(root: Path, entries: Sequence[Entry]) -> None:
    """A list may be meant to be short; that it is should not go unseen."""
    left_out = len(_images(root.rglob("*"))) - len(entries)
    if left_out > 0:
        log.warning("%d images below %s are left out: nothing tells of them", left_out, root)


def is_listed(root: Path) -> bool:
    """Whether a folder has a manifest."""
    return (root / MANIFEST).is_file()


def is_sorted(root: Path) -> bool:
    """Whether a folder is sorted by modality."""
    return any((root / modality.word).is_dir() for modality in Modality)


def check_distinct(entries: Iterable[Entry]) -> None:
    """Refuse two images with one item id.

    Raises:
        DatasetError: names both.
    """
    owner: dict[str, Path] = {}
    for entry in entries:
        other = owner.setdefault(entry.item_id, entry.path)
        if other != entry.path:
            raise DatasetError(
                f"{other} and {entry.path} have the same item id {entry.item_id!r}; give each its own in {MANIFEST}"
            )


def manifest_lines(manifest: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a manifest: where each line is, in words, and its values by column.

    Raises:
        DatasetError: it cannot be read, is no CSV, or has no column ``path``.
    """
    try:
        lines = described.lines_of(manifest.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{manifest} cannot be read: {error}; expected a CSV text file") from error
    except InvalidRequest as error:
        raise DatasetError(f"{manifest}: {error.message}") from None
    for number, line in lines:
        yield f"{manifest}, line {number}", dict(line)


def _listed(root: Path, manifest: Path) -> Iterator[Entry]:
    for where, line in manifest_lines(manifest):
        place = line["path"]
        path = root / place
        if not place or not path.is_file():
            raise DatasetError(
                f"{where}: there is no file {place!r} below {root}; copy it or mend the manifest"
            )
        try:
            found = described.from_fields(line, place.replace("\\", "/"))
        except InvalidRequest as error:
            raise DatasetError(f"{where}: {error.message}") from None
        yield Entry(path, found.item_id, found.modality, found.meta, found.split, found.expires_at)


def _walk(root: Path) -> Iterator[Entry]:
    if not is_sorted(root):
        for path in _images(root.rglob("*")):
            yield Entry(path, described.item_id_of(path.relative_to(root).as_posix()), None, ItemMeta())
        return
    for modality in Modality:
        for path in _images((root / modality.word).glob("*/*")):
            found = described.from_place(path.relative_to(root).as_posix())
            yield Entry(path, found.item_id, found.modality, found.meta)


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
