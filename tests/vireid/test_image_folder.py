"""A folder of images on disk."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from vireid import image_folder
from vireid.errors import DatasetError
from vireid.types import ItemMeta, Modality


def _touch(root: Path, *places: str) -> None:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"x")


def _manifest(root: Path, *lines: str) -> None:
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_a_manifest(tmp_path: Path) -> None:
    _touch(tmp_path, "deep/a.jpg")
    _manifest(
        tmp_path,
        "path,person,camera,modality,captured_at,coat,split",
        "deep/a.jpg,7,3,infrared,2026-03-01T23:30:00+01:00,red,query",
    )
    at = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    assert image_folder.read(tmp_path) == (
        image_folder.Entry(
            tmp_path / "deep/a.jpg",
            "deep/a.jpg",
            Modality.INFRARED,
            ItemMeta("7", "3", at, {"coat": "red"}),
            "query",
        ),
    )


def test_a_manifest_elsewhere(tmp_path: Path) -> None:
    _touch(tmp_path / "images", "a.jpg", "b.jpg")
    _manifest(tmp_path, "path", "b.jpg")
    found = image_folder.read(tmp_path / "images", tmp_path / "manifest.csv")
    assert [entry.item_id for entry in found] == ["b.jpg"]


def test_images_that_are_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg", "deep/c.png", "deep/notes.txt")
    image_folder.read(tmp_path)
    assert not caplog.records
    _manifest(tmp_path, "path", "b.jpg")
    image_folder.read(tmp_path)
    assert "2 images below" in caplog.text
    caplog.clear()
    _manifest(tmp_path, "path", "a.jpg", "b.jpg", "deep/c.png")
    image_folder.read(tmp_path)
    assert not caplog.records


def test_two_folders_and_none(tmp_path: Path) -> None:
    _touch(tmp_path, "visible/7/cam1_0.jpg", "infrared/7/cam3_0.png", "infrared/7/.hidden.png", "notes.txt")
    found = image_folder.read(tmp_path)
    assert [(entry.item_id, entry.modality, entry.meta) for entry in found] == [
        ("visible/7/cam1_0.jpg", Modality.VISIBLE, ItemMeta("7", "cam1")),
        ("infrared/7/cam3_0.png", Modality.INFRARED, ItemMeta("7", "cam3")),
    ]


def test_unknown_pictures(tmp_path: Path) -> None:
    _touch(tmp_path, "x/one.webp", "two.jpeg", "three.gif")
    entries = image_folder.read(tmp_path)
    assert [(entry.item_id, entry.modality) for entry in entries] == [
        ("two.jpeg", None),
        ("x/one.webp", None),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,person", "a.jpg,1"], "must name path"),
        (["path,modality", "a.jpg,thermal"], "line 2: found modality 'thermal'"),
        (["path", "gone.jpg"], "line 2: there is no file"),
        (["path,split", "a.jpg,val"], "split is one of"),
        (["path,captured_at", "a.jpg,yesterday"], "line 2: found time 'yesterday'"),
        (["path,captured_at", "a.jpg,2026-03-01T09:00:00"], "with a zone"),
        (["path,person", ",1"], "line 2: there is no file ''"),
        (["path,item_id", "a.jpg,same", "b.jpg,same"], "same item id"),
        (["path"], "holds no image"),
    ],
)
def test_a_broken_manifest_names_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    _manifest(tmp_path, *lines)
    with pytest.raises(DatasetError, match=message):
        image_folder.read(tmp_path)


def test_no_folder_and_no_image(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        image_folder.read(tmp_path / "none")
    with pytest.raises(DatasetError, match="holds no image"):
        image_folder.read(tmp_path)
