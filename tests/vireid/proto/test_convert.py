from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.errors import InvalidRequest
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Filter, GalleryInfo, Hit, Item, ItemMeta, Modality

WORDS = st.text(min_size=0, max_size=12).filter(lambda text: "\ud800" not in text)
MOMENTS = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))
MODALITIES = st.sampled_from(list(Modality))
ATTRIBUTES = st.dictionaries(WORDS, WORDS, max_size=3)
METAS = st.builds(
    ItemMeta, person=WORDS, camera=WORDS, captured_at=st.none() | MOMENTS, attributes=ATTRIBUTES
)
ITEMS = st.builds(
    Item,
    item_id=WORDS,
    modality=MODALITIES,
    meta=METAS,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    has_image=st.booleans(),
    enrolled_at=MOMENTS,
)
TUPLES = st.lists(WORDS, max_size=3).map(tuple)
FILTERS = st.builds(
    Filter,
    cameras=TUPLES,
    exclude_cameras=TUPLES,
    captured_from=st.none() | MOMENTS,
    captured_to=st.none() | MOMENTS,
    modalities=st.lists(MODALITIES, max_size=2).map(tuple),
    persons=TUPLES,
    exclude_items=TUPLES,
    attributes=ATTRIBUTES,
)


@given(ITEMS)
def test_item_survives_the_wire(item: Item) -> None:
    wire = convert.item_to(item).SerializeToString()
    assert convert.item_of(pb.Item.FromString(wire)) == item


@given(FILTERS)
def test_filter_survives_the_wire(chosen: Filter) -> None:
    wire = convert.filter_to(chosen).SerializeToString()
    assert convert.filter_of(pb.Filter.FromString(wire)) == chosen


def test_empty_filter_is_an_empty_message() -> None:
    assert convert.filter_to(Filter()) == pb.Filter()
    assert convert.filter_of(pb.Filter()).is_empty


@given(st.integers(1, 1000), st.floats(-1, 1, width=32), ITEMS, st.none() | st.floats(0, 1, width=32))
def test_hit_survives_the_wire(rank: int, score: float, item: Item, probability: float | None) -> None:
    hit = Hit(rank=rank, score=score, item=item, probability=probability)
    assert convert.hit_of(pb.Hit.FromString(convert.hit_to(hit).SerializeToString())) == hit


@pytest.mark.parametrize("state", ["ready", "failed"])
def test_gallery_survives_the_wire(state: str) -> None:
    info = GalleryInfo("cam", "ab", 64, 3, 9, stores_images=True, state=state, detail="why")
    assert convert.gallery_of(convert.gallery_to(info)) == info


def test_an_unknown_gallery_state_reads_as_failed() -> None:
    assert convert.gallery_of(pb.Gallery(name="g")).state == "failed"


@pytest.mark.parametrize(("number", "modality"), [(0, None), (1, Modality.VISIBLE), (2, Modality.INFRARED)])
def test_modality_numbers(number: int, modality: Modality | None) -> None:
    assert convert.modality_of(number) is modality
    assert convert.modality_to(modality) == number


def test_an_unknown_modality_names_its_field() -> None:
    with pytest.raises(InvalidRequest, match="is 7") as caught:
        convert.modality_of(7, "query.modality")
    assert caught.value.field == "query.modality"


def test_unspecified_modality_in_a_filter_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"filter\.modalities"):
        convert.filter_of(pb.Filter(modalities=[pb.MODALITY_UNSPECIFIED]))


def test_times_of_any_zone_mean_the_same_moment() -> None:
    there = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=9)))
    back = convert.time_of(convert.time_to(there))
    assert back == there
    assert back.tzinfo is UTC


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no timezone"):
        convert.time_to(datetime(2026, 3, 1))


def test_a_time_beyond_the_calendar_is_refused() -> None:
    message = pb.Item(item_id="a", modality=pb.MODALITY_VISIBLE)
    message.captured_at.seconds = 10**15
    with pytest.raises(InvalidRequest, match="captured_at"):
        convert.meta_of(message)


@given(st.floats(0, 1e4))
def test_durations_keep_nanoseconds(seconds: float) -> None:
    assert convert.seconds_of(convert.duration_to(seconds)) == pytest.approx(seconds, abs=1e-9)


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_vector_bytes_agree_with_numpy(values: list[float]) -> None:
    data = convert.floats_to(values)
    assert data == np.asarray(values, dtype="<f4").tobytes()
    assert convert.floats_of(data) == tuple(values)


def test_half_a_float_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="6 bytes"):
        convert.floats_of(b"abcdef")
