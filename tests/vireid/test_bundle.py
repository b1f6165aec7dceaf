"""Bundles survive a round trip, and nothing damaged passes for one."""

import hashlib
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vireid.bundle_parts import MODEL, manifest, meaning, written
from vireid import bundle
from vireid.errors import (
    AlreadyExists,
    BundleCorrupt,
    BundleError,
    BundleMissing,
    BundleUnsupported,
    StorageError,
)

PLACES = ["b.zip", "b"]


# ---- round trip -----------------------------------------------------------------
@pytest.mark.parametrize("place", PLACES)
def test_what_is_written_is_read(tmp_path: Path, place: str) -> None:
    read = bundle.read(written(tmp_path / "new" / place))
    assert read.manifest.provenance["recipe"]["é"] == [True, None, 0.1]
    assert read.manifest.files["model.onnx"] == hashlib.sha256(MODEL).hexdigest()
    assert read.file("model.onnx") == MODEL
    assert read.file("notes.txt") == b"hello"
    assert (read.preprocess.height, read.preprocess.width) == (32, 16)
    assert read.preprocess.interpolation == "bilinear"
    with pytest.raises(BundleCorrupt, match="no file 'other'"):
        read.file("other")


def test_folder_and_zip_say_the_same(tmp_path: Path) -> None:
    zipped, folder = (bundle.read(written(tmp_path / place)) for place in PLACES)
    assert meaning(zipped) == meaning(folder)
    assert zipped.space_id == folder.space_id


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(tmp_path / "1.zip"), tmp_path / "2.zip"
    bundle.write(second, manifest(), {"notes.txt": b"hello", "model.onnx": MODEL})
    assert first.read_bytes() == second.read_bytes()
    folders = [written(tmp_path / name) for name in ("a", "b")]
    assert (folders[0] / "bundle.json").read_bytes() == (folders[1] / "bundle.json").read_bytes()


def test_the_space_depends_on_weights_and_preprocessing_only(tmp_path: Path) -> None:
    start = bundle.read(written(tmp_path / "0.zip")).space_id
    assert bundle.read(written(tmp_path / "1.zip", name="other", metrics={"map": 1})).space_id == start
    moved = manifest().preprocess.model_dump() | {"interpolation": "bicubic"}
    assert bundle.read(written(tmp_path / "2.zip", preprocess=moved)).space_id != start
    other = bundle.write(tmp_path / "3.zip", manifest(), {"model.onnx": MODEL[:-1] + b"x"})
    assert bundle.read(other).space_id != start


def test_a_bundle_rezipped_by_hand_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    with zipfile.ZipFile(tmp_path / "again.zip", "w", zipfile.ZIP_STORED) as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert meaning(bundle.read(tmp_path / "again.zip")) == meaning(bundle.read(folder))


def test_a_manifest_by_hand_needs_no_seal(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    words = json.loads((folder / "bundle.json").read_text())
    words["notice"] = "edited"
    (folder / "bundle.json").write_text(json.dumps(words))
    with pytest.raises(BundleCorrupt, match="does not match its seal"):
        bundle.read(folder)
    del words["seal"]
    (folder / "bundle.json").write_text(json.dumps(words))
    assert bundle.read(folder).manifest.notice == "edited"


def test_the_default_bundle_is_whole() -> None:
    read = bundle.read(bundle.default_path())
    assert read.manifest.model.dim >= 64
    assert read.path.stat().st_size <= 8_000_000
    assert read.manifest.licence == "Apache-2.0"
    assert set(read.manifest.modalities) == {"visible", "infrared"}


# ---- writing --------------------------------------------------------------------
def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    with pytest.raises(AlreadyExists, match="new place"):
        written(folder, name="second")
    assert bundle.read(folder).manifest.name == "tiny"


def test_an_existing_zip_is_replaced(tmp_path: Path) -> None:
    written(tmp_path / "b.zip")
    assert bundle.read(written(tmp_path / "b.zip", name="second")).manifest.name == "second"


@pytest.mark.parametrize("place", PLACES)
def test_a_failed_write_leaves_nothing(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place.endswith(".zip"):
        written(tmp_path / place)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\).* make room"):
        written(tmp_path / place, name="second")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="name another place"):
        written(tmp_path / "file" / place)


@pytest.mark.parametrize("name", ["../up", "a/b", "/abs", "..", "c\\d", "C:x", "bundle.json", "", "nul\0"])
def test_strange_names_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="plain names"):
        bundle.write(tmp_path / "b", manifest(), {"model.onnx": MODEL, name: b"x"})
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_without_its_model_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"names the model 'model\.onnx'"):
        bundle.write(tmp_path / "b", manifest(), {"other.onnx": MODEL})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_hold_is_not_written(tmp_path: Path, value: object) -> None:
    with pytest.raises(BundleError, match="cannot be written as JSON"):
        written(tmp_path / "b.zip", metrics={"map": value})
    assert list(tmp_path.iterdir()) == []


# ---- nothing there, nothing of ours -----------------------------------------------
def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="export one with 'vireid export onnx'"):
        bundle.read(tmp_path / "nowhere")
    with pytest.raises(BundleMissing, match=r"holds no bundle\.json"):
        bundle.read(tmp_path)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_no_zip_of_ours(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(BundleCorrupt):
        bundle.read(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("edit", "error", "match"),
    [
        ({"format": 2}, BundleUnsupported, "format 2 found, 1 is supported"),
        ({"format": "1"}, BundleUnsupported, "format '1' found"),
        ({"format": None}, BundleUnsupported, "format None found"),
        ({"colour": 1}, BundleCorrupt, "colour: Extra inputs are not permitted"),
        ({"name": 3}, BundleCorrupt, "name: Input should be a valid string"),
        ({"model": {"opset": 18}}, BundleCorrupt, r"model\.dim: Field required"),
        ({"model": {"opset": 18, "dim": 4, "file": "x.onnx"}}, BundleCorrupt, "no checksum for 'x.onnx'"),
        ({"modalities": ["thermal"]}, BundleCorrupt, "'visible' or 'infrared'"),
        ({"files": {"model.onnx": "abc"}}, BundleCorrupt, r"files\.model\.onnx: String should match"),
        ({"files": {"model.onnx": "0" * 64, "../x": "0" * 64}}, BundleCorrupt, "does not match its checksum"),
    ],
)
def test_manifests_that_are_wrong(
    tmp_path: Path, edit: dict[str, Any], error: type[Exception], match: str
) -> None:
    folder = written(tmp_path / "b")
    words = json.loads((folder / "bundle.json").read_text()) | edit
    del words["seal"]
    (folder / "bundle.json").write_text(json.dumps(words))
    with pytest.raises(error, match=match):
        bundle.read(folder)


@pytest.mark.parametrize("field", ["mean", "std"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_preprocessing_is_finite(tmp_path: Path, field: str, value: str) -> None:
    folder = written(tmp_path / "b")
    words = json.loads((folder / "bundle.json").read_text())
    words["preprocess"][field][1] = "HERE"
    text = json.dumps(words).replace('"HERE"', value)
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleCorrupt, match=rf"preprocess\.{field}\.1"):
        bundle.read(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"format": 1', "\x00", '{"name": "x"}']
)
def test_manifests_that_are_none(tmp_path: Path, text: str) -> None:
    folder = written(tmp_path / "b")
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleCorrupt, match=r"bundle\.json") as caught:
        bundle.read(folder)
    assert caught.value.metadata["file"] == "bundle.json"


def test_manifest_in_a_foreign_encoding(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    (folder / "bundle.json").write_bytes(b'{"format": 1, "name": "\xff\xfe"}')
    with pytest.raises(BundleCorrupt, match="is no JSON"):
        bundle.read(folder)


# ---- damage -----------------------------------------------------------------------
def check_flip(place: Path, data: bytes, bit: int, original: tuple[Any, Any]) -> None:
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    place.write_bytes(bytes(broken))
    try:
        read = bundle.read(place if place.suffix == ".zip" else place.parent)
    except (BundleCorrupt, BundleUnsupported):
        return
    # a flip that a zip or JSON gives no meaning to (a time stamp, the case of an \u00e9) changes nothing
    assert meaning(read) == original, f"bit {bit} changed the bundle unseen"


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.slow)])
def test_every_bit_of_a_zip(tmp_path: Path, share: float) -> None:
    place = bundle.write(tmp_path / "b.zip", manifest(), {"model.onnx": MODEL[:40]})
    original, data = meaning(bundle.read(place)), place.read_bytes()
    bits = range(8 * len(data))
    for bit in random.Random(1).sample(bits, int(share * len(bits))):
        check_flip(place, data, bit, original)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "notes.txt"])
def test_any_bit_of_a_folder(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "b")
    original, data = meaning(bundle.read(folder)), (folder / name).read_bytes()
    for bit in random.Random(2).sample(range(8 * len(data)), min(300, 8 * len(data))):
        check_flip(folder / name, data, bit, original)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 8 * len(MODEL) - 1), file=st.sampled_from(["model.onnx", "notes.txt"]))
def test_a_flipped_weight_names_its_file(
    tmp_path_factory: pytest.TempPathFactory, bit: int, file: str
) -> None:
    folder = written(tmp_path_factory.mktemp("flip") / "b")
    data = bytearray((folder / file).read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    (folder / file).write_bytes(data)
    with pytest.raises(BundleCorrupt, match=f"{file} does not match its checksum") as caught:
        bundle.read(folder)
    assert caught.value.metadata["file"] == file


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_cut_zip(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    place = written(tmp_path_factory.mktemp("cut") / "b.zip")
    data = place.read_bytes()
    place.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(BundleCorrupt):
        bundle.read(place)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleCorrupt, match=r"model\.onnx is missing"):
        bundle.read(folder)


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = written(tmp_path / "b")
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleCorrupt, match="no plain file"):
        bundle.read(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "sub/file", ".."])
def test_listed_names_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "b")
    words = json.loads((folder / "bundle.json").read_text())
    words["files"] = {name: "0" * 64, **words["files"]}
    del words["seal"]
    (folder / "bundle.json").write_text(json.dumps(words))
    with pytest.raises(BundleCorrupt, match="leaves the bundle"):
        bundle.read(folder)
