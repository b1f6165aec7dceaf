"""What two sets of items differ in: exactly what was changed at random, and without holding their embeddings."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.comparing import FIELDS, compare
from index.neutral import Entry
from tests.index.conftest import unit
from vireid.types import Item, ItemMeta, Modality

THEN = datetime(2026, 11, 21, tzinfo=UTC)
IDS = [f"i{n}" for n in range(12)] + ["-5", "9223372036854775807", "a/b:c"]


def entry(item_id: str, take: int = 0) -> Entry:
    meta = ItemMeta("p", "c", THEN, {"a": "b"})
    return Entry(1, Item(item_id, Modality.VISIBLE, meta, "ab" * 32, True, THEN), unit((item_id, take)))


def changed(one: Entry, field: str) -> Entry:
    item, meta = one.item, one.item.meta
    if field == "embedding":
        vector = one.vector.copy()
        vector[3] = np.nextafter(vector[3], np.float32(1))  # by one bit
        return replace(one, vector=vector)
    later: dict[str, Any] = {
        "modality": Modality.INFRARED,
        "sha256": "cd" * 32,
        "expires_at": THEN + timedelta(microseconds=1),
    }
    if field in later:
        return replace(one, item=replace(item, **{field: later[field]}))
    within: dict[str, Any] = {
        "person": "p ",
        "camera": "",
        "captured_at": None,
        "attributes": {"a": "b", "b": ""},
    }
    return replace(one, item=replace(item, meta=replace(meta, **{field: within[field]})))


def own(one: Entry) -> Entry:
    """What is each gallery's own is no difference."""
    item = replace(one.item, enrolled_at=THEN + timedelta(days=3), has_image=False)
    return replace(one, key=one.key + 40, item=item, image=b"x")


FATES = st.sampled_from(["same", "missing", "extra", "twice first", "twice second", "nowhere"]) | st.sets(
    st.sampled_from(FIELDS), min_size=1
).map(tuple)


@settings(max_examples=100, deadline=None)
@given(
    fates=st.fixed_dictionaries(dict.fromkeys(IDS, FATES)),
    draw=st.randoms(use_true_random=False),
    embeddings=st.booleans(),
)
def test_it_finds_exactly_what_was_changed(fates: dict[str, Any], draw: Any, embeddings: bool) -> None:
    first, second = [], []
    for item_id, fate in fates.items():
        if fate not in ("extra", "nowhere"):
            first += [entry(item_id)] * (2 if fate == "twice first" else 1)
        if fate not in ("missing", "nowhere"):
            other = own(entry(item_id))
            for field in fate if isinstance(fate, tuple) else ():
                other = changed(other, field)
            second += [other] * (draw.randint(2, 3) if fate == "twice second" else 1)
    draw.shuffle(first)
    draw.shuffle(second)
    found = compare(iter(first), iter(second), embeddings)
    expected = {
        item_id: tuple(field for field in FIELDS if field in fate and (embeddings or field != "embedding"))
        for item_id, fate in fates.items()
        if isinstance(fate, tuple)
    }
    expected = {item_id: names for item_id, names in expected.items() if names}

    def of(*words: str) -> list[str]:
        return sorted(item_id for item_id, fate in fates.items() if fate in words)

    assert sorted(found.missing) == of("missing")
    assert sorted(found.extra) == of("extra")
    assert found.differing == expected
    assert sorted(found.duplicates) == of("twice first", "twice second")
    there = sum(fate not in ("missing", "extra", "nowhere") for fate in fates.values())
    assert found.same == there - len(expected)
    alike = not expected and not of("missing", "extra", "twice first", "twice second")
    assert bool(found) != alike


def test_an_extra_that_comes_twice_is_both() -> None:
    found = compare([], [entry("a"), entry("a", 1), entry("b")])
    assert (found.extra, found.duplicates, found.same) == (["a", "b"], ["a"], 0)


def test_the_first_of_what_is_there_twice_counts() -> None:
    twice = [entry("a"), changed(entry("a"), "person")]
    assert compare(twice, [entry("a")]).same == 1
    assert compare([entry("a")], twice).same == 1
    assert compare([entry("a")], twice[::-1]).differing == {"a": ("person",)}


@pytest.mark.parametrize("other", [0, 1])
def test_embeddings_go_by(other: int) -> None:
    many, dim = 2000, 4096

    def drawn(take: int) -> Iterator[Entry]:
        one = entry("x")
        for n in range(many):
            vector = np.full(dim, n + take, np.float32)
            yield replace(one, item=replace(one.item, item_id=f"item-{n}"), vector=vector)

    tracemalloc.start()
    try:
        found = compare(drawn(0), drawn(other))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.same, len(found.differing)) == ((0, many) if other else (many, 0))
    assert most < 600 * many < many * dim * 4 / 20
