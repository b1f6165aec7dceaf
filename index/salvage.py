"""Save of a damaged gallery what proves itself: every row that agrees with its checksum goes into a new file.

Only ever asked for, never of itself: what is left is not what was there. The damaged file stays beside the gallery with
a list of what is lost. All is made aside; then one file takes the place of another, and a kill in between leaves
the damaged gallery, or the new one. Knows no search.
"""

import hashlib
import itertools
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from index import inspection, lost, parcels, schema, snapshots
from index.cache import SUFFIX as CACHE
from index.disk import FILE, MAKING, disk_errors, sqlite_errors, sync
from index.head import Head
from index.kept_centres import COLUMNS as CENTRES
from index.kept_centres import KeptCentres
from index.lost import READY, Gone, Lost
from index.records import Records
from index.remains import every, names, readable
from index.rows import Cell, checksum, decode, row_checksum
from index.schema import INSERT_ITEM, INSERT_PICTURES, ITEM, PARCEL
from index.seal import SUFFIX as SEAL
from index.seal import Seal
from index.stored import NO_PICTURES, Stored
from vireid.errors import DataLoss, VireidError

LOG = ("-wal", "-shm")
HAS_IMAGE, ITEM_ID, SHA256 = 8, 1, 7
UNCENTRED = "the centres are lost: vectors are searched as they were embedded; centre it anew"


@dataclass(slots=True)
class _Read:
    """What is read of a damaged file."""

    head: Head
    sound: int = 0
    total: int = 0
    items: list[Gone] = field(default_factory=list)
    pictures: list[Gone] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def salvage(folder: Path) -> Lost | None:
    """Save what proves itself of a gallery that nobody has open, durable on return.

    Args:
        folder: the gallery's.

    Returns:
        What was lost; None where nothing is damaged, and nothing was done.

    Raises:
        DataLoss: the head, which says what the gallery is, cannot be read or proven; nothing was done.
        StorageError: the disk refuses; the gallery is as it was.
    """
    with disk_errors(folder):
        finished = _finish(folder)
        if finished is not None:
            return finished
        if not inspection.damage(folder):
            return None
        for left in folder.glob(f"{MAKING}*"):  # by a salvage that was cut short
            shutil.rmtree(left)
        part = folder / f"{MAKING}{uuid.uuid4().hex}"
        part.mkdir()
        try:
            found = _saved(folder, part)
            lost.write(part / lost.LIST, found)
            for suffix in ("", *LOG[:1], SEAL):
                if (old := folder / f"{FILE}{suffix}").exists():
                    _keep(old, part / f"{FILE}{suffix}")
            sync(part)
            part.rename(folder / READY)
            sync(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _finish(folder)
        return found


def _keep(old: Path, place: Path) -> None:
    if old.name.endswith(SEAL):  # written in place: a name of the same file would follow it
        shutil.copyfile(old, place)
    else:
        place.hardlink_to(old)


def _finish(folder: Path) -> Lost | None:
    """Put what lies ready in its place; again does no harm. The new file's version is above the seal's."""
    ready = folder / READY
    if not ready.is_dir():
        return None
    fresh, place = ready / f"new-{FILE}", folder / FILE
    if fresh.exists():
        for suffix in (*LOG, CACHE):
            (folder / f"{FILE}{suffix}").unlink(missing_ok=True)
        sync(folder)
        fresh.replace(place)
        sync(folder)
    found = lost.read(ready / lost.LIST)
    (folder / lost.FOLDER).mkdir(exist_ok=True)
    ready.rename(folder / lost.FOLDER / datetime.fromisoformat(found.at).strftime(snapshots.STAMP))
    sync(folder / lost.FOLDER)
    sync(folder)
    return found


def _saved(folder: Path, part: Path) -> Lost:
    """Write what proves itself into a new file."""
    copy, fresh, said = part / "read", part / f"new-{FILE}", _sealed(folder)
    for suffix in ("", *LOG[:1]):  # read from a copy: the damaged file stays as it is
        if (old := folder / f"{FILE}{suffix}").exists():
            shutil.copyfile(old, copy.with_name(f"{copy.name}{suffix}"))
    with sqlite_errors(folder / FILE):
        db = sqlite3.connect(copy, isolation_level=None)
        db.text_factory = bytes
        try:
            found = _Read(_head(db, folder))
            if said > found.head.version:
                found.doubts.append(
                    f"changes {found.head.version + 1} to {said} are lost with the log: what they enrolled is missing, "
                    "and what they removed or replaced may be there again"
                )
            next_key = max([found.head.next_key, *_next_keys(folder)])
            head = replace(found.head, version=max(found.head.version, said) + 1, next_key=next_key)
            schema.create(fresh, replace(head, items=0, total=0, centres=b""))
            _copy(db, fresh, found, head)
        finally:
            db.close()
    for left in part.glob(f"{copy.name}*"):
        left.unlink()
    found.doubts += _prove(fresh)
    unnamed = max(0, found.head.items - found.sound - len(found.items))
    expected = found.head.items == found.sound and not found.items
    if expected and found.total != found.head.total:
        found.doubts.append("the items do not add up to what was written: one may be of an earlier state")
    at = datetime.now(UTC).isoformat()
    return Lost(
        found.head.name,
        at,
        found.sound,
        tuple(found.items),
        unnamed,
        tuple(found.pictures),
        tuple(found.doubts),
    )


def _copy(db: sqlite3.Connection, fresh: Path, found: _Read, head: Head) -> None:
    named = names(db)
    saved: set[str] = set()
    new = schema.connect(fresh)
    try:
        new.execute("BEGIN")
        total = 0
        for key, cells in every(db, f"SELECT {ITEM} FROM items", head.next_key, named):  # noqa: S608
            name = named.pop(key, "")
            decoded = None if cells is None else decode(cells, head.dim)
            if decoded is None or cells is None:
                if cells is not None or name:
                    told = name or (cells and readable(cells[ITEM_ID])) or ""
                    why = "cannot be read" if cells is None else "does not match its checksum"
                    found.items.append(Gone(told, f"item number {key} {why}"))
                continue
            found.total ^= int.from_bytes(_bytes(cells[-1]), "big")
            kept, picture = _picture(db, key, cells, found)
            try:
                new.execute(INSERT_ITEM, kept)
            except sqlite3.IntegrityError:
                told = decoded[0].item.item_id
                found.doubts.append(f"item {told!r} is there twice, and only the first of them is kept")
                continue
            new.execute(INSERT_PICTURES, picture)
            total ^= int.from_bytes(_bytes(kept[-1]), "big")
            found.sound += 1
            saved.add(decoded[0].item.item_id)
        total ^= _copy_parcels(db, new, found, head, saved)
        # damaged, and of the name of one that is there: of whom it was nobody can say
        found.items = [one for one in found.items if one.item_id not in saved]
        # an index that is damaged itself names what is there, or lost, under another number
        known = saved | {one.item_id for one in found.items}
        vanished = {name: key for key, name in named.items() if name not in known}
        found.items += [Gone(name, f"item number {key} has vanished") for name, key in vanished.items()]
        centres = _centres(db, new, found)
        schema.write_head(new, replace(head, items=found.sound, total=total, centres=centres))
        new.execute("COMMIT")
        if _has_second(db):
            found.doubts.append("vectors of a second embedding space are not carried over: embed it anew")
    finally:
        new.close()


def _copy_parcels(
    db: sqlite3.Connection, new: sqlite3.Connection, found: _Read, head: Head, saved: set[str]
) -> int:
    """Carry over what proves itself of the parcels; return what its checksums come to."""
    fresh, total = Stored(new, head.dim, DataLoss), 0
    for first, cells in every(db, f"SELECT {PARCEL} FROM parcels", head.next_key, (), "first"):  # noqa: S608
        if cells is None:
            continue  # of whom it was nobody can say
        if parcels.unpacked(cells, head.dim) is not None:
            found.total ^= int.from_bytes(_bytes(cells[-1]), "big")
        table, vectors, gone = parcels.sound(cells, head.dim)
        why = f"it does not match its checksum in the parcel of number {first}"
        found.items += [Gone(item_id, why) for item_id in gone]
        query = "SELECT key FROM items WHERE key >= ? AND key < ?"
        taken = {key for (key,) in new.execute(query, (first, first + parcels.held(cells)))}
        twice = [
            item_id in saved or key in taken
            for item_id, key in zip(table.ids, table.keys.tolist(), strict=True)
        ]
        found.doubts += [
            f"item {item_id!r} is there twice, and only the first of them is kept"
            for item_id in itertools.compress(table.ids, twice)
        ]
        once = ~np.array(twice, np.bool_)
        table, vectors = table.chosen(once), vectors[once]
        whole = len(table) == cells[1]
        total ^= fresh.put(table, vectors, packed=whole)
        if not whole:
            new.executemany(INSERT_PICTURES, [(key, *NO_PICTURES) for key in table.keys.tolist()])
        found.sound += len(table)
        saved.update(table.ids)
    return total


def _head(db: sqlite3.Connection, folder: Path) -> Head:
    if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION:
        raise DataLoss(f"{folder / FILE}: this is no vireid gallery; restore a snapshot")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != schema.FORMAT:
        raise DataLoss(
            f"{folder / FILE}: gallery format {version} found, {schema.FORMAT} can be salvaged; restore a snapshot",
            reason="GALLERY_FORMAT",
        )
    rows = db.execute(f"SELECT {schema.HEAD} FROM head").fetchall()  # noqa: S608 - constants
    head = Head.of(rows[0]) if len(rows) == 1 else None
    if head is None:
        raise DataLoss(
            f"{folder / FILE}: the gallery's head does not match its checksum, and nothing else says of which embedding "
            "space its vectors are; restore a snapshot"
        )
    return head


def _picture(
    db: sqlite3.Connection, key: int, cells: tuple[Cell, ...], found: _Read
) -> tuple[tuple[Cell, ...], tuple[Cell | str, ...]]:
    """Return an item's cells and those of its pictures; of an item whose image is lost, cells that say so."""
    name = readable(cells[ITEM_ID])
    query = "SELECT thumbnail, thumbnail_checksum, image, image_sha256 FROM pictures WHERE key = ?"
    try:
        rows = db.execute(query, (key,)).fetchall()
    except sqlite3.DatabaseError:
        rows = []
    if not rows:
        found.pictures.append(Gone(name, "its pictures cannot be read"))
    thumbnail, told, image, converted = rows[0] if rows else (None, None, None, None)
    sha256 = readable(converted)  # a flipped bit can make a number of it
    if (thumbnail, told) != (None, None) and (thumbnail is None or told != checksum((key, thumbnail))):
        found.pictures.append(Gone(name, "its thumbnail does not match its checksum"))
        thumbnail = told = None
    if not cells[HAS_IMAGE]:
        image, sha256 = None, ""
    elif not isinstance(image, bytes) or hashlib.sha256(image).hexdigest() != (
        sha256 or readable(cells[SHA256])
    ):
        if rows:
            found.pictures.append(Gone(name, "its image does not match its sha256"))
        image, sha256 = None, ""
        body = (*cells[:HAS_IMAGE], 0, *cells[HAS_IMAGE + 1 : -1])
        cells = (*body, row_checksum(body))
    return cells, (key, thumbnail, told, image, sha256 or None)


def _centres(db: sqlite3.Connection, new: sqlite3.Connection, found: _Read) -> bytes:
    """Carry over what the gallery is centred by; return its checksum, empty where it is lost."""
    if not found.head.centres:
        return b""
    try:
        rows = db.execute(
            f"SELECT {CENTRES} FROM centres WHERE space_id = ?",  # noqa: S608 - constants
            (found.head.space_id,),
        ).fetchall()
        text = (1, 3)
        for row in rows:
            cells = [cell.decode() if at in text else cell for at, cell in enumerate(row)]
            new.execute(f"INSERT INTO centres ({CENTRES}) VALUES ({', '.join('?' * len(cells))})", cells)  # noqa: S608
    except (sqlite3.DatabaseError, AttributeError, UnicodeDecodeError):
        found.doubts.append(UNCENTRED)
        new.execute("DELETE FROM centres")
        return b""
    return found.head.centres


def _prove(fresh: Path) -> list[str]:
    """See that the new file holds what it says; return what must be left out of it, in sentences."""
    doubts: list[str] = []
    records = Records(fresh)
    try:
        try:
            KeptCentres(records).check()
        except DataLoss:
            with records.changing() as (db, head):
                db.execute("DELETE FROM centres")
                records.write_head(replace(head, centres=b""))
            doubts.append(UNCENTRED)
        for _ in records.chunks():
            pass
    finally:
        records.close()
    fresh.with_name(fresh.name + SEAL).unlink(missing_ok=True)
    sync(fresh)
    return doubts


def _sealed(folder: Path) -> int:
    seal = Seal(folder / FILE)
    try:
        told = seal.read()
    finally:
        seal.close()
    return 0 if told is None else told[0]


def _next_keys(folder: Path) -> Iterator[int]:
    for path in snapshots.listed(folder / snapshots.FOLDER):
        try:
            yield snapshots.read(path).next_key
        except VireidError:
            continue  # it can give no id back either


def _has_second(db: sqlite3.Connection) -> bool:
    try:
        return bool(db.execute("SELECT count(*) FROM second_space").fetchone()[0])
    except sqlite3.DatabaseError:
        return True


def _bytes(cell: Cell) -> bytes:
    assert isinstance(cell, bytes)
    return cell
