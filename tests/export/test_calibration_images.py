"""Calibration images come from both modalities alike, from many people, and never from one modality alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import calibration_images
from export.calibration_images import CalibrationImages
from vireid.datasets import Dataset, Split
from vireid.errors import DatasetError, ExportError
from vireid.images.preprocess import Preprocess
from vireid.types import Modality, Sample

PREPROCESS = Preprocess(32, 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six people, three visible images and one infrared each, under the two folders."""
    random = np.random.default_rng(2)
    for side, count in (("visible", 3), ("infrared", 1)):
        for person in range(6):
            place = tmp_path / "images" / side / f"{person}"
            place.mkdir(parents=True)
            for at in range(count):
                pixels = random.integers(0, 255, (24, 12, 3), dtype=np.uint8)
                pixels[..., 0] = 10 * person
                Image.fromarray(pixels).save(place / f"1_{at}.png")
    return tmp_path / "images"


def dataset(folder: Path, learnt: str) -> Dataset:
    """The folder as a dataset; training images are those of one modality, or of both."""
    samples = [
        Sample(path, int(path.parent.name), 1, side)
        for side in Modality
        for path in sorted((folder / side.word).glob("*/*.png"))
    ]
    train = tuple(s for s in samples if s.person < 3 and (learnt == "both" or s.modality.word == learnt))
    rest = tuple(s for s in samples if s not in train)
    asks = tuple(s for s in rest if s.modality is Modality.INFRARED)
    finds = tuple(s for s in rest if s.modality is Modality.VISIBLE)
    return Dataset(
        "folder", folder, Split("train", train), Split("query", asks), Split("gallery", finds), False
    )


def test_a_folder_gives_as_many_of_both_in_turns_and_every_person_once_before_any_twice(folder: Path) -> None:
    found = calibration_images.read(folder, PREPROCESS, count=12)
    assert found.images.shape == (12, 32, 16, 3)
    assert found.modality.tolist() == [0, 1] * 6
    people = np.rint(found.images[..., 0].reshape(12, -1).mean(axis=1) / 10).astype(int)
    assert sorted(people[found.modality == 0].tolist()) == list(range(6))
    assert sorted(people[found.modality == 1].tolist()) == list(range(6))
    assert "half of them infrared" in found.origin


def test_the_rarer_modality_says_how_many_there_are_and_the_same_folder_gives_the_same(folder: Path) -> None:
    first, again = (calibration_images.read(folder, PREPROCESS, count=64) for _ in range(2))
    assert len(first) == 12
    np.testing.assert_array_equal(first.images, again.images)


def test_each_image_read_is_told(folder: Path) -> None:
    told: list[int] = []
    calibration_images.read(folder, PREPROCESS, 8, told.append)
    assert sum(told) == 8


def test_training_images_come_first_where_they_have_both_modalities(folder: Path) -> None:
    both = calibration_images.of_dataset(dataset(folder, "both"), PREPROCESS)
    assert len(both) == 6
    assert both.origin.startswith("6 training images")
    visible = calibration_images.of_dataset(dataset(folder, "visible"), PREPROCESS)
    assert len(visible) == 12
    assert "training" not in visible.origin


@pytest.mark.parametrize("missing", ["visible", "infrared"])
def test_one_modality_only_is_refused_with_the_counts(folder: Path, missing: str) -> None:
    shutil.rmtree(folder / missing)
    found = "18 visible and 0 infrared" if missing == "infrared" else "0 visible and 6 infrared"
    with pytest.raises(ExportError, match=f"{found} images .*add images of both"):
        calibration_images.read(folder, PREPROCESS)


def test_pictures_of_unknown_modality_are_told_apart_by_their_colours(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    for at in range(8):
        blocks = np.kron(random.integers(0, 255, (4, 2, 3)), np.ones((16, 16, 1)))
        if at % 2:
            blocks = np.repeat(blocks.mean(axis=2, keepdims=True), 3, axis=2)
        Image.fromarray(blocks.astype(np.uint8)).save(tmp_path / f"{at}.png")
    found = calibration_images.read(tmp_path, PREPROCESS)
    grey = (found.images[..., 0] == found.images[..., 1]).all(axis=(1, 2))
    assert found.modality.tolist() == [0, 1] * 4
    np.testing.assert_array_equal(grey, found.modality == 1)


def test_no_folder_no_image_and_too_few_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        calibration_images.read(tmp_path / "nowhere", PREPROCESS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no image"):
        calibration_images.read(tmp_path / "empty", PREPROCESS)
    with pytest.raises(ExportError, match="needs 4 at least"):
        calibration_images.read(folder, PREPROCESS, count=2)


def test_images_given_by_hand_are_held_to_the_same() -> None:
    images = np.zeros((6, 8, 8, 3), np.uint8)
    with pytest.raises(ExportError, match=r"4 visible and 2 infrared .* expected as many of both"):
        CalibrationImages(images, np.array([0, 0, 0, 0, 1, 1]))
    with pytest.raises(ExportError, match=r"6 visible and 0 infrared .* expected 2 of each at least"):
        CalibrationImages(images, np.zeros(6, np.int64))
    with pytest.raises(ExportError, match=r"1 visible and 1 infrared .* expected 2 of each at least"):
        CalibrationImages(images[:2], np.array([0, 1]))
