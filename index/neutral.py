"""A gallery as files that anything reads: lines of JSON and arrays of NumPy, in shards under a manifest.

    EXPORT/manifest.json         what it is of, and bytes and sha256 of every other file
    EXPORT/items-00001.jsonl     an object an item, in the order of enrolment
    EXPORT/vectors-00001.npy     float32 (N, D): the embedding of each line, as it came
    EXPORT/pictures-00001.tar    where pictures came along: each of them, named by its sha256

Knows no gallery's file and no search.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from index import lines, manifests
from index.albums import Album
from index.disk import disk_errors, sync
from index.manifests import Files, Kind
from vireid.arrays import Float32Array
from vireid.types import Item

KIND = Kind("export", 1, "export the gallery again")
ITEMS_A_SHARD = 10_000
VECTOR = np.dtype("<f4")
SPACE_ID = re.compile(r"[0-9a-f]{64}")
# what a manifest says of the gallery, and of which kind that is
SAID = {
    "gallery": str,
    "space_id": str,
    "dim": int,
    "items": int,
    "pictures": bool,
    "stores_images": bool,
    "retention_s": int,
}


@dataclass(frozen=True, slots=True)
class Shard:
    """Some of an export's items.

    Attributes:
        number: from 1 on.
        items: how many.
        files: bytes and sha256 of each of its files.
    """

    number: int
    items: int
    files: Files


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself.

    Attributes:
        gallery: the gallery's name.
        space_id: the embedding space of its vectors.
        dim: embedding dimension.
        version: of the gallery when it was exported.
        items: in all shards.
        pictures: whether images and thumbnails came along.
        stores_images: whether the gallery keeps encoded images.
        retention_s: how long after enrolment its items expire; 0 sets no time. Their own times have it in them.
        centring: how the gallery is searched, which its vectors here know nothing of; None where they are searched as
            they are.
        made_at: when, UTC, ISO 8601.
        shards: in the order of enrolment.
    """

    gallery: str
    space_id: str
    dim: int
    version: int
    items: int
    pictures: bool
    stores_images: bool
    retention_s: int
    centring: dict[str, Any] | None
    made_at: str
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One item of a gallery or of an export.

    Attributes:
        key: the int64 id that was ours there.
        item: as it was shown there; its ``expires_at`` has the gallery's retention in it.
        vector: its embedding as it came, (D,).
        image: encoded, None if it is not there or was not asked for.
        thumbnail: a small JPEG, None likewise.
    """

    key: int
    item: Item
    vector: Float32Array
    image: bytes | None = None
    thumbnail: bytes | None = None

    def expired(self, now: datetime) -> bool:
        """Whether its time has come."""
        return self.item.expires_at is not None and self.item.expires_at <= now


def write_shard(folder: Path, number: int, entries: Iterable[Entry], pictures: bool) -> Shard:
    """Write some items, durable on return.

    Args:
        folder: of the export.
        number: of the shard.
        entries: at least one.
        pictures: whether theirs are written, too.
    """
    names = _names(number, pictures)
    rows: list[Float32Array] = []
    with ExitStack() as opened:
        file = opened.enter_context((folder / names[0]).open("wb"))
        album = opened.enter_context(Album(folder / names[2], writing=True)) if pictures else None
        for entry in entries:
            kept = (album.put(entry.image), album.put(entry.thumbnail)) if album else (None, None)
            file.write(lines.written(entry.key, entry.item, *kept))
            rows.append(entry.vector)
    np.save(folder / names[1], np.stack(rows).astype(VECTOR, copy=False), allow_pickle=False)
    for name in names:
        sync(folder / name)
    return Shard(number, len(rows), manifests.told(folder, names))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what makes an export of shards, durable on return."""
    KIND.write(folder, asdict(manifest))


def read(folder: Path) -> Manifest:
    """Read an export's manifest.

    Raises:
        InvalidRequest: there is no export.
        DataLoss: it is not as it was written.
        StorageError: the disk refuses.
    """
    body = KIND.read(folder)
    place = folder / manifests.NAME
    try:
        manifest = Manifest(**{**body, "shards": tuple(Shard(**one) for one in body["shards"])})
        proper = _proper(body)
        named = [(shard.number, sorted(shard.files)) for shard in manifest.shards]
        counted = sum(shard.items for shard in manifest.shards)
    except (TypeError, KeyError):
        raise KIND.damaged(place, "it says more or less than this vireid knows of") from None
    expected = [(number, sorted(_names(number, manifest.pictures))) for number in range(1, 1 + len(named))]
    if not proper or named != expected or counted != manifest.items:
        raise KIND.damaged(place, "it does not tell of items in shards, numbered from 1 on")
    return manifest


def check(folder: Path, manifest: Manifest) -> None:
    """Compare every file of an export with its manifest.

    Raises:
        DataLoss: a file is missing, cut or changed.
        StorageError: the disk refuses.
    """
    for shard in manifest.shards:
        KIND.check(folder, shard.files)


def entries(folder: Path, manifest: Manifest, shard: Shard, pictures: bool = False) -> Iterator[Entry]:
    """Read the items of a shard one after the other; their files are those that ``check`` has seen.

    Args:
        folder: of the export.
        manifest: of the same.
        shard: which.
        pictures: read those that came along, too.

    Raises:
        DataLoss: a file does not hold what its name says.
        StorageError: the disk refuses.
    """
    names = _names(shard.number, manifest.pictures)
    told = folder / names[0]
    with disk_errors(folder), ExitStack() as opened:
        album = None
        if pictures and manifest.pictures:
            try:
                album = opened.enter_context(Album(folder / names[2]))
            except ValueError as error:
                raise KIND.damaged(folder / names[2], str(error)) from None
        rows = _rows(folder / names[1], shard.items, manifest.dim)
        count = 0
        for line in opened.enter_context(told.open("rb")):
            count += 1
            try:
                key, item, *named = lines.read(line)
                image, thumbnail = (album.get(name) for name in named) if album else (None, None)
            except ValueError as error:
                raise KIND.damaged(told, f"line {count} tells of no item of ours ({error})") from None
            vector = next(rows, None)
            if vector is None:
                break
            yield Entry(key, item, vector, image, thumbnail)
        if count != shard.items:
            raise KIND.damaged(told, f"{count} lines or more found, the manifest tells of {shard.items}")


def _proper(body: dict[str, Any]) -> bool:
    """Say whether what a manifest tells is of the kinds that it must be."""
    return (
        all(isinstance(body[name], kind) for name, kind in SAID.items())
        and body["dim"] > 0
        and SPACE_ID.fullmatch(body["space_id"]) is not None
        and all(isinstance(one["items"], int) and isinstance(one["files"], dict) for one in body["shards"])
        and all(isinstance(told, dict) for one in body["shards"] for told in one["files"].values())
    )


def _names(number: int, pictures: bool) -> list[str]:
    """Name the files of a shard: its lines, its vectors, and its pictures if they came along."""
    album = [f"pictures-{number:05}.tar"] if pictures else []
    return [f"items-{number:05}.jsonl", f"vectors-{number:05}.npy", *album]


def _rows(path: Path, many: int, dim: int) -> Iterator[Float32Array]:
    """Read an array's rows, (D,), one after the other, and see that there are as many as there must be."""
    expected = ((1, 0), (many, dim), False, VECTOR)
    with path.open("rb") as file:
        try:
            found = (np.lib.format.read_magic(file), *np.lib.format.read_array_header_1_0(file))
        except (ValueError, SyntaxError, TokenError, RecursionError) as error:
            raise KIND.damaged(path, f"it is no array of NumPy ({error})") from None
        if found != expected:
            raise KIND.damaged(path, f"found an array {found[3]} {found[1]}; expected float32 {expected[1]}")
        if path.stat().st_size - file.tell() != VECTOR.itemsize * dim * many:
            raise KIND.damaged(path, f"it does not hold {many} x {dim} numbers")
        for _ in range(many):
            yield np.frombuffer(file.read(VECTOR.itemsize * dim), VECTOR)
