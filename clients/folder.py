"""A folder of images on the caller's side: which files, and what is known of each.

    ROOT/manifest.csv                                  columns path[,person,camera,modality,split,
                                                       captured_at,item_id]
    ROOT/{visible,infrared}/<person>/<camera>_*.jpg    where there is no manifest
    ROOT/**/*.jpg                                      nothing known: may be uploaded, not measured

The first two are the forms that training and evaluation read. Knows no server.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vireid.errors import DatasetError
from vireid.types import ItemMeta, Modality

MANIFEST = "manifest.csv"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SPLITS = ("train", "query", "gallery", "test")
LONGEST_ID = 200
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file and what is known of it.

    Attributes:
        path: the file.
        item_id: made from its place in the folder, so that a second upload finds the first.
        modality: None where the server is to decide.
        meta: person, camera, time.
        split: ``train``, ``query``, ``gallery`` or ``test``.
    """

    path: Path
    item_id: str
    modality: Modality | None
    meta: ItemMeta
    split: str = "test"


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
    listed = manifest or root / MANIFEST
    if manifest is not None or listed.is_file():
        entries = tuple(_listed(root, listed))
    elif any((root / modality.word).is_dir() for modality in Modality):
        entries = tuple(_sorted_by_modality(root))
    else:
        entries = tuple(_unknown(root))
    if not entries:
        raise DatasetError(f"{root} holds no image; expected {', '.join(sorted(SUFFIXES))} files")
    owner: dict[str, Path] = {}
    for entry in entries:
        other = owner.setdefault(entry.item_id, entry.path)
        if other != entry.path:
            raise DatasetError(
                f"{other} and {entry.path} have the same item id {entry.item_id!r}; give each its own"
            )
    return entries


def read_labelled(root: Path) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Divide a labelled folder into the images that ask and those that are to be found.

    ``split`` decides where it is given; of the other images the infrared ones ask and the visible ones are
    found, and where only one modality exists every image does both.

    Returns:
        The queries and the gallery.

    Raises:
        DatasetError: an image has no person, camera or modality, or nothing asks or can be found.
    """
    entries = tuple(entry for entry in read(root) if entry.split != "train")
    for entry in entries:
        if not (entry.meta.person and entry.meta.camera) or entry.modality is None:
            raise DatasetError(
                f"{entry.path} has no person, camera or modality; to measure, every image needs all three: "
                f"list them in {MANIFEST}, or sort them as {{visible,infrared}}/<person>/<camera>_*.jpg"
            )
    test = [entry for entry in entries if entry.split == "test"]
    alike = len({entry.modality for entry in test}) == 1
    asked = [entry for entry in test if alike or entry.modality is Modality.INFRARED]
    found = [entry for entry in test if alike or entry.modality is Modality.VISIBLE]
    queries = (*(entry for entry in entries if entry.split == "query"), *asked)
    gallery = (*(entry for entry in entries if entry.split == "gallery"), *found)
    if not queries or not gallery:
        raise DatasetError(
            f"{root}: {len(queries)} images ask and {len(gallery)} can be found; expected some of both: "
            "see the split and modality of its images"
        )
    return queries, gallery


def item_id_of(place: str) -> str:
    """Make an item id from a relative path; what an id may not hold is replaced, and the id kept distinct."""
    safe = _NOT_IN_AN_ID.sub("_", place)
    if safe == place and len(place) <= LONGEST_ID:
        return place
    mark = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{safe[-(LONGEST_ID - 13) :]}:{mark}"


def _unknown(root: Path) -> Iterator[Entry]:
    for path in _images(root.rglob("*")):
        yield Entry(path, item_id_of(path.relative_to(root).as_posix()), None, ItemMeta())


def _sorted_by_modality(root: Path) -> Iterator[Entry]:
    for modality in Modality:
        for path in _images((root / modality.word).glob("*/*")):
            camera, underscore, _ = path.name.partition("_")
            meta = ItemMeta(person=path.parent.name, camera=camera if underscore else "")
            yield Entry(path, item_id_of(path.relative_to(root).as_posix()), modality, meta)


def _images(paths: Iterator[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _listed(root: Path, manifest: Path) -> Iterator[Entry]:
    for where, line in _lines(manifest):
        place = line.get("path", "")
        if not place:
            raise DatasetError(f"{where}: path is empty; every line names an image relative to {root}")
        path = root / place
        if not path.is_file():
            raise DatasetError(f"{where}: {path} is not there; copy it or mend the manifest")
        split = line.get("split", "").lower() or "test"
        if split not in SPLITS:
            raise DatasetError(f"{where}: split is one of {', '.join(SPLITS)}, not {split!r}")
        meta = ItemMeta(
            person=line.get("person", ""),
            camera=line.get("camera", ""),
            captured_at=_moment(line.get("captured_at", ""), where),
        )
        item_id = line.get("item_id", "") or item_id_of(place.replace("\\", "/"))
        yield Entry(path, item_id, _modality(line.get("modality", ""), where), meta, split)


def _lines(manifest: Path) -> Sequence[tuple[str, Mapping[str, str]]]:
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{manifest} cannot be read: {error}; expected a CSV text file") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    if "path" not in (reader.fieldnames or ()):
        found = ", ".join(reader.fieldnames or ()) or "(none)"
        raise DatasetError(
            f"{manifest} has the columns {found}; the first line must name path, and may name "
            "person,camera,modality,split,captured_at,item_id"
        )
    try:
        return [
            (f"{manifest}, line {reader.line_num}", {k: v.strip() for k, v in line.items() if k})
            for line in reader
        ]
    except csv.Error as error:
        raise DatasetError(
            f"{manifest}, line {reader.line_num}: {error}; expected comma-separated values"
        ) from error


def _modality(word: str, where: str) -> Modality | None:
    try:
        return Modality.of(word) if word else None
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from None


def _moment(word: str, where: str) -> datetime | None:
    if not word:
        return None
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        raise DatasetError(
            f"{where}: captured_at is {word!r}; expected a time such as 2026-03-01T23:30:00+00:00"
        ) from None
    if moment.tzinfo is None:
        raise DatasetError(f"{where}: captured_at is {word!r} without a timezone; add one, such as +00:00")
    return moment.astimezone(UTC)
