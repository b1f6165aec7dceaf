"""A gallery as files that anything reads: what is in them, what comes back, and what of them is damaged."""

import hashlib
import json
import random
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index import exporting, importing, neutral
from index.disk import FILE, MAKING
from index.gallery import Gallery
from index.head import Head
from index.inspection import inspect
from index.records import Enrolment, Records
from tests.index.conftest import picture, unit
from vireid.errors import (
    DataLoss,
    GalleryExists,
    ImageNotStored,
    InvalidRequest,
    StorageError,
    VireidError,
)
from vireid.types import ItemMeta, Modality

Make = Callable[..., Enrolment]
DIM, SPACE = 16, "5" * 64
ODD = ["-5", "0", "9007199254740993", "9223372036854775807", "1e3", "null", "a/b:c_d.e-f"]


def galleries_at(root: Path) -> Path:
    folder = root / "galleries"
    (folder / "g").mkdir(parents=True)
    return folder


def filled(folder: Path, batch: list[Enrolment], stores_images: bool = True, retention_s: int = 0) -> Path:
    Records.create(
        folder / "g" / FILE, Head("g", SPACE, DIM, stores_images, version=4, retention_s=retention_s)
    )
    gallery = Gallery(folder / "g" / FILE)
    gallery.enroll(batch)
    gallery.close()
    return folder / "g" / FILE


def export(path: Path, out: Path, pictures: bool = True) -> neutral.Manifest:
    records = Records(path)
    try:
        return exporting.export(records, out, pictures, lambda _: None)
    finally:
        records.close()


def bring_in(out: Path, folder: Path, name: str = "again") -> importing.Imported:
    return importing.bring_in(out, folder, name, lambda _: None)


def kept(read: Callable[[str], bytes], item_id: str) -> bytes | None:
    try:
        return read(item_id)
    except ImageNotStored:
        return None


def content(path: Path, pictures: bool = True) -> list[tuple[Any, ...]]:
    """All that a gallery tells of its items, when they came, too."""
    gallery = Gallery(path)
    try:
        found: list[tuple[Any, ...]] = []
        for item in gallery.items(limit=1000)[0]:
            seen = replace(item, has_image=item.has_image and pictures)
            both = [
                kept(read, item.item_id) if pictures else b"" for read in (gallery.image, gallery.thumbnail)
            ]
            found.append((seen, gallery.vector(item.item_id).tobytes(), *both))
        return found
    finally:
        gallery.close()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neutral, "ITEMS_A_SHARD", 3)
    monkeypatch.setattr(importing, "ITEMS_AT_ONCE", 2)


@pytest.fixture
def people(enrolment: Make) -> list[Enrolment]:
    return [
        enrolment(
            item_id,
            modality=Modality(n % 2),
            person=f"p{n}",
            camera="caf\u00e9 \u2028 7",
            captured_at=datetime(2026, 11, 21, 23, 59, 59, n, UTC) if n % 3 else None,
            attributes={"\u65e5\u672c": 'a "b"\n\\'} if n % 2 else {},
            image=picture(n) if n % 4 else None,
            thumbnail=picture(n, 50) if n % 3 else None,
        )
        for n, item_id in enumerate(ODD)
    ]


@pytest.fixture
def out(tmp_path: Path, people: list[Enrolment]) -> Path:
    """An export with pictures, of a gallery that has come back from another bitmap once."""
    folder = galleries_at(tmp_path)
    people[1] = replace(people[1], sha256="ab" * 32, converted=True)
    export(filled(folder, people), tmp_path / "out")
    return tmp_path / "out"


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": st.from_regex(r"[A-Za-z0-9_:-]{1,30}(/[A-Za-z0-9_.:-]{1,9}[0-9])?", fullmatch=True)
            | st.sampled_from(ODD),
            "modality": st.sampled_from(Modality),
            "person": TEXT,
            "camera": TEXT,
            "captured_at": st.none() | st.datetimes(timezones=st.just(UTC)),
            "attributes": st.dictionaries(TEXT, TEXT, max_size=3),
            "expires_at": st.none() | st.datetimes(datetime(2100, 1, 1), timezones=st.just(UTC)),
            "image": st.none() | st.binary(max_size=40),
            "thumbnail": st.none() | st.binary(min_size=1, max_size=40),
            "converted": st.booleans(),
            "seed": st.integers(0, 999),
        }
    ),
    max_size=8,
    unique_by=lambda one: one["item_id"],
)


def enrolment_of(drawn: dict[str, Any]) -> Enrolment:
    image = drawn["image"]
    own = hashlib.sha256(image or b"").hexdigest()
    meta = ItemMeta(drawn["person"], drawn["camera"], drawn["captured_at"], drawn["attributes"])
    vector = unit(drawn["seed"])
    vector[vector == vector.min()] = -0.0  # its bits are not those of 0.0
    return Enrolment(
        drawn["item_id"],
        drawn["modality"],
        meta,
        "ab" * 32 if drawn["converted"] else own,
        (vector / np.linalg.norm(vector)).astype(np.float32),
        image,
        drawn["thumbnail"],
        drawn["converted"],
        drawn["expires_at"],
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=ITEMS, stores_images=st.booleans(), pictures=st.booleans(), retention=st.sampled_from([0, 10**9])
)
def test_what_is_exported_comes_back(
    drawn: list[dict[str, Any]], stores_images: bool, pictures: bool, retention: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folder = galleries_at(root)
        path = filled(folder, [enrolment_of(one) for one in drawn], stores_images, retention)
        told = export(path, root / "out", pictures)
        assert (told.items, told.pictures) == (len(drawn), pictures)
        made = bring_in(root / "out", folder)
        assert (made.items, made.expired) == (len(drawn), 0)
        assert content(folder / "again" / FILE, pictures) == content(path, pictures)
        records = Records(folder / "again" / FILE)
        head = records.head
        assert (head.name, head.space_id, head.dim) == ("again", SPACE, DIM)
        assert (head.stores_images, head.retention_s) == (stores_images, retention)
        records.close()
        assert inspect(folder / "again").damage == ()
        # and once more, from there
        export(folder / "again" / FILE, root / "out-again", pictures)
        assert [one.items for one in neutral.read(root / "out-again").shards] == [
            one.items for one in told.shards
        ]


def test_anyone_reads_it_with_json_and_numpy(out: Path, people: list[Enrolment], tmp_path: Path) -> None:
    document = json.loads((out / "manifest.json").read_text(encoding="ascii"))
    body = document["export"]
    assert (document["format"], body["gallery"], body["space_id"]) == (1, "g", SPACE)
    assert (body["dim"], body["items"], body["pictures"], body["retention_s"]) == (DIM, 7, True, 0)
    assert (body["centring"], body["version"]) == (None, 5)
    assert [shard["items"] for shard in body["shards"]] == [3, 3, 1]
    files = {name: told for shard in body["shards"] for name, told in shard["files"].items()}
    assert sorted(["manifest.json", *files]) == sorted(one.name for one in out.iterdir())
    for name, told in files.items():
        data = (out / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (told["bytes"], told["sha256"])
    expected = iter(people)
    for number in ("00001", "00002", "00003"):
        # a reader that knows nothing of Unicode's lines still finds one object in each
        lines = (out / f"items-{number}.jsonl").read_text(encoding="utf-8").splitlines()
        vectors = np.load(out / f"vectors-{number}.npy", allow_pickle=False)
        assert (vectors.dtype, vectors.shape) == (np.float32, (len(lines), DIM))
        with tarfile.open(out / f"pictures-{number}.tar") as archive:
            album = {one.name: archive.extractfile(one) for one in archive}
            there = {name: file.read() for name, file in album.items() if file is not None}
        for line, vector in zip(lines, vectors, strict=True):
            item, new = json.loads(line), next(expected)
            assert item["id"] == new.item_id
            assert item["modality"] == new.modality.word
            assert (item["person"], item["camera"]) == (new.meta.person, new.meta.camera)
            assert item["attributes"] == dict(new.meta.attributes)
            assert item["sha256"] == new.sha256
            captured = item["captured_at"] and datetime.fromisoformat(item["captured_at"])
            assert captured == new.meta.captured_at
            assert abs(datetime.now(UTC) - datetime.fromisoformat(item["enrolled_at"])) < timedelta(minutes=5)
            assert item["expires_at"] is None
            assert item["key"] == str(people.index(new) + 1)
            assert vector.tobytes() == new.vector.tobytes()
            assert (item["image"] and there[item["image"]]) == new.image
            assert (item["thumbnail"] and there[item["thumbnail"]]) == new.thumbnail
    assert next(expected, None) is None


def test_without_pictures_none_are_told(tmp_path: Path, people: list[Enrolment]) -> None:
    folder = galleries_at(tmp_path)
    export(filled(folder, people), tmp_path / "out", pictures=False)
    assert not list((tmp_path / "out").glob("*.tar"))
    for line in (tmp_path / "out/items-00001.jsonl").read_text().splitlines():
        assert (json.loads(line)["image"], json.loads(line)["thumbnail"]) == (None, None)
    bring_in(tmp_path / "out", folder)
    assert not any(item.has_image for item, *_ in content(folder / "again" / FILE))
    # the same image sent again is kept, as the gallery keeps images
    gallery = Gallery(folder / "again" / FILE)
    assert gallery.enroll([people[5]]) == ["replaced"]
    assert gallery.image(people[5].item_id) == people[5].image
    gallery.close()


def test_a_picture_of_several_items_is_kept_once(tmp_path: Path, enrolment: Make) -> None:
    folder, image = galleries_at(tmp_path), picture("shared")
    path = filled(folder, [enrolment(f"i{n}", image=image, thumbnail=image) for n in range(3)])
    export(path, tmp_path / "out")
    with tarfile.open(tmp_path / "out/pictures-00001.tar") as archive:
        assert archive.getnames() == [hashlib.sha256(image).hexdigest()]
    bring_in(tmp_path / "out", folder)
    assert content(folder / "again" / FILE) == content(path)


def test_what_has_expired_goes_nowhere(
    tmp_path: Path, people: list[Enrolment], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, now = galleries_at(tmp_path), datetime.now(UTC)
    people[0] = replace(people[0], expires_at=now - timedelta(seconds=1))
    people[1] = replace(people[1], expires_at=now + timedelta(hours=1))
    path = filled(folder, people, retention_s=7200)
    assert export(path, tmp_path / "out").items == 6
    said = [json.loads(line) for line in (tmp_path / "out/items-00001.jsonl").read_text().splitlines()]
    assert datetime.fromisoformat(said[0]["expires_at"]) == people[1].expires_at
    # another store knows no retention: each item says when it goes
    assert (
        timedelta(seconds=7100)
        < datetime.fromisoformat(said[1]["expires_at"]) - now
        < timedelta(seconds=7300)
    )

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls.fromtimestamp(super().now(tz).timestamp() + 5400, tz)

    monkeypatch.setattr(importing, "datetime", Later)
    made = bring_in(tmp_path / "out", folder)
    assert (made.items, made.expired) == (5, 1)
    before = {item.item_id: item.expires_at for item, *_ in content(path)}
    # nobody stays longer than where he came from
    assert {item.item_id: item.expires_at for item, *_ in content(folder / "again" / FILE)} == {
        name: before[name] for name in before if name != people[1].item_id
    }


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


def test_what_is_there_stays(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "galleries"
    before = content(folder / "g" / FILE)
    with pytest.raises(GalleryExists, match="another name"):
        bring_in(out, folder, "g")
    with pytest.raises(GalleryExists):
        bring_in(out, folder, "")  # its own name
    with pytest.raises(InvalidRequest):
        bring_in(out, folder, "../g")
    with pytest.raises(InvalidRequest, match="no export"):
        bring_in(tmp_path, folder)
    assert content(folder / "g" / FILE) == before
    assert [one.name for one in folder.iterdir()] == ["g"]
    with pytest.raises(InvalidRequest, match="there already"):
        export(folder / "g" / FILE, out)


def test_an_export_that_breaks_off_leaves_none(
    tmp_path: Path, people: list[Enrolment], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = galleries_at(tmp_path), tmp_path / "deep" / "out"
    path = filled(folder, people)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as failing:
        failing.setattr("index.manifests.digest", full)
        with pytest.raises(StorageError) as caught:
            export(path, out)
    assert caught.value.stable_reason == "DISK_FULL"
    assert list(out.parent.iterdir()) == []
    (out.parent / f"{MAKING}out").mkdir()  # by a kill
    with pytest.raises(StorageError, match="remove that folder"):
        export(path, out)
    (out.parent / f"{MAKING}out").rmdir()
    export(path, out)
    assert [one.name for one in out.parent.iterdir()] == ["out"]
    damaged = folder / "g" / FILE
    data = bytearray(damaged.read_bytes())
    data[data.index(b"p5") + 1] ^= 1
    damaged.write_bytes(data)
    shutil.rmtree(out)
    with pytest.raises(DataLoss):
        export(path, out)
    assert list(out.parent.iterdir()) == []
