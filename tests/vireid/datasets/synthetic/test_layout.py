"""The folders drawn: named exactly as the published datasets name theirs, the same bytes from the same seed."""

import errno
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.datasets.synthetic import layout
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.errors import DatasetError, InvalidRequest, StorageError

PEOPLE, IMAGES = 5, 2


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("sysu") / "drawn", "sysu-like", PEOPLE, IMAGES, seed=2)


@pytest.fixture(scope="module")
def llcm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("llcm") / "drawn", "llcm-like", 4, 1, seed=2)


@pytest.fixture(scope="module")
def regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("regdb") / "drawn", "regdb-like", PEOPLE, IMAGES, seed=2)


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _ids(path: Path) -> list[int]:
    text = path.read_text()
    assert text.count("\n") == 1
    return [int(word) for word in text.strip().split(",")]


def test_sysu_mm01(sysu: Path) -> None:
    wanted = {
        f"cam{camera}/{person:04d}/{shot:04d}.jpg"
        for camera in range(1, 7)
        for person in range(1, PEOPLE + 1)
        for shot in range(1, IMAGES + 1)
    }
    lists = {f"exp/{part}_id.txt" for part in ("train", "val", "test", "available")}
    assert set(_files(sysu)) == wanted | lists | {"synthetic.json"}
    train, val, test, available = (
        _ids(sysu / f"exp/{part}_id.txt") for part in ("train", "val", "test", "available")
    )
    assert sorted(train + val + test) == available == list(range(1, PEOPLE + 1))
    assert train
    assert val
    assert test


def test_llcm(llcm: Path) -> None:
    files = _files(llcm)
    test = [int(word) for word in (llcm / "idx/test_id.txt").read_text().strip().split(",")]
    name = re.compile(r"(\d{4})_c(\d\d)_s\d{6}_f\d{5}_(vis|nir)\.jpg")
    listed = set()
    for word in ("vis", "nir"):
        rows = [line.rsplit(" ", 1) for line in (llcm / f"idx/train_{word}.txt").read_text().splitlines()]
        places, labels = [place for place, _ in rows], [int(label) for _, label in rows]
        listed |= set(places)
        assert sorted(set(labels)) == list(range(4 - len(test)))
        assert all(place.startswith(f"{word}/") for place in places)
        # one label for each person, whatever the modality
        assert len(
            {(place.split("/")[1], label) for place, label in zip(places, labels, strict=True)}
        ) == len(set(labels))
    pictures = {place for place in files if place.endswith(".jpg")}
    assert listed == {place for place in pictures if not place.startswith("test_")}
    assert len(pictures) == 4 * 17
    for place in pictures:
        found = name.fullmatch(place.rsplit("/", 1)[1])
        assert found, place
        folders = place.split("/")[:-1]
        person, camera, word = found.group(1), int(found.group(2)), found.group(3)
        trained = [word, person]
        assert folders == (trained if int(person) not in test else [f"test_{word}", f"cam{camera}", person])
        assert (word, camera) != ("nir", 3)


def test_regdb(regdb: Path) -> None:
    pictures = {place for place in _files(regdb) if place.endswith(".bmp")}
    assert len(pictures) == PEOPLE * 2 * IMAGES
    for trial in range(1, 11):
        halves = {}
        for part in ("train", "test"):
            rows = {
                kind: [
                    line.rsplit(" ", 1)
                    for line in (regdb / f"idx/{part}_{kind}_{trial}.txt").read_text().splitlines()
                ]
                for kind in ("visible", "thermal")
            }
            # line i of both lists shows the same person at the same moment
            for day, night in zip(rows["visible"], rows["thermal"], strict=True):
                assert day[1] == night[1]
                assert day[0].replace("Visible/", "Thermal/").replace("_v_", "_t_") == night[0]
            labels = [int(label) for _, label in rows["visible"]]
            assert labels == sorted(labels)
            assert set(labels) == set(range(len(labels) // IMAGES))
            halves[part] = {place.split("/")[1] for place, _ in rows["visible"]}
            assert {place for both in rows.values() for place, _ in both} <= pictures
        assert halves["train"] | halves["test"] == {str(n) for n in range(1, PEOPLE + 1)}
        assert not halves["train"] & halves["test"]


def test_the_ten_splits_of_regdb_differ(regdb: Path) -> None:
    assert len({(regdb / f"idx/train_visible_{trial}.txt").read_text() for trial in range(1, 11)}) > 3


@pytest.mark.parametrize("name", ["sysu", "llcm", "regdb"])
def test_every_picture_opens_as_colour(name: str, request: pytest.FixtureRequest) -> None:
    root: Path = request.getfixturevalue(name)
    for place, data in _files(root).items():
        if not place.endswith((".jpg", ".bmp")):
            continue
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == ("BMP" if place.endswith(".bmp") else "JPEG")
            assert image.mode == "RGB"
            pixels = np.asarray(image).astype(int)
        night = (
            any(word in place for word in ("cam3/", "cam6/"))
            if name == "sysu"
            else "nir" in place or "_t_" in place
        )
        assert (np.ptp(pixels, axis=2).max() == 0) == night, place


def test_the_marker_tells_what_was_drawn(sysu: Path) -> None:
    assert json.loads((sysu / "synthetic.json").read_text()) == {
        "preset": "sysu-like",
        "people": PEOPLE,
        "images_per_camera": IMAGES,
        "crops": PEOPLE * IMAGES * 6,
        "seed": 2,
    }


def test_workers_change_no_byte_of_the_folder(regdb: Path, tmp_path: Path) -> None:
    told: list[int] = []
    again = draw_dataset(
        tmp_path / "new" / "again", "regdb-like", PEOPLE, IMAGES, seed=2, workers=2, advance=told.append
    )
    assert _files(again) == _files(regdb)
    assert sum(told) == PEOPLE * IMAGES * 2
    assert [path.name for path in again.parent.iterdir()] == ["again"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    draw_dataset(tmp_path / "empty", "regdb-like", 4, 1)
    assert (tmp_path / "empty" / "synthetic.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"\. is a mount point or the current folder"):
        draw_dataset(Path(), "sysu-like", 4, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_place_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="could not be written") as told:
        draw_dataset(tmp_path / "file" / "set", "sysu-like", 4, 1)
    assert told.value.stable_reason == "DATA_FOLDER_UNUSABLE"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written.append(path)

    monkeypatch.setattr(layout, "_write", write)
    with pytest.raises(StorageError, match="No space left on device") as told:
        draw_dataset(tmp_path / "set", "sysu-like", 4, 1)
    assert told.value.stable_reason == "DISK_FULL"
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("people", "images"), [(10_000, 1), (4, 10_000), (3, 1), (-1, 1)])
def test_numbers_that_no_folder_name_holds_are_refused(people: int, images: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        draw_dataset(tmp_path / "set", "sysu-like", people, images)
    assert list(tmp_path.iterdir()) == []
