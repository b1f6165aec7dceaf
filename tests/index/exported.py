"""Exports of a small gallery, and what a gallery tells of its items."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from index import exporting, importing, neutral
from index.disk import FILE
from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from tests.index.conftest import picture
from vireid.errors import (
    ImageNotStored,
)
from vireid.types import Modality

Make = Callable[..., Enrolment]
DIM, SPACE = 16, "5" * 64
ODD = ["-5", "0", "9007199254740993", "9223372036854775807", "1e3", "null", "a/b:c_d.e-f"]


def galleries_at(root: Path) -> Path:
    folder = root / "galleries"
    (folder / "g").mkdir(parents=True)
    return folder


def filled(folder: Path, batch: list[Enrolment], stores_images: bool = True, retention_s: int = 0) -> Path:
    Records.create(
        folder / "g" / FILE, Head("g", SPACE, DIM, stores_images, version=4, retention_s=retention_s)
    )
    gallery = Gallery(folder / "g" / FILE)
    gallery.enroll(batch)
    gallery.close()
    return folder / "g" / FILE


def export(path: Path, out: Path, pictures: bool = True) -> neutral.Manifest:
    records = Records(path)
    try:
        return exporting.export(records, out, pictures, lambda _: None)
    finally:
        records.close()


def bring_in(out: Path, folder: Path, name: str = "again") -> importing.Imported:
    return importing.bring_in(out, folder, name, lambda _: None)


def kept(read: Callable[[str], bytes], item_id: str) -> bytes | None:
    try:
        return read(item_id)
    except ImageNotStored:
        return None


def content(path: Path, pictures: bool = True) -> list[tuple[Any, ...]]:
    """All that a gallery tells of its items, when they came, too."""
    gallery = Gallery(path)
    try:
        found: list[tuple[Any, ...]] = []
        for item in gallery.items(limit=1000)[0]:
            seen = replace(item, has_image=item.has_image and pictures)
            both = [
                kept(read, item.item_id) if pictures else b"" for read in (gallery.image, gallery.thumbnail)
            ]
            found.append((seen, gallery.vector(item.item_id).tobytes(), *both))
        return found
    finally:
        gallery.close()


@pytest.fixture(name="small_shards", autouse=True)
def small_shards_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neutral, "ITEMS_A_SHARD", 3)
    monkeypatch.setattr(importing, "ITEMS_AT_ONCE", 2)


@pytest.fixture(name="people")
def some_people(enrolment: Make) -> list[Enrolment]:
    return [
        enrolment(
            item_id,
            modality=Modality(n % 2),
            person=f"p{n}",
            camera="caf\u00e9 \u2028 7",
            captured_at=datetime(2026, 11, 21, 23, 59, 59, n, UTC) if n % 3 else None,
            attributes={"\u65e5\u672c": 'a "b"\n\\'} if n % 2 else {},
            image=picture(n) if n % 4 else None,
            thumbnail=picture(n, 50) if n % 3 else None,
        )
        for n, item_id in enumerate(ODD)
    ]


@pytest.fixture(name="out")
def exported_folder(tmp_path: Path, people: list[Enrolment]) -> Path:
    """An export with pictures, of a gallery that has come back from another bitmap once."""
    folder = galleries_at(tmp_path)
    people[1] = replace(people[1], sha256="ab" * 32, converted=True)
    export(filled(folder, people), tmp_path / "out")
    return tmp_path / "out"
