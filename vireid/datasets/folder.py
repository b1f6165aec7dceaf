"""Reader of anyone's labelled images: a manifest, or two folders.

    ROOT/manifest.csv                                  columns path,person,camera,modality[,split]
    ROOT/{visible,infrared}/<person>/<camera>_*.jpg    where there is no manifest

Persons and cameras may be called anything: names that are distinct numbers keep their number (``cam3`` is
camera 3), other names are numbered in alphabetical order. ``split`` is ``train``, ``query``, ``gallery`` or
``test``; without it every image is a test image. Of those the infrared ones ask and the visible ones
are found; where only one modality exists every image does both, and leaving out a person's own camera makes
the measure. Knows no protocol.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vireid.datasets import files
from vireid.datasets.split import Dataset, Split, is_synthetic
from vireid.described import MANIFEST, from_fields
from vireid.errors import DatasetError, InvalidRequest
from vireid.image_folder import manifest_lines
from vireid.types import Modality, Sample

NAME = "folder"
COLUMNS = ("path", "person", "camera", "modality")
_NUMBERED = re.compile(r"(?:cam(?:era)?|c)?[-_ ]?(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Row:
    """One image as its owner names it."""

    path: Path
    person: str
    camera: str
    modality: Modality
    split: str


def read(root: Path) -> Dataset:
    """Read a labelled folder.

    Raises:
        DatasetError: neither a manifest nor the two folders, a malformed row, a missing image, or nothing
            to learn from or to ask.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected a folder of labelled images")
    rows = _manifest(root) if (root / MANIFEST).is_file() else _walk(root)
    person = numbers(row.person for row in rows)
    camera = numbers(row.camera for row in rows)
    samples = [(row, Sample(row.path, person[row.person], camera[row.camera], row.modality)) for row in rows]
    train = tuple(s for row, s in samples if row.split == "train")
    test = tuple(s for row, s in samples if row.split == "test")
    one_modality = len({s.modality for s in test}) == 1
    asked = tuple(s for s in test if one_modality or s.modality is Modality.INFRARED)
    found = tuple(s for s in test if one_modality or s.modality is Modality.VISIBLE)
    query = tuple(s for row, s in samples if row.split == "query") + asked
    gallery = tuple(s for row, s in samples if row.split == "gallery") + found
    if not train and not (query and gallery):
        raise DatasetError(
            f"{root}: {len(query)} images ask and {len(gallery)} can be found; expected some of both, "
            f"or training images: see the split and modality columns"
        )
    return Dataset(
        name=NAME,
        root=root,
        train=Split("train", train),
        query=Split("query", query),
        gallery=Split("gallery", gallery),
        synthetic=is_synthetic(root),
    )


def numbers(names: Iterable[str]) -> Mapping[str, int]:
    """Give each name a number: its own where all names hold distinct ones, else its alphabetical place."""
    distinct = sorted(set(names))
    own = {name: int(m.group(1)) for name in distinct if (m := _NUMBERED.fullmatch(name))}
    if len(set(own.values())) == len(distinct):
        return own
    return {name: place for place, name in enumerate(distinct)}


def _manifest(root: Path) -> list[_Row]:
    path = root / MANIFEST
    lines = list(manifest_lines(path))
    if not lines:
        raise DatasetError(f"{path} holds no row; expected one line per image")
    absent = [column for column in COLUMNS if column not in lines[0][1]]
    if absent:
        raise DatasetError(
            f"{path} has the columns {', '.join(lines[0][1])}; missing {', '.join(absent)}: "
            f"the first line must read path,person,camera,modality or path,person,camera,modality,split"
        )
    rows = [_row(root, line, where) for where, line in lines]
    files.require_files((row.path for row in rows), str(path))
    return rows


def _row(root: Path, line: Mapping[str, str], where: str) -> _Row:
    words = {column: line[column] for column in COLUMNS}
    empty = [c for c, word in words.items() if not word]
    if empty:
        raise DatasetError(
            f"{where}: {', '.join(empty)} is empty; every image needs all of {', '.join(COLUMNS)}"
        )
    try:
        said = from_fields(line)
    except InvalidRequest as error:
        raise DatasetError(f"{where}: {error.message}") from None
    if said.modality is None:
        raise DatasetError(f"{where}: modality is {words['modality']!r}; expected visible or infrared")
    return _Row(root / words["path"], words["person"], words["camera"], said.modality, said.split)


def _walk(root: Path) -> list[_Row]:
    parts = [m for m in Modality if (root / m.word).is_dir()]
    if not parts:
        raise DatasetError(
            f"{root} holds neither {MANIFEST} nor a folder visible/ or infrared/; "
            f"expected {MANIFEST} with the columns path,person,camera,modality[,split], "
            f"or {{visible,infrared}}/<person>/<camera>_*.jpg"
        )
    rows = []
    for modality in parts:
        for folder in files.folders(root / modality.word):
            for path in files.images(folder):
                camera, underscore, _ = path.name.partition("_")
                if not (camera and underscore):
                    raise DatasetError(f"{path} names no camera; expected <camera>_<anything>{path.suffix}")
                rows.append(_Row(path, folder.name, camera, modality, "test"))
    if not rows:
        raise DatasetError(
            f"{root}: {' and '.join(m.word + '/' for m in parts)} hold no image; "
            f"expected <person>/<camera>_*.jpg"
        )
    return rows
