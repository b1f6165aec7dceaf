import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index import sources
from index.build import AT_ONCE, Embedder, build, read_file
from index.gallery import Gallery
from index.store import GalleryStore
from vireid.engines.fake import FakeEngine
from vireid.errors import EngineError
from vireid.image_folder import Entry
from vireid.images.decode import Limits
from vireid.images.preprocess import Preprocess
from vireid.types import ItemMeta, Modality


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def gallery(tmp_path: Path, engine: FakeEngine) -> Iterator[Gallery]:
    store = GalleryStore(tmp_path / "data", engine.space_id, engine.dim)
    yield store.create("people")
    store.close()


@pytest.fixture
def embedder(engine: FakeEngine) -> Embedder:
    return Embedder(engine, Preprocess(*engine.input_size))


@pytest.fixture
def people(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for person in range(4):
        for modality in Modality:
            for camera in range(9):
                pattern = np.random.default_rng(person).integers(0, 255, (8, 4, 1))
                noise = np.random.default_rng([person, camera, modality]).integers(-20, 20, (8, 4, 3))
                pixels = np.clip(pattern + noise, 0, 255).astype(np.uint8)
                folder = root / modality.word / f"p{person}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).resize((60, 130)).save(folder / f"{camera}_0.jpg")
    return root


def test_every_image_is_enrolled_as_it_is(gallery: Gallery, embedder: Embedder, people: Path) -> None:
    steps: list[int] = []
    report = build(gallery, sources.read(people), embedder, steps.append)
    assert (report.outcomes, report.failures, sum(steps)) == ({"created": 72}, [], 72)
    assert AT_ONCE < 72
    place = people / "infrared/p2/5_0.jpg"
    item = gallery.item("infrared/p2/5_0.jpg")
    assert (item.modality, item.meta) == (Modality.INFRARED, ItemMeta("p2", "5"))
    assert item.sha256 == hashlib.sha256(place.read_bytes()).hexdigest()
    assert gallery.image(item.item_id) == place.read_bytes()
    with Image.open(io.BytesIO(gallery.thumbnail(item.item_id))) as small:
        assert small.size == (60, 130)
    alone = embedder.embed(
        [embedder.picture(Entry(place, "q", Modality.INFRARED, ItemMeta()), place.read_bytes())]
    )
    np.testing.assert_array_equal(gallery.vector(item.item_id), alone[0])
    hits = gallery.search(alone, 18)[0].hits
    assert {hit.item.meta.person for hit in hits} == {"p2"}


def test_again_embeds_nothing(
    gallery: Gallery, embedder: Embedder, engine: FakeEngine, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sources.read(people)
    build(gallery, found[:40], embedder, lambda _: None)
    version = gallery.info().version
    assert build(gallery, found, embedder, lambda _: None).outcomes == {"unchanged": 40, "created": 32}
    monkeypatch.setattr(engine, "embed", lambda *_: pytest.fail("embedded again"))
    assert build(gallery, found, embedder, lambda _: None).outcomes == {"unchanged": 72}
    assert gallery.info().version == version + 1


def test_bad_images_are_named_and_spoil_nothing(gallery: Gallery, embedder: Embedder, people: Path) -> None:
    good = people / "visible/p0/0_0.jpg"
    (people / "visible/p0/1_0.jpg").write_bytes(b"no image")
    (people / "visible/p0/2_0.jpg").write_bytes(good.read_bytes()[:500])
    (people / "visible/p0/3_0.jpg").write_bytes(b"")
    found = sources.read(people)
    (people / "visible/p0/4_0.jpg").unlink()
    steps: list[int] = []
    report = build(gallery, found, embedder, steps.append)
    assert (report.outcomes, sum(steps)) == ({"created": 68}, 72)
    assert sorted(Path(path).name for path, _ in report.failures) == [f"{n}_0.jpg" for n in (1, 2, 3, 4)]
    assert sum("[NOT_AN_IMAGE]" in why for _, why in report.failures) >= 1
    assert gallery.info().items == 68


def test_the_picture_tells_its_modality(gallery: Gallery, embedder: Embedder, tmp_path: Path) -> None:
    grey, colour = tmp_path / "grey.png", tmp_path / "colour.png"
    noise = np.random.default_rng(1).integers(0, 255, (40, 20, 3), dtype=np.uint8)
    Image.fromarray(noise[:, :, 0]).save(grey)
    Image.fromarray(noise).save(colour)
    build(gallery, sources.read(tmp_path), embedder, lambda _: None)
    assert gallery.item("grey.png").modality is Modality.INFRARED
    assert gallery.item("colour.png").modality is Modality.VISIBLE


def test_what_no_gallery_takes_is_named_and_spoils_nothing(
    gallery: Gallery, embedder: Embedder, people: Path
) -> None:
    found = list(sources.read(people))
    found[1] = replace(found[1], meta=ItemMeta(person="x" * 201))
    found[2] = replace(found[2], item_id="x/image")
    found[3] = replace(found[3], item_id="a/../b")
    steps: list[int] = []
    report = build(gallery, found, embedder, steps.append)
    assert (report.outcomes, sum(steps)) == ({"created": 69}, 72)
    assert [path for path, _ in report.failures] == [str(one.path) for one in found[1:4]]
    assert [why.rpartition("[")[2] for _, why in report.failures] == [
        "INVALID_REQUEST]",
        "ITEM_ID_INVALID]",
        "ITEM_ID_INVALID]",
    ]
    assert gallery.info().items == 69


def test_the_bitmaps_of_a_dataset_are_kept_as_png(
    gallery: Gallery, embedder: Embedder, tmp_path: Path
) -> None:
    """As RegDB holds them: grey thermal bitmaps beside colour ones."""
    root = tmp_path / "regdb"
    known = {}
    for person in (1, 2):
        for folder, letter in (("Visible", "v"), ("Thermal", "t")):
            for frame in (1, 2):
                place = root / folder / str(person) / f"male_front_{letter}_{frame}_{person}.bmp"
                place.parent.mkdir(parents=True, exist_ok=True)
                shape = (40, 20, 3) if letter == "v" else (40, 20)
                drawn = np.random.default_rng([person, frame]).integers(0, 255, shape, dtype=np.uint8)
                Image.fromarray(drawn).save(place)
                known[place.relative_to(root).as_posix()] = (
                    drawn if letter == "v" else np.stack([drawn] * 3, 2)
                )
    for letter, folder in (("visible", "Visible"), ("thermal", "Thermal")):
        for half, person in (("train", 1), ("test", 2)):
            listing = root / "idx" / f"{half}_{letter}_1.txt"
            listing.parent.mkdir(exist_ok=True)
            letters = folder[0].lower()
            listing.write_text(
                "".join(f"{folder}/{person}/male_front_{letters}_{n}_{person}.bmp 0\n" for n in (1, 2))
            )
    found = (*sources.read(root), *sources.read(root, "train"))
    report = build(gallery, found, embedder, lambda _: None)
    assert (report.outcomes, report.failures) == ({"created": 8}, [])
    assert build(gallery, found, embedder, lambda _: None).outcomes == {"unchanged": 8}
    for item_id, drawn in known.items():
        item = gallery.item(item_id)
        assert item.sha256 == hashlib.sha256((root / item_id).read_bytes()).hexdigest()
        with Image.open(io.BytesIO(gallery.image(item_id))) as kept:
            assert kept.format == "PNG"
            np.testing.assert_array_equal(np.asarray(kept), drawn)


def test_a_broken_bitmap_is_named(gallery: Gallery, embedder: Embedder, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 60)).save(file, "BMP")
    entries = []
    for name, data in (("none.bmp", b"text"), ("short.bmp", file.getvalue()[:300])):
        (tmp_path / name).write_bytes(data)
        entries.append(Entry(tmp_path / name, name, Modality.INFRARED, ItemMeta()))
    report = build(gallery, entries, embedder, lambda _: None)
    assert [Path(path).name for path, _ in report.failures] == ["none.bmp", "short.bmp"]
    assert "[NOT_AN_IMAGE]" in report.failures[0][1]
    assert "[IMAGE_TRUNCATED]" in report.failures[1][1]


def test_no_more_of_a_file_is_read_than_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(64 * 2**20)
    assert len(read_file(Entry(huge, "huge.jpg", None, ItemMeta()))) == Limits().max_bytes + 1


def test_a_failing_engine_keeps_what_was_enrolled(
    gallery: Gallery, embedder: Embedder, engine: FakeEngine, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed: Callable[..., np.ndarray] = engine.embed
    calls: list[int] = []

    def fails_second(*arguments: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 2:
            raise EngineError("the device is gone")
        return embed(*arguments)

    monkeypatch.setattr(engine, "embed", fails_second)
    with pytest.raises(EngineError):
        build(gallery, sources.read(people), embedder, lambda _: None)
    assert gallery.info().items == AT_ONCE
