"""The same cases through every client, over both wires, give the same answers and the same errors."""

import io
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clients.base import AsyncClient, Client
from clients.replies import Embedding, ItemRef
from vireid import errors
from vireid.errors import VireidError
from vireid.types import Filter, ItemMeta, Modality

KINDS = ("grpc", "grpc-async", "http", "http-async")
DAWN = datetime(2026, 3, 1, 5, 30, tzinfo=UTC)
PEOPLE = 12


def meta_of(number: int) -> ItemMeta:
    return ItemMeta(
        person=f"p{number % 4}",
        camera=f"c{number % 3}",
        captured_at=DAWN + timedelta(minutes=number, microseconds=number),
        attributes={"coat": "red" if number % 2 else "blue"},
    )


@pytest.fixture(scope="module")
def people(live: Any, draw: Callable[..., bytes]) -> str:
    """A gallery of twelve items that no test changes."""
    caller = live.connect("http")
    caller("create_gallery", "people")
    for number in range(PEOPLE):
        modality = Modality.INFRARED if number >= 9 else Modality.VISIBLE
        caller("put_item", "people", f"cam/{number}", draw(number), modality=modality, meta=meta_of(number))
    caller.close()
    return "people"


@pytest.fixture
def fresh(client: Any) -> Iterator[str]:
    name = f"g-{uuid.uuid4().hex[:8]}"
    client("create_gallery", name)
    yield name
    client("delete_gallery", name)


@pytest.fixture
def everyone(live: Any) -> Iterator[list[Any]]:
    callers = [live.connect(kind) for kind in KINDS]
    yield callers
    for caller in callers:
        caller.close()


def test_every_client_is_one_of_the_two(everyone: list[Any]) -> None:
    kinds = [type(caller.client).__mro__ for caller in everyone]
    assert all((Client in mro) != (AsyncClient in mro) for mro in kinds)


# ---- the same answers --------------------------------------------------------
SEARCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "top three": {"top_k": 3},
    "infrared query": {"modality": Modality.INFRARED},
    "score": {"min_score": 0.05},
    "cameras": {"where": Filter(cameras=("c0", "c2"))},
    "not a camera": {"where": Filter(exclude_cameras=("c0",))},
    "persons": {"where": Filter(persons=("p1",))},
    "modalities": {"where": Filter(modalities=(Modality.INFRARED,))},
    "not an item": {"where": Filter(exclude_items=("cam/5", "cam/6"))},
    "attributes": {"where": Filter(attributes={"coat": "red"})},
    "times": {
        "where": Filter(captured_from=DAWN + timedelta(minutes=2), captured_to=DAWN + timedelta(minutes=7))
    },
    "all at once": {
        "top_k": 2,
        "min_score": -1.0,
        "modality": Modality.VISIBLE,
        "where": Filter(cameras=("c1",), persons=("p1", "p3"), attributes={"coat": "red"}),
    },
    "re-ranked": {"rerank": 8, "top_k": 6},
    "re-ranked, with attributes": {"rerank": 4, "where": Filter(attributes={"coat": "red"})},
    "one a person": {"one_per_person": True},
    "by examples": {"more_like": ("cam/3", "cam/7"), "less_like": ("cam/2",)},
    "by examples, with attributes": {"more_like": ("cam/3",), "where": Filter(attributes={"coat": "red"})},
    "other modality first": {"other_modality_first": True, "modality": Modality.INFRARED, "top_k": 5},
    "several together": {"together": (ItemRef("cam/3"), ItemRef("cam/7"))},
    "several, weighted": {"together": (ItemRef("cam/3"),), "weights": (1.0, 3.0), "top_k": 4},
    "the best of several": {"together": (ItemRef("cam/3"), ItemRef("cam/7")), "best": True},
    "nothing passes": {"where": Filter(cameras=("nowhere",))},
}


@pytest.mark.parametrize("case", SEARCHES)
def test_search(case: str, everyone: list[Any], people: str, draw: Callable[..., bytes]) -> None:
    first, *others = [caller("search", people, draw(5), **SEARCHES[case]) for caller in everyone]
    for other in others:
        assert [hit.item for hit in other.hits] == [hit.item for hit in first.hits]
        assert [hit.rank for hit in other.hits] == list(range(1, len(first.hits) + 1))
        assert [h.score for h in other.hits] == pytest.approx([h.score for h in first.hits], abs=1e-6)
        assert other.confidence == pytest.approx(first.confidence, abs=1e-6)
        assert replace(other, hits=(), confidence=0, timing=first.timing) == replace(
            first, hits=(), confidence=0
        )


def test_the_filter_really_filters(client: Any, people: str, draw: Callable[..., bytes]) -> None:
    found = client("search", people, draw(5), where=Filter(cameras=("c2",), attributes={"coat": "red"}))
    assert {hit.item.item_id for hit in found.hits} == {"cam/5", "cam/11"}
    assert (found.items_total, found.items_searched) == (PEOPLE, 2)


def test_each_of_several_is_found(client: Any, people: str, draw: Callable[..., bytes]) -> None:
    found = client("search", people, draw(5), together=(draw(2), ItemRef("cam/9")), best=True)
    assert {hit.item.item_id for hit in found.hits[:3]} == {"cam/5", "cam/2", "cam/9"}
    mean = client("search", people, draw(5), together=(draw(2), ItemRef("cam/9")), top_k=3)
    assert mean.hits[0].score < 1 - 1e-4


def test_the_own_camera_is_left_out(everyone: list[Any], people: str) -> None:
    for caller in everyone:
        found = caller("search", people, ItemRef("cam/4"), exclude_own_camera=True, one_per_person=True)
        assert found.exact
        assert len(found.hits) == len({hit.item.meta.person for hit in found.hits}) > 1
        assert meta_of(4).camera not in {hit.item.meta.camera for hit in found.hits}


def test_the_item_itself_is_found_first(client: Any, people: str, draw: Callable[..., bytes]) -> None:
    found = client("search", people, draw(7), modality=Modality.VISIBLE, top_k=4)
    best = found.hits[0]
    assert (best.item.item_id, best.item.meta) == ("cam/7", meta_of(7))
    assert best.score == pytest.approx(1.0, abs=1e-5)
    assert len(found.hits) == 4
    assert found.timing.total_s > 0
    assert found.timing.batch_size >= 1


def test_a_file_an_item_and_an_embedding_ask_alike(
    client: Any, people: str, draw: Callable[..., bytes], tmp_path: Path
) -> None:
    file = tmp_path / "query.jpg"
    file.write_bytes(draw(3))
    embedding = client("embed", draw(3), Modality.VISIBLE)
    by_file = client("search", people, file, modality=Modality.VISIBLE)
    by_item = client("search", people, ItemRef("cam/3"))
    by_embedding = client("search", people, embedding)
    for other in (by_item, by_embedding):
        assert [hit.item for hit in other.hits] == [hit.item for hit in by_file.hits]
        assert [h.score for h in other.hits] == pytest.approx([h.score for h in by_file.hits], abs=1e-5)


def test_embed(everyone: list[Any], draw: Callable[..., bytes]) -> None:
    first, *others = [caller("embed", draw(1)) for caller in everyone]
    assert sum(value * value for value in first.values) == pytest.approx(1.0, abs=1e-5)
    for other in others:
        assert other.values == pytest.approx(first.values, abs=1e-6)
        assert (other.space_id, other.modality) == (first.space_id, first.modality)


def test_a_picture_that_contradicts_its_label_is_noted(client: Any, people: str, draw: Any) -> None:
    colourful = draw(1)
    for reply in (
        client("embed", colourful, Modality.INFRARED),
        client("search", people, colourful, modality=Modality.INFRARED),
    ):
        (warning,) = reply.warnings
        assert warning.code == "MODALITY_MISMATCH"
        assert reply.modality is Modality.INFRARED
    assert client("embed", colourful).warnings == ()


def test_galleries(client: Any) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    made = client("create_gallery", name, store_images=False)
    assert (made.name, made.items, made.stores_images, made.state) == (name, 0, False, "ready")
    assert client("get_gallery", name) == made
    assert made in client("list_galleries")
    assert client("delete_gallery", name).items == 0
    assert name not in {info.name for info in client("list_galleries")}


def test_put_tells_what_became_of_it(client: Any, fresh: str, draw: Callable[..., bytes]) -> None:
    outcomes = []
    for image, meta in ((1, meta_of(1)), (1, meta_of(1)), (2, meta_of(1)), (2, meta_of(2))):
        reply = client("put_item", fresh, "ns:a/b.c-d", draw(image), meta=meta, modality=Modality.INFRARED)
        outcomes.append(reply.outcome)
    assert outcomes == ["created", "unchanged", "replaced", "replaced"]
    stored = client("get_item", fresh, "ns:a/b.c-d")
    assert stored == reply.item
    assert (stored.meta, stored.modality, stored.has_image) == (meta_of(2), Modality.INFRARED, True)
    assert client("get_gallery", fresh).items == 1


def test_words_of_every_script_arrive(client: Any, fresh: str, draw: Callable[..., bytes]) -> None:
    meta = ItemMeta(person="Zoë 王", camera="Tür/2", attributes={"Farbe": "grün & blau = türkis"})
    client("put_item", fresh, "x", draw(1), meta=meta)
    assert client("get_item", fresh, "x").meta == meta
    page = client("list_items", fresh, where=Filter(cameras=("Tür/2",), persons=("Zoë 王",)))
    assert len(page.items) == 1
    assert client("list_items", fresh, where=Filter(attributes=meta.attributes)).items == page.items


def test_pages(client: Any, people: str) -> None:
    seen, cursor = [], ""
    while True:
        page = client("list_items", people, limit=5, cursor=cursor)
        seen += [item.item_id for item in page.items]
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(seen) == sorted(f"cam/{number}" for number in range(PEOPLE))
    few = client("list_items", people, where=Filter(persons=("p2",), attributes={"coat": "blue"}))
    assert {item.item_id for item in few.items} == {"cam/2", "cam/6", "cam/10"}


@pytest.mark.parametrize("name", ["cameras", "exclude_cameras", "persons", "exclude_items"])
def test_too_many_values_are_refused_over_either_wire(client: Any, people: str, name: str) -> None:
    fields: Any = {name: tuple(f"x{n}" for n in range(1001)), "attributes": {"coat": "red"}}
    more, most = Filter(**fields), Filter(**{**fields, name: fields[name][:1000]})
    asks: tuple[Callable[[Filter], Any], ...] = (
        lambda where: client("search", people, ItemRef("cam/3"), where=where),
        lambda where: client("delete_items", people, where=where, dry_run=True),
    )
    for ask in asks:
        ask(most)
        with pytest.raises(errors.InvalidRequest, match="1001 values; expected at most 1000"):
            ask(more)


def test_facets_count_what_passes(client: Any, people: str) -> None:
    every = client("facets", people)
    assert every.cameras == {"c0": 4, "c1": 4, "c2": 4}
    assert every.modalities == {"visible": 9, "infrared": 3}
    assert every.hours == {"05": 12}
    few = client("facets", people, where=Filter(persons=("p1", "p2"), attributes={"coat": "red"}))
    assert (few.cameras, few.modalities) == (
        {"c0": 1, "c1": 1, "c2": 1}, {"visible": 2, "infrared": 1},
    )  # fmt: skip
    none = client("facets", people, where=Filter(cameras=("nowhere",)))
    assert (none.cameras, none.modalities, none.hours) == ({}, {}, {})


def test_delete(client: Any, fresh: str, draw: Callable[..., bytes]) -> None:
    for number in range(6):
        client("put_item", fresh, f"i{number}", draw(number), meta=meta_of(number))
    rehearsal = client("delete_items", fresh, where=Filter(cameras=("c0",)), dry_run=True)
    assert (rehearsal.items, rehearsal.dry_run) == (2, True)
    assert client("get_gallery", fresh).items == 6
    assert client("delete_items", fresh, where=Filter(cameras=("c0",))).items == 2
    gone = client("delete_items", fresh, item_ids=["i1", "i2", "never"])
    assert (gone.items, gone.vectors, gone.images, gone.dry_run) == (2, 2, 2, False)
    assert {item.item_id for item in client("list_items", fresh).items} == {"i4", "i5"}


# ---- the same errors ---------------------------------------------------------
def bomb() -> bytes:
    """Make a small PNG that claims 12000 x 12000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(12000 * 3 + 1) * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gif() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "GIF")
    return out.getvalue()


def _vector(call: Any, **changes: Any) -> Embedding:
    return replace(call("embed", _picture(1)), **changes)


def _picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 32), (seed, 80, 120)).save(out, "JPEG")
    return out.getvalue()


FAILURES: dict[str, tuple[Callable[[Any], Any], type[VireidError], str]] = {
    "not an image": (lambda c: c("search", "people", b"hello"), errors.NotAnImage, "NOT_AN_IMAGE"),
    "embed not an image": (lambda c: c("embed", b"hello"), errors.NotAnImage, "NOT_AN_IMAGE"),
    "truncated": (lambda c: c("embed", _picture(1)[:-200]), errors.ImageTruncated, "IMAGE_TRUNCATED"),
    "another format": (lambda c: c("embed", gif()), errors.FormatNotAllowed, "FORMAT_NOT_ALLOWED"),
    "a bomb": (lambda c: c("embed", bomb()), errors.TooManyPixels, "TOO_MANY_PIXELS"),
    "top_k 0": (
        lambda c: c("search", "people", _picture(1), top_k=0), errors.InvalidRequest, "TOP_K_OUT_OF_RANGE",
    ),
    "top_k 100000": (
        lambda c: c("search", "people", _picture(1), top_k=100_000),
        errors.InvalidRequest, "TOP_K_OUT_OF_RANGE",
    ),
    "a probability without calibration": (
        lambda c: c("search", "people", _picture(1), min_probability=0.5),
        errors.FailedPrecondition, "NOT_CALIBRATED",
    ),
    "no probability": (
        lambda c: c("search", "people", _picture(1), min_probability=2.0),
        errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "too many candidates": (
        lambda c: c("search", "people", _picture(1), rerank=5000), errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "unknown gallery": (
        lambda c: c("search", "nobody", _picture(1)), errors.GalleryNotFound, "GALLERY_NOT_FOUND",
    ),
    "put to unknown gallery": (
        lambda c: c("put_item", "nobody", "a", _picture(1)), errors.GalleryNotFound, "GALLERY_NOT_FOUND",
    ),
    "describe unknown gallery": (
        lambda c: c("get_gallery", "nobody"), errors.GalleryNotFound, "GALLERY_NOT_FOUND",
    ),
    "delete unknown gallery": (
        lambda c: c("delete_gallery", "nobody"), errors.GalleryNotFound, "GALLERY_NOT_FOUND",
    ),
    "unknown item": (lambda c: c("get_item", "people", "nobody"), errors.ItemNotFound, "ITEM_NOT_FOUND"),
    "search by unknown item": (
        lambda c: c("search", "people", ItemRef("nobody")), errors.ItemNotFound, "ITEM_NOT_FOUND",
    ),
    "a taken name": (lambda c: c("create_gallery", "people"), errors.GalleryExists, "GALLERY_EXISTS"),
    "a bad item id": (
        lambda c: c("put_item", "people", "a b", _picture(1)), errors.InvalidRequest, "ITEM_ID_INVALID",
    ),
    "another space": (
        lambda c: c("search", "people", _vector(c, space_id="ff" * 32)),
        errors.GalleryMismatch, "SPACE_MISMATCH",
    ),
    "NaN in an embedding": (
        lambda c: c("search", "people", _vector(c, values=(float("nan"),) * 64)),
        errors.EmbeddingNotFinite, "EMBEDDING_NOT_FINITE",
    ),
    "infinity in an embedding": (
        lambda c: c("search", "people", _vector(c, values=(float("inf"),) * 64)),
        errors.EmbeddingNotFinite, "EMBEDDING_NOT_FINITE",
    ),
    "an embedding of another length": (
        lambda c: c("search", "people", _vector(c, values=(1.0, 0.0))),
        errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "delete nothing in particular": (
        lambda c: c("delete_items", "people"), errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "an endless page": (
        lambda c: c("list_items", "people", limit=100_000), errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "a made-up cursor": (
        lambda c: c("list_items", "people", cursor="x"), errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "no file": (
        lambda c: c("search", "people", Path("/nowhere/q.jpg")), errors.InvalidRequest, "INVALID_REQUEST",
    ),
    "no bytes": (lambda c: c("embed", b""), errors.InvalidRequest, "BODY_EMPTY"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_failure(case: str, client: Any, people: str) -> None:
    act, kind, reason = FAILURES[case]
    with pytest.raises(VireidError) as caught:
        act(client)
    assert (type(caught.value), caught.value.stable_reason) == (kind, reason)
    assert len(caught.value.message) > 15


def test_too_large_an_image(client: Any, people: str) -> None:
    with pytest.raises(VireidError) as caught:
        client("search", people, b"x" * (8 * 2**20 + 1))
    assert caught.value.stable_reason == "IMAGE_TOO_LARGE"
    # a message that gRPC does not even take is refused before anybody knows what it holds
    with pytest.raises((errors.BodyTooLarge, errors.ImageTooLarge)):
        client("search", people, b"x" * (17 * 2**20))


def test_nothing_is_stored_of_what_was_refused(client: Any, fresh: str) -> None:
    for data in (b"hello", gif(), bomb(), _picture(1)[:-200]):
        with pytest.raises(errors.ImageError):
            client("put_item", fresh, "a", data)
    assert client("get_gallery", fresh).items == 0
    assert client("list_items", fresh).items == ()
