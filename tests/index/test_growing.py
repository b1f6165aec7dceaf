"""Rows that grow where they lie: what was there stays, whoever looks on, and whatever the system refuses."""

import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import growing
from index.growing import LARGE_BYTES, Growing

ENOUGH = LARGE_BYTES // 512


def filled(rows: np.ndarray, start: int, stop: int) -> None:
    rows[start:stop] = np.arange(start, stop, dtype=rows.dtype)[:, None]


def check(grown: Growing[np.int32], held: int) -> None:
    np.testing.assert_array_equal(
        grown.rows[:held], np.arange(held, dtype=np.int32)[:, None] + np.zeros(128, int)
    )


class NoRemap(mmap.mmap):
    def resize(self, newsize: int) -> None:
        raise SystemError("mmap: resizing not available--no mremap()")


@pytest.mark.parametrize("kind", [mmap.mmap, NoRemap])
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 3 * ENOUGH), st.integers(0, 40)), max_size=6))
def test_what_is_held_stays(kind: type[mmap.mmap], steps: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing.mmap, "mmap", kind)
        grown, held = Growing(128, np.int32), 0
        for room, part in steps:
            before = len(grown.rows)
            grown.widen(held, room)
            assert len(grown.rows) >= max(room, before)
            check(grown, held)
            more = min(held + part * 100, len(grown.rows))
            filled(grown.rows, held, more)
            held = more
        check(grown, held)


def test_large_rows_grow_where_they_lie() -> None:
    grown = Growing(128, np.int32)
    grown.widen(0, ENOUGH)
    there = grown._map
    filled(grown.rows, 0, ENOUGH)
    grown.widen(ENOUGH, 5 * ENOUGH)
    assert grown._map is there
    check(grown, ENOUGH)


def test_who_looks_on_keeps_what_was() -> None:
    grown = Growing(128, np.int32)
    grown.widen(0, ENOUGH)
    filled(grown.rows, 0, ENOUGH)
    look = grown.rows[5:9]
    grown.widen(ENOUGH, 2 * ENOUGH)
    grown.rows[:] = 0
    np.testing.assert_array_equal(look[:, 0], [5, 6, 7, 8])


@pytest.mark.parametrize("held", [0, 10, 2 * ENOUGH])
def test_room_that_there_is_not_is_refused_and_nothing_is_lost(held: int) -> None:
    grown = Growing(128, np.int32)
    grown.widen(0, max(held, 1))
    filled(grown.rows, 0, held)
    with pytest.raises(MemoryError, match="no room"):
        grown.widen(held, 2**52)
    check(grown, held)
    grown.widen(held, held + ENOUGH)
    check(grown, held)


def test_a_system_without_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(growing.mmap, "mmap", Small)
    grown = Growing(128, np.int32)
    grown.widen(0, ENOUGH)
    filled(grown.rows, 0, ENOUGH)
    grown.widen(ENOUGH, 3 * ENOUGH)
    check(grown, ENOUGH)


def test_less_room_than_there_is_changes_nothing() -> None:
    grown = Growing(128, np.int32)
    grown.widen(0, ENOUGH)
    before = grown.rows
    grown.widen(3, 7)
    assert grown.rows is before
