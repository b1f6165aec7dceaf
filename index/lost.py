"""What a salvage could not save, kept beside a gallery with the damaged file until somebody lets both go.

    GALLERY/damaged/20261121T140000.000000Z/{lost.json, gallery.sqlite, ...}

While it is there the gallery says that items are missing from it. Knows no search.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from index.disk import disk_errors, sync
from vireid.errors import DataLoss

FOLDER = "damaged"
LIST = "lost.json"
SETTLED = "was-lost.json"  # a list of what is there again
READY = ".salvaged"  # in which all of a salvage lies ready, until its file is in its place
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Gone:
    """An item, or a picture of one, that is lost.

    Attributes:
        item_id: as far as it can be read; empty if it cannot.
        why: what was found.
    """

    item_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What one salvage saved and could not save.

    Attributes:
        gallery: its name.
        at: when, UTC, ISO 8601.
        saved: items that the gallery holds now.
        items: those that are lost.
        unnamed: items that are missing without a trace.
        pictures: of items that were saved without them.
        doubts: what else is not certain, in sentences.
    """

    gallery: str
    at: str
    saved: int
    items: tuple[Gone, ...]
    unnamed: int
    pictures: tuple[Gone, ...]
    doubts: tuple[str, ...]

    @property
    def count(self) -> int:
        """Items that are not found any more."""
        return len(self.items) + self.unnamed


def write(path: Path, lost: Lost) -> None:
    """Write a list, durable on return."""
    document = {"format": FORMAT, "lost": asdict(lost)}
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    sync(path)


def read(path: Path) -> Lost:
    """Read a list.

    Raises:
        DataLoss: it is none.
    """
    try:
        document = json.loads(path.read_bytes())
        body: dict[str, Any] = document["lost"]
        items, pictures = ([Gone(**one) for one in body[name]] for name in ("items", "pictures"))
        told = {**body, "items": tuple(items), "pictures": tuple(pictures), "doubts": tuple(body["doubts"])}
        return Lost(**told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"{path} is no list of what was lost ({error}); let it go with --forget") from None


def kept(gallery: Path) -> Sequence[Path]:
    """Name the folders of damaged files that a gallery's folder keeps, oldest first."""
    folder, ready = gallery / FOLDER, gallery / READY
    kept = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [*kept, ready] if ready.is_dir() else kept


def counted(gallery: Path) -> int:
    """Count the items that salvages of a gallery could not save; a list that cannot be read counts one."""
    count = 0
    for path in kept(gallery):
        if (path / SETTLED).exists():
            continue
        try:
            count += read(path / LIST).count
        except DataLoss:
            count += 1
    return count


def settle(gallery: Path, made_at: str) -> None:
    """Count no longer what was lost after a snapshot was made that now is the gallery; the lists stay, under another name."""
    for path in kept(gallery):
        try:
            since = datetime.fromisoformat(read(path / LIST).at)
        except DataLoss:
            continue  # nobody can say what it lists
        if since > datetime.fromisoformat(made_at):
            (path / LIST).rename(path / SETTLED)
            sync(path)


def forget(gallery: Path) -> int:
    """Remove the damaged files and the lists, but not those of a salvage that was cut short; return how many went."""
    folders = [path for path in kept(gallery) if path.name != READY]
    with disk_errors(gallery):
        if folders:
            shutil.rmtree(gallery / FOLDER)
            sync(gallery)
    return len(folders)
