"""What a gallery refuses, where the words of a caller could do harm."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import limits
from index.gallery import Gallery
from index.limits import LONGEST_RETENTION_DAYS
from index.records import Enrolment
from tests.index.conftest import unit
from vireid.errors import InvalidRequest
from vireid.types import Filter, ItemMeta, Modality

Make = Callable[..., Enrolment]
EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
LATE = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5)))


@pytest.mark.parametrize("moment", [EARLY, LATE])
def test_a_time_that_utc_does_not_have_is_refused_by_name(
    gallery: Gallery, enrolment: Make, moment: datetime
) -> None:
    with pytest.raises(InvalidRequest, match="in UTC before") as caught:
        gallery.enroll([enrolment("a", captured_at=moment)])
    assert caught.value.field == "captured_at"
    with pytest.raises(InvalidRequest, match="in UTC before") as caught:
        gallery.enroll([replace(enrolment("a"), expires_at=moment)])
    assert caught.value.field == "expires_at"
    with pytest.raises(InvalidRequest, match="in UTC before") as caught:
        gallery.search(unit("a")[None], 1, Filter(captured_to=moment))
    assert caught.value.field == "filter.captured_to"
    assert gallery.info().items == 0


def test_the_first_and_the_last_time_there_are_come_back(gallery: Gallery, enrolment: Make) -> None:
    times = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    gallery.enroll([enrolment(str(n), captured_at=moment) for n, moment in enumerate(times)])
    assert tuple(item.meta.captured_at for item in gallery.items()[0]) == times
    assert gallery.facets()["hours"] == {"00": 1, "23": 1}
    found = gallery.search(unit("0")[None], 5, Filter(captured_from=times[0], captured_to=times[1]))[0]
    assert [hit.item.item_id for hit in found.hits] == ["0"]


@pytest.mark.parametrize(
    "nothing",
    [{"cameras": []}, {"persons": []}, {"attributes": {}}, {"modalities": []}, {"exclude_items": []}],
)
def test_a_filter_of_empty_lists_restricts_nothing_and_removes_nothing(
    gallery: Gallery, enrolment: Make, nothing: dict[str, Any]
) -> None:
    gallery.enroll([enrolment("a"), enrolment("b")])
    assert Filter(**nothing).is_empty
    with pytest.raises(InvalidRequest, match="remove everything"):
        gallery.remove(filter=Filter(**nothing))
    assert gallery.info().items == 2


@pytest.mark.parametrize("days", [-1, LONGEST_RETENTION_DAYS + 1, 999_999_999])
def test_a_snapshot_that_cannot_be_kept_so_long_is_not_made(gallery: Gallery, days: int) -> None:
    with pytest.raises(InvalidRequest, match="keep_days") as caught:
        gallery.snapshot(timedelta(days=days))
    assert caught.value.field == "keep_days"
    assert gallery.snapshots() == []
    gallery.snapshot(timedelta(days=LONGEST_RETENTION_DAYS))
    assert len(gallery.snapshots()) == 1


WORD = st.sampled_from(["", "7", "ü", "x" * 200, "x" * 201, "\ud800"])
MOMENT = st.sampled_from([None, None, None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1)])
ITEM = st.builds(
    Enrolment,
    item_id=st.text("aZ9_:-", min_size=1, max_size=5)
    | st.sampled_from(["", "a" * 200, "a" * 201, "a/image", "a/./b", "../a", "a/b.jpg", "a\n", "a b"]),
    modality=st.sampled_from(Modality),
    meta=st.builds(ItemMeta, person=WORD, camera=WORD, captured_at=MOMENT),
    sha256=st.sampled_from(["0" * 64] * 6 + ["A" * 64, "0" * 63, "0" * 64 + "\n"]),
    vector=st.just(np.ones(1, np.float32)),
    expires_at=MOMENT,
    enrolled_at=MOMENT,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=3))
def test_what_is_told_of_many_at_once_holds_for_each(items: list[Enrolment]) -> None:
    """An item that is refused alone is refused among others, and one that passes so is kept as it is."""

    def refused(batch: list[Enrolment]) -> bool:
        try:
            settled, _ = limits.settle(batch, 1, stores_images=True)
        except InvalidRequest:
            return True
        assert [(new.item_id, new.meta) for new in settled] == [(new.item_id, new.meta) for new in batch]
        return False

    def alone(new: Enrolment) -> bool:
        try:
            limits._check_item(new)
        except InvalidRequest:
            return True
        return False

    assert refused(items) == any(map(alone, items))
