"""Zips dressed up as bundles: nothing that leaves its folder, lies about its size or is packed otherwise is read."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vireid.bundle_parts import written
from vireid import bundle, bundle_files
from vireid.errors import BundleCorrupt


def zipped(place: Path, entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return place


@pytest.fixture
def entries(tmp_path: Path) -> list[tuple[str, bytes]]:
    folder = written(tmp_path / "source")
    return [(file.name, file.read_bytes()) for file in folder.iterdir()]


@pytest.mark.parametrize(
    ("dress", "match"),
    [
        (lambda e: [*e, ("../out", b"x")], "expected plain files"),
        (lambda e: [*e, ("/abs", b"x")], "expected plain files"),
        (lambda e: [(f"bundle/{name}", data) for name, data in e], "zip the files, not their folder"),
        (lambda e: [*e, ("BUNDLE.json", b"{}")], "a name twice"),
        (lambda e: [*e, *((f"f{i}", b"") for i in range(64))], "entries"),
        (lambda e: [x for x in e if x[0] != "bundle.json"], r"bundle\.json is missing; it holds"),
        (lambda e: [x for x in e if x[0] != "notes.txt"], r"notes\.txt is missing; it holds"),
        (lambda e: [*e[1:], (e[0][0], bytes(20_000_000))], "unfolds to more"),
        (lambda e: [("bundle.json", b" " * 2_000_000), *(x for x in e if x[0] != "bundle.json")], "unfolds"),
    ],
)
def test_unsafe_zips(
    tmp_path: Path,
    entries: list[tuple[str, bytes]],
    dress: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]],
    match: str,
) -> None:
    with pytest.raises(BundleCorrupt, match=match):
        bundle.read(zipped(tmp_path / "bad.zip", dress(sorted(entries, reverse=True))))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(tmp_path: Path, entries: list[tuple[str, bytes]]) -> None:
    with pytest.raises(BundleCorrupt, match="a name twice"):
        bundle.read(zipped(tmp_path / "bad.zip", [*entries, ("model.onnx", b"other")]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packing_is_refused(tmp_path: Path, entries: list[tuple[str, bytes]], method: int) -> None:
    with pytest.raises(BundleCorrupt, match="packed by method"):
        bundle.read(zipped(tmp_path / "bad.zip", entries, method))


def test_a_zip_that_claims_gigabytes(
    tmp_path: Path, entries: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_files, "MAX_BYTES", 500)
    with pytest.raises(BundleCorrupt, match="unfolds to more than a bundle may hold"):
        bundle.read(zipped(tmp_path / "bad.zip", entries))
    folder = tmp_path / "source"
    with pytest.raises(BundleCorrupt, match="unfolds to more than a bundle may hold"):
        bundle.read(folder)


def test_a_size_that_lies(tmp_path: Path, entries: list[tuple[str, bytes]]) -> None:
    place = zipped(tmp_path / "bad.zip", entries)
    data = bytearray(place.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 3)  # fewer bytes than there are
    place.write_bytes(data)
    with pytest.raises(BundleCorrupt):
        bundle.read(place)


def test_an_encrypted_zip(tmp_path: Path, entries: list[tuple[str, bytes]]) -> None:
    place = zipped(tmp_path / "bad.zip", entries)
    data = bytearray(place.read_bytes())
    for start in (b"PK\x01\x02", b"PK\x03\x04"):
        at = data.index(start)
        data[at + (8 if start == b"PK\x01\x02" else 6)] |= 1
    place.write_bytes(data)
    with pytest.raises(BundleCorrupt, match="encrypted"):
        bundle.read(place)
    assert zipfile.is_zipfile(io.BytesIO(data))
