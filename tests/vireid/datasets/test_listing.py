"""A dataset written out as the manifest of a labelled folder."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from vireid import image_folder
from vireid.datasets import open_dataset
from vireid.datasets.command import app
from vireid.types import Modality


@pytest.fixture
def regdb(tmp_path: Path) -> Path:
    root = tmp_path / "RegDB"
    (root / "idx").mkdir(parents=True)
    for folder, kind, letter in (("Visible", "visible", "v"), ("Thermal", "thermal", "t")):
        for part, persons in (("train", (1,)), ("test", (2, 3))):
            lines = []
            for label, person in enumerate(persons):
                place = root / folder / str(person) / f"male_front_{letter}_1_{person}.bmp"
                place.parent.mkdir(parents=True)
                Image.new("RGB", (8, 16)).save(place)
                lines.append(f"{place.relative_to(root).as_posix()} {label}")
            for trial in range(1, 11):
                (root / "idx" / f"{part}_{kind}_{trial}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_the_manifest_says_what_the_layout_said(regdb: Path) -> None:
    result = CliRunner().invoke(app, ["manifest", str(regdb)])
    assert result.exit_code == 0, result.output
    assert "regdb: 2 train, 2 query, 2 gallery images listed in" in result.output
    dataset = open_dataset("regdb", regdb)
    listed = [
        (entry.path, int(entry.meta.person), int(entry.meta.camera), entry.modality, entry.split)
        for entry in image_folder.read(regdb)
    ]
    assert listed == [
        (sample.path, sample.person, sample.camera, sample.modality, split.name)
        for split in (dataset.train, dataset.query, dataset.gallery)
        for sample in split.samples
    ]
    assert {modality for *_, modality, split in listed if split == "query"} == {Modality.INFRARED}
    again = open_dataset("folder", regdb)
    assert [sample.path for sample in again.query.samples] == [
        sample.path for sample in dataset.query.samples
    ]


def test_elsewhere_and_told_as_json(regdb: Path, tmp_path: Path) -> None:
    target = tmp_path / "list.csv"
    arguments = ["manifest", str(regdb), "--to", str(target), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert json.loads(result.output) == {
        "dataset": "regdb",
        "synthetic": False,
        "manifest": str(target),
        "train": 2,
        "query": 2,
        "gallery": 2,
    }
    assert not (regdb / "manifest.csv").exists()
    before = target.read_bytes()
    refused = CliRunner().invoke(app, arguments)
    assert "is there already" in str(refused.exception)
    assert target.read_bytes() == before


def test_a_place_that_cannot_be_written(regdb: Path, tmp_path: Path) -> None:
    refused = CliRunner().invoke(
        app, ["manifest", str(regdb), "--to", str(tmp_path / "nowhere" / "list.csv")]
    )
    assert "cannot be written" in str(refused.exception)
