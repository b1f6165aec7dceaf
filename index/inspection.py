"""What of a gallery's file is damaged, named piece by piece: every record, every picture, the tables themselves.

Changes nothing. Knows no search.
"""

from dataclasses import dataclass
from pathlib import Path

from index import snapshots
from index.disk import FILE
from index.kept_centres import KeptCentres
from index.records import Records
from index.second_space import SecondSpace, said
from vireid.errors import ImageNotStored, VireidError

MAX_NAMED = 100


@dataclass(frozen=True, slots=True)
class Findings:
    """What was read, and what of it is damaged.

    Attributes:
        name: of the gallery's folder.
        items: records that are as they were written.
        pictures: images and thumbnails that are as they were written.
        snapshots: snapshots that are as they were written.
        damage: a sentence for each that is not, the first hundred.
    """

    name: str
    items: int
    pictures: int
    snapshots: int
    damage: tuple[str, ...]


def inspect(folder: Path) -> Findings:
    """Read everything in a gallery's folder that nobody has open, and its snapshots."""
    items, pictures, damage = _read(folder)
    whole = 0
    for path in snapshots.listed(folder / snapshots.FOLDER):
        try:
            snapshots.check(path)
            whole += 1
        except VireidError as error:
            damage.append(error.message)
    return Findings(folder.name, items, pictures, whole, tuple(damage[:MAX_NAMED]))


def damage(folder: Path) -> list[str]:
    """Say what of a gallery itself is damaged, its snapshots aside."""
    return _read(folder)[2]


def _read(folder: Path) -> tuple[int, int, list[str]]:
    damage: list[str] = []
    items = pictures = 0
    try:
        records = Records(folder / FILE)
    except VireidError as error:
        damage.append(error.message)
    else:
        try:
            if records.head.name != folder.name:
                damage.append(
                    f"{folder} holds the gallery {records.head.name!r}; give the folder its name back"
                )
            damage += records.structure()
            damage += _centres(records)
            damage += _second(records)
            items, found = _records(records)
            damage += found
            pictures, found = _pictures(records)
            damage += found
        except VireidError as error:
            damage.append(error.message)
        finally:
            records.close()
    return items, pictures, damage


def _centres(records: Records) -> list[str]:
    try:
        KeptCentres(records).check()
    except VireidError as error:
        return [error.message]
    return []


def _second(records: Records) -> list[str]:
    second = SecondSpace(records)
    try:
        space = second.space()
        return [said(records.head.name, key, space[0]) for key in second.unsound()] if space else []
    except VireidError as error:
        return [error.message]


def _records(records: Records) -> tuple[int, list[str]]:
    sound, damage = 0, []
    for row, why in records.each():
        if row is None:
            damage.append(why)
        else:
            sound += 1
    return sound, damage


def _pictures(records: Records) -> tuple[int, list[str]]:
    sound, damage = 0, []
    for row, _ in records.each():
        if row is None:
            continue
        for read in (records.pictures.image, records.pictures.thumbnail):
            try:
                if read(row.key, row.item) is None:
                    damage.append(f"the pictures of item {row.item.item_id!r} have vanished")
                else:
                    sound += 1
            except ImageNotStored:
                continue
            except VireidError as error:
                damage.append(error.message)
    return sound, damage
