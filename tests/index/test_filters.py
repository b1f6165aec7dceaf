"""Filters of a gallery against going through all items, and against the listing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.backends import APPROXIMATE, BACKENDS, NEEDS_GPU
from index.gallery import Enrolment, Gallery
from index.store import GalleryStore
from vireid.arrays import Float32Array
from vireid.errors import InvalidRequest
from vireid.types import Filter, Item, ItemMeta, Modality

START = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
CAMERAS = ("", "1", "2", "gate", "Zürich")
PERSONS = ("", "7", "ann", "bob")
COUNT = 240
DIM = 24
EXACT = sorted(BACKENDS.keys() - APPROXIMATE - NEEDS_GPU)


@dataclass
class World:
    gallery: Gallery
    items: list[Item]
    vectors: Float32Array
    queries: Float32Array


@pytest.fixture(scope="module", params=[*EXACT, pytest.param("faiss-gpu", marks=pytest.mark.gpu)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    random = np.random.default_rng(11)
    vectors = random.standard_normal((COUNT + 20, DIM)).astype(np.float32)
    vectors[1::5] = vectors[0]  # many ties
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    root: Path = tmp_path_factory.mktemp("filters")
    store = GalleryStore(root, "0" * 64, DIM, request.param)
    gallery = store.create("g")
    batch = [
        Enrolment(
            f"item/{n}",
            Modality(int(random.integers(2))),
            ItemMeta(
                person=PERSONS[random.integers(len(PERSONS))],
                camera=CAMERAS[random.integers(len(CAMERAS))],
                captured_at=None
                if random.random() < 0.2
                else START + timedelta(seconds=int(random.integers(50))),
                attributes={key: str(random.integers(2)) for key in "ab" if random.random() < 0.6},
            ),
            "f" * 64,
            vectors[n],
        )
        for n in range(COUNT + 20)
    ]
    gallery.enroll(batch)
    gallery.remove(ids=[f"item/{n}" for n in range(0, COUNT + 20, 13)])
    store.close()
    store = GalleryStore(root, "0" * 64, DIM, request.param)  # half of the columns' life is after a start
    gallery = store.get("g")
    gallery.enroll(batch[:4])
    items = listing(gallery)
    rows = np.stack([vectors[int(item.item_id.split("/")[1])] for item in items])
    yield World(gallery, items, rows, vectors[:3])
    store.close()


def listing(gallery: Gallery) -> list[Item]:
    items, cursor = gallery.items(limit=100)
    while cursor:
        page, cursor = gallery.items(limit=100, cursor=cursor)
        items += page
    return items


def passes(item: Item, where: Filter) -> bool:
    meta, when = item.meta, item.meta.captured_at
    return not (
        (where.cameras and meta.camera not in where.cameras)
        or meta.camera in where.exclude_cameras
        or (where.persons and meta.person not in where.persons)
        or (where.modalities and item.modality not in where.modalities)
        or (where.captured_from is not None and (when is None or when < where.captured_from))
        or (where.captured_to is not None and (when is None or when >= where.captured_to))
        or item.item_id in where.exclude_items
        or any(meta.attributes.get(key) != value for key, value in where.attributes.items())
    )


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from((*values, "unknown")), max_size=3).map(tuple)


moments = st.none() | st.builds(
    lambda second, zone: (START + timedelta(seconds=second)).astimezone(timezone(timedelta(hours=zone))),
    st.integers(-2, 52),
    st.integers(-12, 12),
)
filters = st.builds(
    Filter,
    cameras=some(CAMERAS),
    exclude_cameras=some(CAMERAS),
    captured_from=moments,
    captured_to=moments,
    modalities=st.lists(st.sampled_from(Modality), max_size=2, unique=True).map(tuple),
    persons=some(PERSONS),
    exclude_items=st.lists(st.integers(0, 30), max_size=9).map(lambda ns: tuple(f"item/{n}" for n in ns)),
    attributes=st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.sampled_from(["0", "1", "2"]), max_size=2
    ),
)
# most random conjunctions let nobody pass: half of the filters keep one field only
narrow = st.builds(
    lambda where, name: Filter(**{name: getattr(where, name)}),
    filters,
    st.sampled_from(list(Filter.__slots__)),
)


@settings(max_examples=400, deadline=None)
@given(where=filters | narrow, k=st.integers(1, 300), lowest=st.none() | st.floats(-1, 1))
def test_search_is_a_filtered_sort(world: World, where: Filter, k: int, lowest: float | None) -> None:
    kept = [at for at, item in enumerate(world.items) if passes(item, where)]
    for found, query in zip(
        world.gallery.search(world.queries, k, where, lowest), world.queries, strict=True
    ):
        assert (found.items_total, found.items_searched) == (len(world.items), len(kept))
        scores = (
            (world.vectors[kept].astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        )
        order = np.argsort(-scores, kind="stable")[:k]  # the listing is in the order of ids
        expected = [(world.items[kept[at]].item_id, float(scores[at])) for at in order]
        if lowest is not None:
            expected = [(item_id, score) for item_id, score in expected if score >= np.float32(lowest)]
        assert [(hit.item.item_id, hit.score) for hit in found.hits] == expected
        assert [hit.rank for hit in found.hits] == list(range(1, len(expected) + 1))
        assert all(passes(hit.item, where) for hit in found.hits)


@settings(max_examples=150, deadline=None)
@given(where=filters | narrow, limit=st.integers(1, 300))
def test_listing_goes_through_what_passes(world: World, where: Filter, limit: int) -> None:
    listed, cursor = [], ""
    while True:
        page, cursor = world.gallery.items(where, limit, cursor)
        listed += page
        assert len(page) == limit or not cursor
        if not cursor:
            break
    assert listed == [item for item in world.items if passes(item, where)]


@settings(max_examples=100, deadline=None)
@given(where=filters | narrow)
def test_a_dry_run_counts_what_passes(world: World, where: Filter) -> None:
    if where.is_empty:
        with pytest.raises(InvalidRequest, match="empty filter"):
            world.gallery.remove(filter=where, dry_run=True)
    else:
        receipt = world.gallery.remove(filter=where, dry_run=True)
        assert receipt.items == sum(passes(item, where) for item in world.items)
        assert world.gallery.info().items == len(world.items)


@pytest.mark.parametrize("name", ["captured_from", "captured_to"])
def test_a_time_without_a_zone_is_refused(world: World, name: str) -> None:
    where = Filter(**{name: datetime(2026, 3, 1)})  # type: ignore[arg-type]
    for ask in (
        lambda: world.gallery.search(world.queries, 1, where),
        lambda: world.gallery.items(where),
        lambda: world.gallery.remove(filter=where),
    ):
        with pytest.raises(InvalidRequest, match="timezone") as caught:
            ask()
        assert caught.value.field == f"filter.{name}"
