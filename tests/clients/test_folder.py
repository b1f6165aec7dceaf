from datetime import UTC, datetime
from pathlib import Path

import pytest

from clients import folder
from vireid.datasets import folder as evaluated
from vireid.errors import DatasetError
from vireid.types import Modality


def _touch(root: Path, *places: str) -> None:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"x")


def _manifest(root: Path, *lines: str) -> None:
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_two_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "visible/ann/c1_0.jpg", "infrared/bob/c3_0.png", "infrared/bob/.hidden.png", "notes.txt")
    queries, gallery = folder.read_labelled(tmp_path)
    (night,), (day,) = queries, gallery
    assert (day.item_id, day.meta.person, day.meta.camera, day.modality) == (
        "visible/ann/c1_0.jpg", "ann", "c1", Modality.VISIBLE,
    )  # fmt: skip
    assert (night.meta.person, night.meta.camera, night.modality) == ("bob", "c3", Modality.INFRARED)


def test_a_manifest_tells_everything(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    _manifest(
        tmp_path,
        "path,person,camera,modality,split,captured_at,item_id",
        "a.jpg,1,k,visible,gallery,2026-03-01T09:00:00+09:00,front-door",
        "b.jpg,1,n,infrared,query,,",
        "c.jpg,2,k,visible,train,,",
    )
    queries, gallery = folder.read_labelled(tmp_path)
    assert [entry.item_id for entry in queries] == ["b.jpg"]
    assert [entry.item_id for entry in gallery] == ["front-door"]
    assert gallery[0].meta.captured_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_one_modality_asks_and_is_found(tmp_path: Path) -> None:
    _touch(tmp_path, "visible/1/c1_0.jpg", "visible/1/c2_0.jpg")
    queries, gallery = folder.read_labelled(tmp_path)
    assert queries == gallery
    assert len(gallery) == 2


def test_agrees_with_the_reader_that_evaluation_uses(tmp_path: Path) -> None:
    _touch(
        tmp_path, "visible/7/cam1_0.jpg", "visible/7/cam2_0.jpg", "visible/9/cam1_3.jpg",
        "infrared/7/cam3_0.jpg", "infrared/9/cam3_1.jpg",
    )  # fmt: skip
    queries, gallery = folder.read_labelled(tmp_path)
    dataset = evaluated.read(tmp_path)
    assert [entry.path for entry in queries] == [sample.path for sample in dataset.query.samples]
    assert [entry.path for entry in gallery] == [sample.path for sample in dataset.gallery.samples]


def test_unknown_pictures_cannot_be_measured(tmp_path: Path) -> None:
    _touch(tmp_path, "x/one.webp")
    with pytest.raises(DatasetError, match="no person, camera or modality"):
        folder.read_labelled(tmp_path)
