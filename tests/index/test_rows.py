"""A row's checksum: one for every content, and the same however it is summed up."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index import rows
from index.rows import Enrolment, checksum, decode, encoded, row_checksum, tabled
from vireid.types import ItemMeta, Modality

NUMBERS = st.integers(-(2**63), 2**63 - 1)
ODD = st.one_of(st.none(), st.binary(max_size=20), NUMBERS, st.floats(allow_nan=False))
USUAL = st.tuples(
    NUMBERS,
    st.binary(max_size=20),
    NUMBERS,
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.none() | NUMBERS,
    st.binary(max_size=20),
    st.binary(max_size=20),
    NUMBERS,
    NUMBERS,
    st.binary(max_size=40),
    st.none() | NUMBERS,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(USUAL, st.tuples(*[ODD] * 12)))
def test_both_ways_sum_alike(cells: tuple[Any, ...]) -> None:
    """As files written before there was an expiry hold it: that cell counts only where there is one."""
    assert row_checksum(cells) == checksum(cells if cells[-1] is not None else cells[:-1])


@settings(max_examples=300, deadline=None)
@given(USUAL, st.integers(0, 11), ODD)
def test_another_content_has_another_sum(cells: tuple[Any, ...], at: int, other: object) -> None:
    changed = (*cells[:at], other, *cells[at + 1 :])
    same = type(other) is type(cells[at]) and other == cells[at]
    assert (row_checksum(changed) == row_checksum(cells)) == same


def test_the_usual_row_takes_the_short_way(monkeypatch: Any) -> None:
    new = Enrolment("a", Modality.INFRARED, ItemMeta(person="ü"), "0" * 64, np.ones(3, np.float32))
    (cells,) = encoded(tabled([new], 7, 5), new.vector[None])
    monkeypatch.setattr(rows, "checksum", None)
    assert row_checksum(cells[:-1]) == cells[-1]
    found = decode(cells, 3)
    assert found is not None
    assert (found[0].key, found[0].item.item_id, found[0].item.meta.person) == (7, "a", "ü")
    assert decode((8, *cells[1:]), 3) is None
