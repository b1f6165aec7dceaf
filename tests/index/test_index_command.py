import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from index import centring
from index.command import app
from index.store import FILE
from vireid.engines.fake import FakeEngine
from vireid.errors import (
    DatasetError,
    GalleryExists,
    GalleryMismatch,
    GalleryNotFound,
    InvalidRequest,
    NotAnImage,
)
from vireid.images.preprocess import Preprocess

PEOPLE = 4


@pytest.fixture
def people(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for person in range(PEOPLE):
        for modality in ("visible", "infrared"):
            for camera in (1, 2):
                pattern = np.random.default_rng(person).integers(0, 255, (8, 4, 1))
                pixels = np.repeat(pattern, 3, axis=2).astype(np.uint8)
                pixels[0, 0] = (camera * 90, 0, 40)
                folder = root / modality / f"p{person}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).resize((64, 128)).save(folder / f"{camera}_0.png")
    return root


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def build(root: Path, images: Path, *more: object) -> tuple[int, str]:
    return run("build", root, "--gallery", "g", "--images", images, "--bundle", "fake", *more)


def search(root: Path, image: Path, *more: object) -> tuple[int, str]:
    return run("search", root, "--gallery", "g", "--image", image, "--bundle", "fake", *more)


def test_build_search_info(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    code, output = build(root, people)
    assert code == 0
    assert "g: 16 created, 0 refused; 16 items" in output
    assert "enrolling: 16/16" in output
    code, output = build(root, people)
    assert "g: 16 unchanged" in output
    query = people / "infrared/p2/1_0.png"
    code, output = search(root, query, "-k", 2, "--modality", "infrared", "--find", "visible")
    assert code == 0
    summary, head, *rows = output.splitlines()
    assert summary == "infrared query, 8 of 16 items compared"
    assert head.split() == ["rank", "score", "person", "camera", "modality", "item"]
    assert [(row.split()[0], row.split()[2]) for row in rows] == [("1", "p2"), ("2", "p2")]
    code, output = search(root, query, "--camera", "nowhere")
    assert output.splitlines()[1] == "no hit"
    code, output = run("info", root)
    assert code == 0
    assert output.startswith("g: ready, 16 items of 64 numbers, images kept, version 1, space ")


def test_info_names_damage(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    build(root, people, "--no-store-images")
    assert "no images kept" in run("info", root)[1]
    (root / "galleries/g" / FILE).write_bytes(b"gone")
    code, output = run("info", root)
    assert code == 1
    assert "g: failed" in output
    assert "gallery.sqlite" in output
    with pytest.raises(GalleryNotFound):
        run("info", tmp_path / "nowhere")


def test_a_refused_image_is_told_and_gives_status_1(people: Path, tmp_path: Path) -> None:
    (people / "visible/p0/9_bad.jpg").write_bytes(b"no image")
    code, output = build(tmp_path / "data", people)
    assert code == 1
    assert "16 created, 1 refused" in output
    assert "9_bad.jpg: " in output
    assert "[NOT_AN_IMAGE]" in output


def test_errors_that_end_a_command(people: Path, tmp_path: Path) -> None:
    root, query = tmp_path / "data", people / "visible/p0/1_0.png"
    with pytest.raises(GalleryNotFound):
        search(root, query)
    assert not root.exists()
    with pytest.raises(DatasetError):
        build(root, tmp_path / "nowhere")
    assert not root.exists()
    build(root, people)
    with pytest.raises(DatasetError, match="cannot be read"):
        search(root, tmp_path / "nowhere.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(NotAnImage):
        search(root, tmp_path / "text.png")
    code, output = search(root, query, "--modality", "red")
    assert code == 2
    assert "'visible' or 'infrared'" in output


def test_another_bundle_is_refused(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vireid.engines.fake import FakeEngine

    build(tmp_path / "data", people)
    monkeypatch.setattr("index.model.FakeEngine", lambda: FakeEngine(dim=32))
    with pytest.raises(GalleryMismatch):
        search(tmp_path / "data", people / "visible/p0/1_0.png")
    with pytest.raises(GalleryMismatch):
        build(tmp_path / "data", people)


def test_verify_snapshot_restore_compact(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    build(root, people)
    code, output = run("verify", root)
    assert (code, output) == (0, "g: sound, 16 items, 32 pictures and 0 snapshots as they were written\n")
    assert run("snapshot", root, "-g", "g", "--keep-days", 999_999_999)[0] == 2
    code, output = run("snapshot", root, "-g", "g", "--keep-days", 3)
    place = Path(output.strip())
    assert (code, place.parent) == (0, root / "galleries/g/snapshots")
    code, output = run("restore", root, place, "-g", "again")
    assert (code, output) == (0, "again: 16 items of 64 numbers, version 2\n")
    assert "16 items" in run("verify", root, "-g", "again")[1]
    code, output = run("restore", root, place.name, "-g", "by-name")
    assert (code, output) == (0, "by-name: 16 items of 64 numbers, version 2\n")
    shutil.rmtree(root / "galleries/by-name")
    with pytest.raises(GalleryExists, match=r"--replace.*--gallery"):
        run("restore", root, place.name)
    code, output = run("compact", root, "-g", "g")
    assert code == 0
    assert output.startswith("g: ")
    (place / "manifest.json").write_text("{}")
    with (root / "galleries/again" / FILE).open("r+b") as file:
        file.truncate(40_000)
    code, output = run("verify", root)
    assert code == 1
    assert "again: damaged" in output
    assert "g: damaged, 16 items" in output
    assert str(place) in output
    with pytest.raises(GalleryNotFound, match="nothing"):
        run("verify", tmp_path / "nothing")
    with pytest.raises(GalleryNotFound, match="'b'"):
        run("snapshot", root, "-g", "b")
    with pytest.raises(InvalidRequest, match="no snapshot"):
        run("restore", tmp_path / "new", tmp_path / "nowhere")


def test_retention(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    build(root, people)
    assert run("retention", root, "-g", "g") == (0, "g: items are kept until they are removed\n")
    assert run("retention", root, "-g", "g", "--days", 1.5) == (0, "g: items are kept 1.5 days\n")
    assert run("retention", root, "-g", "g") == (0, "g: items are kept 1.5 days\n")
    assert run("info", root)[1].endswith("\n  items are kept 1.5 days\n")
    place = run("snapshot", root, "-g", "g")[1].strip()
    late = centring.now() + 2 * 86_400_000_000
    monkeypatch.setattr(centring, "now", lambda: late)
    code, output = run("restore", root, place, "-g", "late")
    assert (code, output.splitlines()[1:]) == (
        0,
        [
            "  16 of them have expired meanwhile: they are hidden, and removed by a server",
            "  items are kept 1.5 days",
        ],
    )
    assert run("retention", root, "-g", "g", "--days", 0)[1] == "g: items are kept until they are removed\n"
    # less than a second is not for ever
    assert run("retention", root, "-g", "g", "--days", 1e-9)[1] == "g: items are kept 1.15741e-05 days\n"
    for wrong in ("inf", "nan", -1, 1e9):
        assert run("retention", root, "-g", "g", "--days", wrong)[0] == 2
    assert run("retention", root, "-g", "g", "--days", 0)[0] == 0
    assert "g: sound, 16 items" in run("verify", root)[1]


def test_reembed(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    build(root, people)
    other = FakeEngine(dim=32)
    monkeypatch.setattr("index.reembed_command.open_model", lambda *_: (other, Preprocess(*other.input_size)))
    code, output = run("reembed", root, "-g", "g")
    assert (code, output.splitlines()[-1]) == (
        0,
        f"g: 16 embedded, 16 items of space {other.space_id[:12]}, before {FakeEngine().space_id[:12]}",
    )
    assert "g: ready, 16 items of 32 numbers" in run("info", root)[1]
    with pytest.raises(GalleryMismatch):
        search(root, people / "infrared/p2/1_0.png")
    assert run("reembed", root, "-g", "g", "--back")[0] == 0
    assert search(root, people / "infrared/p2/1_0.png")[0] == 0
    assert "g: sound" in run("verify", root)[1]
    bare = tmp_path / "bare"
    run("build", bare, "--gallery", "g", "--images", people, "--bundle", "fake", "--no-store-images")
    cache = bare / "galleries" / "g" / "gallery.sqlite-cache"
    cache.write_bytes(b"of the file as it was")
    code, output = run("reembed", bare, "-g", "g")
    assert code == 1
    assert "16 items could not be embedded; nothing was exchanged" in output
    assert not cache.exists()
