"""What of an export is damaged, or was never an export of ours, is refused by name."""

import hashlib
import json
import random
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import neutral
from tests.index.exported import (
    DIM,
    bring_in,
    exported_folder,
    small_shards_only,
    some_people,
)
from vireid.errors import DataLoss, VireidError

__all__ = ["exported_folder", "small_shards_only", "some_people"]  # fixtures


def files_of(out: Path) -> list[Path]:
    return sorted(out.iterdir())


def broken(out: Path, tmp_path: Path, damage: Callable[[Path], bool]) -> Iterator[tuple[Path, str]]:
    """Damage each file in turn; yield it and what an import says."""
    folder = tmp_path / "elsewhere"
    for place in files_of(out):
        sound = place.read_bytes()
        if not damage(place):
            continue
        with pytest.raises(VireidError) as caught:
            bring_in(out, folder)
        assert not folder.exists() or not list(folder.iterdir())
        place.write_bytes(sound)
        yield place, caught.value.message


def test_every_flipped_bit_is_refused_by_name(out: Path, tmp_path: Path) -> None:
    draw = random.Random(5)

    def flip(place: Path) -> bool:
        data = bytearray(place.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        sound = place.read_bytes()
        place.write_bytes(data)
        try:
            return place.suffix != ".json" or bool(json.loads(data) != json.loads(sound))
        except ValueError:
            return True

    (tmp_path / "elsewhere").mkdir()
    refused = 0
    for _ in range(15):
        for place, message in broken(out, tmp_path, flip):
            assert str(place) in message
            refused += 1
    assert refused >= 15 * len(files_of(out)) - 10


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.999])
def test_a_cut_or_missing_file_is_named(out: Path, tmp_path: Path, share: float | None) -> None:
    def cut(place: Path) -> bool:
        if share is None:
            place.unlink()
        else:
            place.write_bytes(place.read_bytes()[: int(share * place.stat().st_size)])
        return True

    found = list(broken(out, tmp_path, cut))
    assert len(found) == 10
    for place, message in found:
        assert place.name in message


def retold(out: Path) -> None:
    """Give the files of an export the manifest that a program would give them that writes what it should not."""
    document = json.loads((out / "manifest.json").read_text())
    for shard in document["export"]["shards"]:
        for name in shard["files"]:
            data = (out / name).read_bytes()
            shard["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    body = document["export"]
    document["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(document))


def line_of(name: str, value: object) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        place = out / "items-00002.jsonl"
        lines = [json.loads(line) for line in place.read_text().splitlines()]
        lines[1][name] = value
        place.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return change


def vectors_of(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda out: np.save(out / "vectors-00002.npy", change(np.load(out / "vectors-00002.npy")))


def scaled(vectors: Any) -> Any:
    vectors[2] *= 1.1
    return vectors


def holed(vectors: Any) -> Any:
    vectors[2, 3] = np.nan
    return vectors


def text_of(change: Callable[[str], str]) -> Callable[[Path], None]:
    def write(out: Path) -> None:
        place = out / "items-00002.jsonl"
        place.write_text(change(place.read_text()))

    return write


def other_picture(out: Path) -> None:
    with tarfile.open(out / "pictures-00002.tar") as archive:
        names = archive.getnames()
    with tarfile.open(out / "pictures-00002.tar", "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))


def links(out: Path) -> None:
    """Make a link of each picture: to itself, or to what is not there."""
    with tarfile.open(out / "pictures-00002.tar") as archive:
        names = archive.getnames()
    with tarfile.open(out / "pictures-00002.tar", "w") as archive:
        for name, target in zip(names, [names[0], *["/etc/passwd"] * len(names)], strict=False):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)


def holes(out: Path) -> None:
    """Say of each picture that it is larger than any memory, and has holes."""
    with tarfile.open(out / "pictures-00002.tar") as archive:
        names = archive.getnames()
    with tarfile.open(out / "pictures-00002.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            hollow = tarfile.TarInfo(name)
            hollow.pax_headers = {"GNU.sparse.size": str(2**50), "GNU.sparse.map": f"{2**50},0"}
            archive.addfile(hollow)


def endless(out: Path) -> None:
    with tarfile.open(out / "pictures-00002.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        long = tarfile.TarInfo("x")
        long.pax_headers = {"size": "9" * 30}
        archive.addfile(long)


def header(text: str) -> Callable[[Path], object]:
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    return lambda out: (out / "vectors-00002.npy").write_bytes(data)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (line_of("id", "../etc"), r"items-00002.*\.\./etc"),
        (line_of("id", ""), "items-00002.*item id"),
        (line_of("id", 5), "items-00002.*line 2.*id is no text"),
        (line_of("id", "9007199254740993"), "items-00002.*'9007199254740993' is there twice"),
        (line_of("id", "9223372036854775807"), "items-00002.*'9223372036854775807' is there twice"),
        (line_of("key", "one"), "items-00002.*line 2"),
        (line_of("person", None), "items-00002.*person is no text"),
        (line_of("person", "\ud800"), "items-00002.*no valid text"),
        (line_of("camera", "x" * 201), "items-00002.*201 characters"),
        (line_of("captured_at", "2026-11-21T00:00:00"), "items-00002.*timezone"),
        (line_of("captured_at", "yesterday"), "items-00002.*line 2"),
        (line_of("enrolled_at", None), "items-00002.*enrolled_at"),
        (line_of("modality", "red"), "items-00002.*'red'"),
        (line_of("attributes", []), "items-00002.*line 2"),
        (line_of("attributes", {"a": 1}), "items-00002.*a is no text"),
        (line_of("sha256", "ab"), "items-00002.*sha256"),
        (line_of("image", "cd" * 32), "items-00002.*line 2.*missing"),
        (other_picture, "items-00002.*line 1.*another"),
        (links, "items-00002.*line 1.*missing"),
        (holes, "items-00002.*line 1.*missing"),
        (endless, "pictures-00002.*no archive"),
        (header("{'descr': '<f4'"), "vectors-00002.*no array"),
        (header("{" * 999), "vectors-00002.*no array"),
        (
            header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (3, {DIM})}}\n"),
            "vectors-00002.*does not hold",
        ),
        (text_of(lambda text: text + text), "items-00002.*lines or more"),
        (text_of(lambda text: text[: text.index("\n") + 1]), "items-00002.*1 lines"),
        (text_of(lambda text: "[" * 100_000 + "\n"), "items-00002.*line 1"),
        (text_of(lambda text: "null\n" * 3), "items-00002.*line 1"),
        (vectors_of(scaled), "items-00002.*norm 1.1"),
        (vectors_of(holed), "items-00002.*NaN"),
        (vectors_of(lambda found: found[:2]), "vectors-00002.*expected"),
        (vectors_of(lambda found: found[:, :-1]), "vectors-00002.*expected"),
        (vectors_of(lambda found: found.astype(np.float16)), "vectors-00002.*float16"),
        (vectors_of(lambda found: np.asfortranarray(found)), "vectors-00002"),
        (
            lambda out: (out / "vectors-00002.npy").write_bytes(b"\x93NUMPY\x01\x00"),
            "vectors-00002.*no array",
        ),
        (lambda out: (out / "pictures-00002.tar").write_bytes(b"x" * 999), "pictures-00002.*no archive"),
    ],
)
def test_what_another_program_wrote_wrongly_is_named(
    out: Path, tmp_path: Path, change: Callable[[Path], object], what: str
) -> None:
    change(out)
    retold(out)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with pytest.raises(DataLoss) as caught:
        bring_in(out, folder)
    assert re.search(what, caught.value.message, re.DOTALL), caught.value.message
    assert str(out) in caught.value.message
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("items", 8),
        ("dim", 0),
        ("dim", "16"),
        ("gallery", 5),
        ("mood", "good"),
        ("shards", [{"number": 1}]),
        ("shards", [{"number": 1, "items": 7, "files": {"../../secret": {}}}]),
        ("shards", 5),
        ("shards", [{"number": 1, "items": 7.0, "files": {name: {} for name in neutral._names(1, True)}}]),
        ("shards", [{"number": 1, "items": 7, "files": ["items-00001.jsonl"]}]),
        ("shards", [{"number": 1, "items": 7, "files": dict.fromkeys(neutral._names(1, True))}]),
        ("space_id", "\ud800"),
        ("space_id", "../" * 20),
        ("pictures", False),
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused(
    out: Path, tmp_path: Path, name: str, value: object
) -> None:
    document = json.loads((out / "manifest.json").read_text())
    document["export"][name] = value
    body = json.dumps(document["export"], sort_keys=True).encode()
    document["sha256"] = hashlib.sha256(body).hexdigest()
    (out / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(DataLoss, match=re.escape(str(out / "manifest.json"))):
        bring_in(out, tmp_path)
