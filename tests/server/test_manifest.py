"""What an upload says of its images."""

import base64
import json
from datetime import UTC, datetime

import pytest

from server import manifest
from vireid.described import Described
from vireid.errors import ArchiveError, InvalidRequest
from vireid.types import ItemMeta, Modality

CSV = b"""\xef\xbb\xbfpath,item_id,person,camera,modality,captured_at,coat
a.jpg,one,p1,c1,visible,2026-03-01T23:30:00+01:00,red
./b/c.jpg,,p2,,infrared,,
"""


def test_a_csv() -> None:
    found = manifest.from_manifest("manifest.csv", CSV)
    assert found["a.jpg"] == Described(
        "one",
        Modality.VISIBLE,
        ItemMeta("p1", "c1", datetime(2026, 3, 1, 22, 30, tzinfo=UTC), {"coat": "red"}),
    )
    assert found["b/c.jpg"] == Described("b/c.jpg", Modality.INFRARED, ItemMeta("p2"))


def test_the_same_as_json() -> None:
    entries = [
        {
            "path": "a.jpg",
            "item_id": "one",
            "person": "p1",
            "camera": "c1",
            "modality": "visible",
            "captured_at": "2026-03-01T23:30:00+01:00",
            "attributes": {"coat": "red"},
        },
        {"path": "b/c.jpg", "person": "p2", "modality": "infrared"},
    ]
    as_json = manifest.from_manifest("manifest.json", json.dumps(entries).encode())
    assert as_json == manifest.from_manifest("manifest.csv", CSV)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("manifest.csv", b"\xff\xfe", "no CSV text"),
        ("manifest.csv", b"person,camera\np,c\n", "must name path"),
        ("manifest.csv", b"path,modality\na.jpg,thermal\n", "line 2.*thermal"),
        ("manifest.csv", b"path,captured_at\na.jpg,\nb.jpg,yesterday\n", "line 3.*yesterday"),
        ("manifest.csv", b"path,captured_at\na.jpg,2026-03-01T10:00:00\n", "zone"),
        ("manifest.csv", b"path,captured_at\na.jpg,0001-01-01T00:00:00+14:00\n", "0001"),
        ("manifest.csv", b"path,person\n,p\n", "line 2.*no path"),
        ("manifest.csv", b"", "must name path"),
        ("manifest.json", b"{", "no JSON"),
        ("manifest.json", b"{}", "no list"),
        ("manifest.json", b"[1]", "entry 1"),
        ("manifest.json", b'[{"person": "p"}]', "no path"),
    ],
)
def test_what_is_refused(name: str, data: bytes, words: str) -> None:
    with pytest.raises(ArchiveError, match=words) as caught:
        manifest.from_manifest(name, data)
    assert caught.value.stable_reason == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    "data",
    [b"path\na.jpg\n./a.jpg\n", b"path,item_id\na.jpg,x\nb.jpg,x\n", b"path,item_id\na.jpg,\nb.jpg,a.jpg\n"],
)
def test_a_path_or_id_twice(data: bytes) -> None:
    with pytest.raises(ArchiveError) as caught:
        manifest.from_manifest("manifest.csv", data)
    assert caught.value.stable_reason == "ARCHIVE_NAME_TWICE"


def line(**fields: object) -> bytes:
    return json.dumps({"item_id": "a", "image": base64.b64encode(b"data").decode(), **fields}).encode()


def test_a_line() -> None:
    described, data = manifest.from_ndjson(line(person="p", modality="auto", attributes={"coat": "red"}))
    assert data == b"data"
    assert described == Described("a", None, ItemMeta("p", attributes={"coat": "red"}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "MALFORMED_JSON"),
        (b"[]", "INVALID_REQUEST"),
        (line(item_id=""), "INVALID_REQUEST"),
        (line(image=""), "INVALID_REQUEST"),
        (line(image="%%%"), "MALFORMED_BASE64"),
        (line(modality="thermal"), "INVALID_REQUEST"),
    ],
)
def test_a_line_that_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        manifest.from_ndjson(data)
    assert caught.value.stable_reason == reason
