from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from index import sources
from vireid import image_folder
from vireid.errors import DatasetError
from vireid.image_folder import Entry
from vireid.types import ItemMeta, Modality

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(*places: str) -> Path:
        for place in places:
            path = tmp_path / "images" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 16), (len(place), 2, 3)).save(path)
        return tmp_path / "images"

    return write


def test_sorted_by_modality(put: Put) -> None:
    root = put(
        "visible/ann/3_1.jpg", "visible/bob b/x.PNG", "infrared/ann/gate_9_1.webp", "visible/ann/.3_2.jpg"
    )
    (root / "visible/ann/notes.txt").write_text("no image")
    found = {one.path.name: one for one in sources.read(root)}
    assert {name: (one.modality, one.meta) for name, one in found.items()} == {
        "3_1.jpg": (Modality.VISIBLE, ItemMeta("ann", "3")),
        "x.PNG": (Modality.VISIBLE, ItemMeta("bob b", "")),
        "gate_9_1.webp": (Modality.INFRARED, ItemMeta("ann", "gate")),
    }
    assert found["3_1.jpg"].item_id == "visible/ann/3_1.jpg"


def test_a_manifest(put: Put) -> None:
    root = put("a.jpg", "deep/b.jpg", "c.jpg")
    (root / "manifest.csv").write_text(
        "path,item_id,person,camera,modality,captured_at,split,hat\n"
        "a.jpg,first,ann,3,infrared,2026-03-01T23:30:00+01:00,query,yes\n"
        "deep/b.jpg,,,,,,,\n"
        "c.jpg,,,,,,train,no\n"
    )
    first, second = sources.read(root)
    assert first == Entry(
        root / "a.jpg",
        "first",
        Modality.INFRARED,
        ItemMeta("ann", "3", datetime(2026, 3, 1, 22, 30, tzinfo=UTC), {"hat": "yes"}),
        "query",
    )
    assert second == Entry(root / "deep/b.jpg", "deep/b.jpg", None, ItemMeta(attributes={}), "test")
    assert [one.path.name for one in sources.read(root, "train")] == ["c.jpg"]
    with pytest.raises(DatasetError, match="3 in other splits"):
        sources.read(root, "gallery")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("person\nann\n", "must name path"),
        ("path\nnone.jpg\n", "line 2: there is no file 'none.jpg'"),
        ("path\n\n,\n", "there is no file ''"),
        ("path,modality\na.jpg,red\n", "line 2: found modality 'red'"),
        ("path,split\na.jpg,some\n", "line 2: split is one of"),
        ("path,captured_at\na.jpg,yesterday\n", "line 2: found time 'yesterday'"),
        ("path,captured_at\na.jpg,2026-01-01T00:00:00\n", "with a zone"),
        ("path,captured_at\na.jpg,0001-01-01T00:00:00+14:00\n", "with a zone"),
        ("path,item_id\na.jpg,x\nb.jpg,x\n", "same item id 'x'"),
    ],
)
def test_a_malformed_manifest_names_the_line(put: Put, text: str, words: str) -> None:
    root = put("a.jpg", "b.jpg")
    (root / "manifest.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        sources.read(root)


def test_a_published_layout(regdb: Path) -> None:
    found = sources.read(regdb)
    assert {one.modality for one in found} == set(Modality)
    assert {one.split for one in found} == {"query", "gallery"}
    assert all(one.meta.person and one.meta.camera for one in found)
    assert {one.split for one in sources.read(regdb, "train")} == {"train"}


@pytest.fixture
def regdb(put: Put) -> Path:
    lines: dict[str, list[str]] = {}
    for person, part in ((1, "train"), (2, "test")):
        for kind, word in (("Visible", "visible"), ("Thermal", "thermal")):
            place = f"{kind}/{person}/x_{person}.bmp"
            put(place)
            lines.setdefault(f"{part}_{word}", []).append(f"{place} {person - 1}")
    root = put()
    (root / "idx").mkdir()
    for trial in range(1, 11):
        for name, some in lines.items():
            (root / "idx" / f"{name}_{trial}.txt").write_text("\n".join(some) + "\n")
    return root


def test_a_plain_folder(put: Put) -> None:
    root = put("b/2.jpg", "a.jpg")
    assert [(one.item_id, one.modality, one.meta) for one in sources.read(root)] == [
        ("a.jpg", None, ItemMeta()),
        ("b/2.jpg", None, ItemMeta()),
    ]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        sources.read(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no image"):
        sources.read(tmp_path)


def test_ids_are_those_of_an_upload(put: Put) -> None:
    """A folder that was uploaded can be built upon, and the reverse."""
    root = put("visible/ann/3_1.jpg", "infrared/bob b/1_ä.jpg")
    ours = {one.path: (one.item_id, one.modality, one.meta) for one in sources.read(root)}
    theirs = {one.path: (one.item_id, one.modality, one.meta) for one in image_folder.read(root)}
    assert ours == theirs
