import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from index import limits
from index.columns import COLUMNS, FIRST_CAPACITY, Columns
from index.gallery import Gallery
from index.records import Enrolment
from index.rows import tabled
from index.store import GalleryStore
from vireid.arrays import Float32Array
from vireid.errors import (
    EmbeddingNotFinite,
    GalleryNotFound,
    ImageNotStored,
    InvalidRequest,
)
from vireid.types import Filter, ItemMeta, Modality

Make = Callable[..., Enrolment]
Vector = Callable[..., Float32Array]
NIGHT = datetime(2026, 3, 1, 23, 30, 0, 123457, tzinfo=UTC)


def ids(gallery: Gallery) -> list[str]:
    return [item.item_id for item in gallery.items()[0]]


def test_what_is_enrolled_is_found_and_described(gallery: Gallery, enrolment: Make) -> None:
    new = enrolment(
        "Aa0._:/-",
        modality=Modality.INFRARED,
        person="änn",
        camera="gate 3",
        captured_at=NIGHT.astimezone(timezone(timedelta(hours=-7))),
        attributes={"hat": "yes", "": "ütf"},
    )
    before = datetime.now(UTC)
    assert gallery.enroll([new, enrolment("other")]) == ["created", "created"]
    found = gallery.search(new.vector[None], 1)[0]
    assert [hit.item.item_id for hit in found.hits] == ["Aa0._:/-"]
    assert found.hits[0].score == pytest.approx(1, abs=1e-6)
    assert (found.items_total, found.items_searched, found.version) == (2, 2, 1)
    item = gallery.item("Aa0._:/-")
    assert (item.modality, item.sha256, item.has_image) == (Modality.INFRARED, new.sha256, True)
    assert item.meta == ItemMeta("änn", "gate 3", NIGHT, {"hat": "yes", "": "ütf"})
    assert before <= item.enrolled_at <= datetime.now(UTC)
    np.testing.assert_array_equal(gallery.vector("Aa0._:/-"), new.vector)
    assert gallery.image("Aa0._:/-") == new.image
    assert gallery.thumbnail("Aa0._:/-") == new.thumbnail


def test_the_same_again_changes_nothing(gallery: Gallery, enrolment: Make) -> None:
    new = enrolment("a", captured_at=NIGHT, attributes={"x": "1"})
    gallery.enroll([new])
    version = gallery.info().version
    assert gallery.enroll([new]) == ["unchanged"]
    assert gallery.holds("a", new.sha256, None, new.meta)
    assert gallery.holds("a", new.sha256, Modality.VISIBLE, new.meta)
    assert gallery.info().version == version


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "b"},
        {"modality": Modality.INFRARED},
        {"person": "p"},
        {"camera": "c"},
        {"captured_at": NIGHT + timedelta(microseconds=1)},
        {"attributes": {"x": "2"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_difference_replaces(gallery: Gallery, enrolment: Make, change: dict[str, Any]) -> None:
    said: dict[str, Any] = {"seed": "a", "captured_at": NIGHT, "attributes": {"x": "1"}}
    gallery.enroll([enrolment("a", **said), enrolment("z")])
    new = enrolment("a", **{**said, **change})
    assert not gallery.holds("a", new.sha256, new.modality, new.meta)
    assert gallery.enroll([new]) == ["replaced"]
    assert gallery.info().items == 2
    assert gallery.item("a").meta == new.meta
    assert gallery.image("a") == new.image
    assert [hit.item.item_id for hit in gallery.search(new.vector[None], 9)[0].hits].count("a") == 1
    assert ids(gallery) == ["z", "a"]  # our ids are never used again: the new one is the last


def test_an_id_twice_in_a_batch_keeps_the_last(gallery: Gallery, enrolment: Make) -> None:
    gallery.enroll([enrolment("a", seed=0)])
    batch = [enrolment("a", seed=0), enrolment("a", seed=1), enrolment("b", seed=2), enrolment("b", seed=3)]
    assert gallery.enroll(batch) == ["unchanged", "replaced", "created", "replaced"]
    assert gallery.info().items == 2
    assert gallery.image("a") == batch[1].image
    assert gallery.image("b") == batch[3].image


def test_items_are_told_as_they_were_stored(gallery: Gallery, enrolment: Make) -> None:
    gallery.enroll([enrolment("a", person="old"), enrolment("same")])
    same = gallery.item("same")
    told = gallery.enrolled([enrolment("a", person="new"), enrolment("same"), enrolment("b", image=None)])
    assert [outcome for outcome, _ in told] == ["replaced", "unchanged", "created"]
    assert [item for _, item in told] == [gallery.item("a"), same, gallery.item("b")]
    assert (told[0][1].meta.person, told[2][1].has_image) == ("new", False)


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"item_id": ""}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "a b"}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "a\n"}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "ä"}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "x" * 201}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "x/image"}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "x/thumbnail"}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "a/../b"}, "item_id", "ITEM_ID_INVALID"),
        ({"item_id": "."}, "item_id", "ITEM_ID_INVALID"),
        ({"vector": np.full(16, np.nan, np.float32)}, "embedding", "EMBEDDING_NOT_FINITE"),
        ({"vector": np.full(16, np.inf, np.float32)}, "embedding", "EMBEDDING_NOT_FINITE"),
        ({"vector": np.zeros(16, np.float32)}, "embedding", "EMBEDDING_NOT_UNIT"),
        ({"vector": np.full(16, 0.3, np.float32)}, "embedding", "EMBEDDING_NOT_UNIT"),
        ({"vector": np.ones(1, np.float32)}, "embedding", "INVALID_REQUEST"),
        ({"vector": np.full(16, 0.25, np.float64)}, "embedding", "INVALID_REQUEST"),
        ({"vector": np.full((1, 16), 0.25, np.float32)}, "embedding", "INVALID_REQUEST"),
        ({"sha256": "F" * 64}, "sha256", "INVALID_REQUEST"),
        ({"sha256": "0" * 64}, "sha256", "INVALID_REQUEST"),
        ({"captured_at": datetime(2026, 1, 1)}, "captured_at", "INVALID_REQUEST"),
        ({"person": "x" * 201}, "person", "INVALID_REQUEST"),
        ({"camera": "\ud800"}, "camera", "INVALID_REQUEST"),
        ({"attributes": {"k": "v" * 1001}}, "attributes", "INVALID_REQUEST"),
        ({"attributes": {str(n): "" for n in range(65)}}, "attributes", "INVALID_REQUEST"),
    ],
    ids=str,
)
def test_what_is_malformed_stores_nothing(
    gallery: Gallery, enrolment: Make, wrong: dict[str, Any], field: str, reason: str
) -> None:
    batch = [enrolment("good"), enrolment(**{"item_id": "bad", **wrong}), enrolment("also-good")]
    with pytest.raises(InvalidRequest) as caught:
        gallery.enroll(batch)
    assert (caught.value.field, caught.value.stable_reason) == (field, reason)
    assert isinstance(caught.value, EmbeddingNotFinite) == (reason == "EMBEDDING_NOT_FINITE")
    assert (gallery.info().items, gallery.info().version, ids(gallery)) == (0, 0, [])


@pytest.mark.parametrize("k", [0, -1, 1001, 100_000])
def test_top_k_out_of_range(gallery: Gallery, vector: Vector, k: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gallery.search(vector(1)[None], k)
    assert (caught.value.field, caught.value.stable_reason) == ("top_k", "TOP_K_OUT_OF_RANGE")
    assert caught.value.metadata == {"limit": "1000"}


def test_malformed_queries(gallery: Gallery, vector: Vector) -> None:
    nan = vector(1)
    nan[3] = np.nan
    with pytest.raises(EmbeddingNotFinite):
        gallery.search(nan[None], 1)
    for wrong in (vector(1), vector(1, dim=8)[None], 2 * vector(1)[None], vector(1)[None].astype(np.float64)):
        with pytest.raises(InvalidRequest) as caught:
            gallery.search(wrong, 1)
        assert caught.value.field == "embedding"
    with pytest.raises(InvalidRequest) as caught:
        gallery.search(vector(1)[None], 1, min_score=float("nan"))
    assert caught.value.field == "min_score"


def test_search_of_an_empty_gallery(gallery: Gallery, vector: Vector) -> None:
    found = gallery.search(np.stack([vector(1), vector(2)]), 10)
    assert [(one.hits, one.items_total, one.items_searched) for one in found] == [((), 0, 0)] * 2
    assert gallery.search(np.empty((0, 16), np.float32), 10) == []


def test_k_beyond_the_items_gives_them_all(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    gallery.enroll([enrolment(f"i{n}") for n in range(7)])
    hits = gallery.search(vector("i3")[None], 1000)[0].hits
    assert len(hits) == 7
    assert hits[0].item.item_id == "i3"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_min_score_keeps_what_equals_it(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    gallery.enroll([enrolment(f"i{n}") for n in range(7)])
    hits = gallery.search(vector("i3")[None], 10)[0].hits
    kept = gallery.search(vector("i3")[None], 10, min_score=hits[3].score)[0]
    assert kept.hits == hits[:4]
    assert kept.items_searched == 7


@pytest.mark.parametrize(
    ("limit", "cursor"), [(0, ""), (1001, ""), (1, "x"), (1, "-1"), (1, "٣"), (1, "9" * 19)]
)
def test_malformed_pages(gallery: Gallery, limit: int, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gallery.items(limit=limit, cursor=cursor)
    assert caught.value.field == ("cursor" if cursor else "limit")


def test_paging_survives_removal(gallery: Gallery, enrolment: Make) -> None:
    gallery.enroll([enrolment(f"i{n}") for n in range(9)])
    first, cursor = gallery.items(limit=3)
    gallery.remove(ids=["i1", "i2", "i4"])
    rest, end = gallery.items(limit=100, cursor=cursor)
    assert [item.item_id for item in (*first, *rest)] == ["i0", "i1", "i2", "i3", "i5", "i6", "i7", "i8"]
    assert end == ""


def test_a_gallery_that_keeps_no_images(store: GalleryStore, enrolment: Make) -> None:
    gallery = store.create("bare", store_images=False)
    new = enrolment("a")
    gallery.enroll([new])
    assert not gallery.item("a").has_image
    assert gallery.thumbnail("a") == new.thumbnail
    with pytest.raises(ImageNotStored):
        gallery.image("a")
    assert gallery.holds("a", new.sha256, new.modality, new.meta)


def test_an_item_without_a_thumbnail(gallery: Gallery, enrolment: Make) -> None:
    gallery.enroll([enrolment("a", thumbnail=None)])
    with pytest.raises(ImageNotStored):
        gallery.thumbnail("a")


def test_metadata_cannot_be_changed_from_outside(gallery: Gallery, enrolment: Make) -> None:
    attributes = {"hat": "yes"}
    new = enrolment("a", attributes=attributes)
    row = new.vector.copy()
    gallery.enroll([new])
    attributes["hat"] = "no"
    new.vector[:] = 0
    assert len(gallery.search(row[None], 1)[0].hits) == 1
    assert gallery.item("a").meta.attributes == {"hat": "yes"}
    np.testing.assert_array_equal(gallery.vector("a"), row)


def test_what_is_settled_is_nobody_elses(enrolment: Make) -> None:
    """The vector is copied when it comes, not when the index takes it."""
    attributes = {"hat": "yes"}
    new = enrolment("a", attributes=attributes)
    row = new.vector.copy()
    (settled,), rows = limits.settle([new], 16, stores_images=True)
    attributes["hat"] = "no"
    new.vector[:] = 0
    np.testing.assert_array_equal(rows, row[None])
    assert settled.meta.attributes == {"hat": "yes"}


def test_rows_stay_few_however_often_items_are_replaced() -> None:
    columns, alive = Columns(), 600
    new = Enrolment("", Modality.VISIBLE, ItemMeta(attributes={"n": "1"}), "0" * 64, np.zeros(2, np.float32))
    for key in range(alive + 5000):
        if key >= alive:
            columns.drop([key - alive])
        columns.extend(tabled([replace(new, item_id=f"i{key % alive}")], key, 0))
    assert len(columns) == alive
    assert columns.passing(Filter(attributes={"n": "1"})).tolist() == list(range(5000, 5000 + alive))
    rows = {name: len(getattr(columns, name)) for name in (*COLUMNS, "_ids")}
    assert max(rows.values()) <= 4 * FIRST_CAPACITY, rows
    assert len(columns._having["n", "1"]) <= 4 * FIRST_CAPACITY


def test_facets(gallery: Gallery, enrolment: Make) -> None:
    assert gallery.facets() == {"cameras": {}, "modalities": {}, "hours": {}}
    times = [
        None,
        datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1969, 7, 20, 0, 0, tzinfo=timezone(timedelta(hours=-2))),  # two in the morning of UTC
    ]
    gallery.enroll(
        [
            enrolment(
                f"i{n}",
                camera=["", "b", "a"][n % 3],
                modality=Modality(n % 2),
                captured_at=times[n % 3],
            )
            for n in range(9)
        ]
    )
    gallery.remove(ids=["i1"])
    assert gallery.facets() == {
        "cameras": {"a": 3, "b": 2},
        "modalities": {"infrared": 3, "visible": 5},
        "hours": {"02": 3, "23": 2},
    }


def test_labelled(gallery: Gallery, enrolment: Make) -> None:
    assert gallery.labelled().vectors.shape == (0, 16)
    batch = [
        enrolment(f"i{n}", person=["", "ann", "bob"][n % 3], camera=str(n), modality=Modality(n % 2))
        for n in range(6)
    ]
    gallery.enroll(batch)
    found = gallery.labelled()
    assert found.item_ids == ("i1", "i2", "i4", "i5")
    assert found.persons == ("ann", "bob", "ann", "bob")
    assert found.cameras == ("1", "2", "4", "5")
    assert found.modalities.tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(found.vectors, np.stack([batch[n].vector for n in (1, 2, 4, 5)]))


def test_all_is_the_same_after_a_start(
    gallery: Gallery, enrolment: Make, vector: Vector, reopen: Callable[[], GalleryStore]
) -> None:
    gallery.enroll(
        [
            enrolment(
                f"i{n}",
                person=str(n % 5),
                captured_at=NIGHT if n % 2 else None,
                attributes={"n": str(n)} if n % 3 else {},
            )
            for n in range(60)
        ]
    )
    gallery.remove(ids=["i3", "i59"])
    gallery.enroll([enrolment("i7", seed="other")])
    queries = np.stack([vector(f"i{n}") for n in range(20)])
    where = Filter(captured_from=NIGHT, persons=("1", "2"))

    def everything(one: Gallery) -> tuple[object, ...]:
        labelled = one.labelled()
        return (
            one.info(),
            one.items(),
            one.search(queries, 30),
            one.search(queries, 30, where),
            one.facets(),
            (labelled.item_ids, labelled.persons, labelled.vectors.tobytes()),
            [(one.image(item.item_id), one.thumbnail(item.item_id)) for item in one.items()[0]],
        )

    before = everything(gallery)
    opened = reopen().get("people")
    assert everything(opened) == before
    assert opened.enroll([enrolment("new")]) == ["created"]
    assert ids(opened)[-1] == "new"  # its id is larger than every one before, i59's too


def test_many_items_close_up_and_stay_right(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    """So many come and go that the columns are rebuilt."""
    for start in range(0, 2400, 600):
        gallery.enroll(
            [
                enrolment(f"i{n}", image=None, thumbnail=None, camera=str(n % 4))
                for n in range(start, start + 600)
            ]
        )
    gallery.remove(filter=Filter(cameras=("0", "1", "2")))
    assert gallery.info().items == 600
    gallery.enroll([enrolment("i0", image=None, thumbnail=None, attributes={"new": "1"})])
    hits = gallery.search(vector("i1203")[None], 3, Filter(cameras=("3",)))[0].hits
    assert hits[0].item.item_id == "i1203"
    assert [item.item_id for item in gallery.items(Filter(attributes={"new": "1"}))[0]] == ["i0"]
    assert gallery.facets()["cameras"] == {"3": 600}


def test_a_closed_gallery_holds_no_vectors(gallery: Gallery, enrolment: Make) -> None:
    """Its memory is there for the next at once, and does not wait for the garbage collector."""
    gallery.enroll([enrolment("a")])
    held = weakref.ref(gallery._holdings._backend)
    gc.disable()
    try:
        gallery.close()
        assert held() is None
    finally:
        gc.enable()


def test_a_closed_gallery_answers_nothing(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    gallery.enroll([enrolment("a")])
    receipt = gallery.close()
    assert (receipt.items, receipt.images) == (1, 1)
    for ask in (
        lambda: gallery.search(vector("a")[None], 1),
        lambda: gallery.enroll([enrolment("b")]),
        lambda: gallery.remove(ids=["a"]),
        lambda: gallery.image("a"),
        gallery.items,
        gallery.info,
    ):
        with pytest.raises(GalleryNotFound, match="closed or deleted"):
            ask()
