"""What a report is refused for: files that are missing, damaged, or of something else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from training import checkpoint, report
from vireid.errors import DatasetError, TrainingError

Copy = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no training run"):
        report.write(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "is damaged"),
        ('"words"', "line 5 names no epoch"),
        ('{"total": 1.0}', "line 5 names no epoch"),
        ('{"epoch": 4, "labels": [1]}', "line 5 holds labels that are no numbers by name"),
        ('{"epoch": 4, "evaluation": {"mean": {}}}', "an evaluation without protocol, synthetic"),
    ],
)
def test_damaged_metrics(copy: Copy, line: str, says: str) -> None:
    folder = copy("supervised")
    with (folder / checkpoint.METRICS).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(TrainingError, match=says):
        report.write(folder, device="cpu")
    assert not (folder / "report.html").exists()


def test_a_line_that_was_cut_off_is_left_out(copy: Copy) -> None:
    folder = copy("supervised")
    with (folder / checkpoint.METRICS).open("a") as file:
        file.write('{"epoch": 4, "tot')
    assert report.write(folder, device="cpu").is_file()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (checkpoint.FILE, "damaged or no checkpoint"),
        (checkpoint.RECIPE, "is damaged"),
        (checkpoint.RUN, "is damaged"),
        ("labels.npz", "holds no pseudo-labels"),
    ],
)
def test_damaged_files(copy: Copy, name: str, says: str) -> None:
    folder = copy("otla")
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TrainingError, match=says):
        report.write(folder, device="cpu")
    assert not (folder / "report.html").exists()


def test_a_dataset_that_is_not_there(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        report.write(copy("supervised"), data=tmp_path / "nothing", device="cpu")


def test_another_dataset(copy: Copy) -> None:
    folder = copy("supervised")
    path = folder / checkpoint.RUN
    path.write_text(path.read_text().replace('"train_images": 60', '"train_images": 61'))
    with pytest.raises(TrainingError, match="60 training images, the run began with 61"):
        report.write(folder, device="cpu")


def test_an_unreadable_image_is_named(copy: Copy, blocks: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    for path in blocks.rglob("*"):
        if path.is_file():
            (moved / path.relative_to(blocks)).parent.mkdir(parents=True, exist_ok=True)
            (moved / path.relative_to(blocks)).write_bytes(path.read_bytes())
    damaged = moved / "cam3" / "0006" / "0001.jpg"
    with Image.open(damaged) as image:
        assert image.size == (32, 64)
    damaged.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"0001\.jpg"):
        report.write(copy("supervised"), data=moved, device="cpu")
