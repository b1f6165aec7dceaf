"""A gallery as files that anything reads: what is in them and what comes back."""

import hashlib
import json
import shutil
import tarfile
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index import importing, neutral
from index.disk import FILE, MAKING
from index.gallery import Gallery
from index.inspection import inspect
from index.records import Enrolment, Records
from tests.index.conftest import picture, unit
from tests.index.exported import (
    DIM,
    ODD,
    SPACE,
    Make,
    bring_in,
    content,
    export,
    exported_folder,
    filled,
    galleries_at,
    small_shards_only,
    some_people,
)
from vireid.errors import (
    DataLoss,
    GalleryExists,
    InvalidRequest,
    StorageError,
)
from vireid.types import ItemMeta, Modality

__all__ = ["exported_folder", "small_shards_only", "some_people"]  # fixtures

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
