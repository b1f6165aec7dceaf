"""Images on disk that are to be enrolled, and what is known of each.

    ROOT/manifest.csv                                  columns path[,item_id,person,camera,modality,captured_at,split];
                                                       any other column is an attribute
    ROOT/{visible,infrared}/<person>/<camera>_*.jpg    where there is no manifest
    SYSU-MM01, RegDB, LLCM                             in their published layouts, drawn ones too
    ROOT/**/*.jpg                                      anything else: nothing known

The item id is the file's place below ROOT, as ``vireid upload`` makes it. Knows no gallery and opens no image.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from index.limits import ITEM_ID
from vireid.datasets import files, folder, open_dataset
from vireid.datasets.verify import detect
from vireid.errors import DatasetError
from vireid.types import ItemMeta, Modality

KNOWN = ("path", "item_id", "person", "camera", "modality", "captured_at", "split")
SPLITS = ("train", "query", "gallery", "test")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
LONGEST_ID = 200
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True, slots=True)
class Source:
    """One image file to enrol.

    Attributes:
        path: the file.
        item_id: its id in the gallery.
        modality: None where the picture is to tell.
        meta: what is known of it.
        split: ``train``, ``query``, ``gallery`` or ``test``.
    """

    path: Path
    item_id: str
    modality: Modality | None
    meta: ItemMeta
    split: str = "test"


def read(root: Path, split: str | None = None) -> tuple[Source, ...]:
    """Find the images of a folder.

    Args:
        root: the folder.
        split: only this split; None takes all but the training images.

    Raises:
        DatasetError: there is no such image, a line of the manifest is malformed, or two images have one id.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected a folder of images")
    found = tuple(_all(root))
    chosen = tuple(one for one in found if (one.split != "train" if split is None else one.split == split))
    if not chosen:
        raise DatasetError(
            f"{root} holds no image to enrol ({len(found)} in other splits); expected "
            f"{', '.join(sorted(SUFFIXES))} files"
        )
    owner: dict[str, Path] = {}
    for one in chosen:
        other = owner.setdefault(one.item_id, one.path)
        if other != one.path:
            raise DatasetError(
                f"{other} and {one.path} have the same item id {one.item_id!r}; give each its own in {folder.MANIFEST}"
            )
    return chosen


def item_id_of(place: str) -> str:
    """Make an item id of a place: itself where it may be one, else marked so that two never fall together."""
    if ITEM_ID.fullmatch(place):
        return place
    mark = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{_NOT_IN_AN_ID.sub('_', place)[-(LONGEST_ID - 13) :]}:{mark}"


def _all(root: Path) -> Iterator[Source]:
    if (root / folder.MANIFEST).is_file():
        return _listed(root)
    if any((root / modality.word).is_dir() for modality in Modality):
        return _sorted(root)
    try:
        name = detect(root)
    except DatasetError:
        return _unknown(root)
    return _published(root, name)


def _listed(root: Path) -> Iterator[Source]:
    manifest = root / folder.MANIFEST
    reader = csv.DictReader(io.StringIO(files.text(manifest), newline=""), restval="")
    if "path" not in (reader.fieldnames or ()):
        raise DatasetError(
            f"{manifest} has the columns {', '.join(reader.fieldnames or ()) or '(none)'}; expected path and any "
            f"of {', '.join(KNOWN[1:])}"
        )
    try:
        for line in reader:
            words = {key: (word or "").strip() for key, word in line.items() if key}
            yield _of_line(root, words, f"{manifest}, line {reader.line_num}")
    except csv.Error as error:
        raise DatasetError(
            f"{manifest}, line {reader.line_num}: {error}; expected comma-separated values"
        ) from error


def _of_line(root: Path, words: Mapping[str, str], where: str) -> Source:
    place = words["path"]
    if not place or not (root / place).is_file():
        raise DatasetError(f"{where}: there is no file {place!r} below {root}; copy it or mend the manifest")
    split = words.get("split", "").lower() or "test"
    if split not in SPLITS:
        raise DatasetError(f"{where}: split is one of {', '.join(SPLITS)}, not {split!r}")
    try:
        modality = Modality.of(words["modality"]) if words.get("modality") else None
        captured_at = _moment(words.get("captured_at", ""))
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from None
    meta = ItemMeta(
        person=words.get("person", ""),
        camera=words.get("camera", ""),
        captured_at=captured_at,
        attributes={key: word for key, word in words.items() if key not in KNOWN and word},
    )
    return Source(root / place, words.get("item_id") or item_id_of(place), modality, meta, split)


def _sorted(root: Path) -> Iterator[Source]:
    for modality in Modality:
        for path in _images(root / modality.word, "*/*"):
            camera, underscore, _ = path.name.partition("_")
            meta = ItemMeta(person=path.parent.name, camera=camera if underscore else "")
            yield Source(path, item_id_of(path.relative_to(root).as_posix()), modality, meta)


def _published(root: Path, name: str) -> Iterator[Source]:
    dataset = open_dataset(name, root)
    for split in (dataset.train, dataset.query, dataset.gallery):
        for sample in split.samples:
            meta = ItemMeta(person=str(sample.person), camera=str(sample.camera))
            place = item_id_of(sample.path.relative_to(root).as_posix())
            yield Source(sample.path, place, sample.modality, meta, split.name)


def _unknown(root: Path) -> Iterator[Source]:
    for path in _images(root, "**/*"):
        yield Source(path, item_id_of(path.relative_to(root).as_posix()), None, ItemMeta())


def _images(root: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in root.glob(pattern)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _moment(word: str) -> datetime | None:
    if not word:
        return None
    try:
        moment = datetime.fromisoformat(word)
        at = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # overflow: in UTC it lies before year 1 or after 9999
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"captured_at is {word!r}; expected a time with a zone, such as 2026-03-01T23:30:00Z"
        )
    return at
