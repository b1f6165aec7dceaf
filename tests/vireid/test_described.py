"""What is said of an image."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.limits import ITEM_ID
from vireid import described
from vireid.described import Described
from vireid.errors import InvalidRequest
from vireid.types import ItemMeta, Modality


def test_what_a_path_says() -> None:
    told = described.from_place("yard/infrared/0042/cam3_17.jpg")
    assert told == Described("yard/infrared/0042/cam3_17.jpg", Modality.INFRARED, ItemMeta("0042", "cam3"))
    assert described.from_place("visible/7/a.jpg").meta == ItemMeta("7", "")
    for plain in ("a.jpg", "x/y/z.jpg", "infrared/a_1.jpg"):
        assert described.from_place(plain) == Described(plain, None, ItemMeta())


def test_an_id_keeps_what_it_may_hold() -> None:
    assert described.item_id_of("visible/0007/c1_a-b.jpg") == "visible/0007/c1_a-b.jpg"
    assert described.item_id_of("my photo.jpg").startswith("my_photo.jpg:")


@given(st.lists(st.text(min_size=1, max_size=300), max_size=8, unique=True))
def test_ids_are_what_a_gallery_takes_and_never_fall_together(places: list[str]) -> None:
    made = [described.item_id_of(place) for place in [*places, "x" * 300, "x" * 299 + "y", "\udcff.jpg"]]
    assert all(ITEM_ID.fullmatch(one) for one in made)
    assert len(set(made)) == len({*places, "x" * 300, "x" * 299 + "y", "\udcff.jpg"})


def test_named_values() -> None:
    fields = {"path": "a.jpg", "person": "7", "camera": "", "coat": "red", "hat": "", "split": "Query"}
    found = described.from_fields({**fields, "captured_at": "2026-03-01T23:30:00+01:00"}, "a.jpg")
    at = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    assert found == Described("a.jpg", None, ItemMeta("7", "", at, {"coat": "red"}), "query")
    assert described.from_fields({"item_id": "x", "attributes": {"n": 1}}).meta.attributes == {"n": "1"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"modality": "thermal"}, "modality"),
        ({"captured_at": "yesterday"}, "captured_at"),
        ({"captured_at": "2026-03-01T09:00:00"}, "captured_at"),
        ({"captured_at": "0001-01-01T00:00:00+14:00"}, "captured_at"),
        ({"split": "val"}, "split"),
        ({"person": ["p"]}, "person"),
        ({"attributes": ["red"]}, "attributes"),
        ({"attributes": {"coat": {"red": 1}}}, "attributes.coat"),
    ],
)
def test_a_bad_value_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        described.from_fields(fields)
    assert caught.value.field == field
    if isinstance(next(iter(fields.values())), str):
        assert next(iter(fields.values())) in caught.value.message


def test_numbers_are_words_and_nothing_is_nothing() -> None:
    found = described.from_fields({"item_id": 0, "person": 0, "camera": 3.5, "modality": None})
    assert (found.item_id, found.meta.person, found.meta.camera) == ("0", "0", "3.5")
    attributes = {"n": 0, "b": False, "none": None, "empty": ""}
    assert described.from_fields({"attributes": attributes}).meta.attributes == {"n": "0", "b": "false"}


def test_the_lines_of_a_manifest() -> None:
    lines = described.lines_of('path,person,coat\n"a,b.jpg", 7 ,red,more\n\nc.jpg\n')
    assert lines == [
        (2, {"path": "a,b.jpg", "person": "7", "coat": "red"}),
        (4, {"path": "c.jpg", "person": "", "coat": ""}),
    ]


@pytest.mark.parametrize("text", ["", "file,person\na.jpg,7\n", 'path\n"a' + "x" * 200_000 + '"\n'])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"must name path|comma-separated"):
        described.lines_of(text)
