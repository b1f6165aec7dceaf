"""Parcels: what was packed comes back, and damage costs no more than where it is."""

import hashlib
import json
import sqlite3
import struct
from datetime import UTC
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import parcels
from index.rows import Enrolment, decode, encoded, tabled
from index.table import Table
from tests.index.conftest import DIM, unit
from vireid.arrays import Float32Array
from vireid.types import ItemMeta, Modality

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MOMENT = st.datetimes(timezones=st.just(UTC))
ITEM = st.builds(
    Enrolment,
    item_id=st.uuids().map(str),
    modality=st.sampled_from(Modality),
    meta=st.builds(
        ItemMeta,
        person=TEXT,
        camera=TEXT,
        captured_at=st.none() | MOMENT,
        attributes=st.dictionaries(TEXT, TEXT, max_size=3),
    ),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    vector=st.integers(0, 10**6).map(unit),
    expires_at=st.none() | MOMENT,
)


def parcel(count: int = 5, first: int = 100) -> tuple[Any, ...]:
    batch = [
        Enrolment(f"i{n}", Modality(n % 2), ItemMeta(person=f"p{n}"), f"{n:064x}", unit(n))
        for n in range(count)
    ]
    (cells,) = parcels.packed(tabled(batch, first, 7), np.stack([unit(n) for n in range(count)]))
    return cells


def rows(table: Table, vectors: Float32Array) -> list[tuple[Any, ...]]:
    return list(encoded(table, vectors))


@settings(max_examples=60, deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=150), st.integers(1, 2**62), st.integers(0, 2**53))
def test_what_is_packed_comes_back(batch: list[Enrolment], first: int, enrolled: int) -> None:
    """The same rows as if each had been stored in one of its own."""
    table, vectors = tabled(batch, first, enrolled), np.stack([new.vector for new in batch])
    found = list(parcels.packed(table, vectors))
    assert [parcels.held(cells) for cells in found[:-1]] == [parcels.AT_MOST] * (len(found) - 1)
    opened = [back for cells in found if (back := parcels.unpacked(cells, DIM)) is not None]
    whole = Table.joined([each for each, _ in opened])
    assert rows(whole, np.concatenate([each for _, each in opened])) == rows(table, vectors)
    for cells, new in zip(rows(table, vectors), batch, strict=True):
        decoded = decode(cells, DIM)
        assert decoded is not None
        assert (decoded[0].item.item_id, decoded[0].item.meta) == (new.item_id, new.meta)
        assert decoded[0].item.expires_at == new.expires_at


@pytest.mark.parametrize("at", range(5))
def test_no_changed_cell_is_opened(at: int) -> None:
    sound = parcel()
    cell = sound[at]
    others: list[Any] = [
        None,
        1.5,
        "text",
        cell + 1 if isinstance(cell, int) else bytes([cell[0] ^ 1]) + cell[1:],
    ]
    if isinstance(cell, bytes):
        others += [cell[:-1], cell + b"0", cell[:-1] + bytes([cell[-1] ^ 128]), b""]
    for other in others:
        cells = (*sound[:at], other, *sound[at + 1 :])
        assert parcels.unpacked(cells, DIM) is None
    assert parcels.unpacked(sound, DIM) is not None
    assert parcels.unpacked(sound, DIM + 1) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5 * 4 * DIM * 8 - 1))
def test_a_bit_of_a_vector_costs_one_item(bit: int) -> None:
    first, count, words, data, told = parcel()
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    cells = (first, count, words, bytes(broken), told)
    at = bit // 8 // (4 * DIM)
    table, vectors, gone = parcels.sound(cells, DIM)
    assert gone == [f"i{at}"]
    assert table.ids == [f"i{n}" for n in range(5) if n != at]
    np.testing.assert_array_equal(vectors, [unit(n) for n in range(5) if n != at])
    only = [(first, count, words, bytes(broken[n * 4 * DIM :][: 4 * DIM]), told) for n in range(5)]
    read = [parcels.vector(cells, 100 + n, DIM) for n, cells in enumerate(only)]
    assert [vector is None for vector in read] == [n == at for n in range(5)]


def test_vectors_that_changed_places_are_nobodys() -> None:
    first, count, words, data, told = parcel()
    swapped = data[4 * DIM : 8 * DIM] + data[: 4 * DIM] + data[8 * DIM :]
    table, _, gone = parcels.sound((first, count, words, swapped, told), DIM)
    assert (table.ids, gone) == (["i2", "i3", "i4"], ["i0", "i1"])


@pytest.mark.parametrize("data", [b"", None, 3, b"0" * (4 * DIM + 7)])
def test_vectors_that_are_cut_cost_those_that_went(data: Any) -> None:
    first, count, words, whole, told = parcel()
    cut = whole[: len(data)] if isinstance(data, bytes) else data
    table, vectors, gone = parcels.sound((first, count, words, cut, told), DIM)
    left = 1 if isinstance(data, bytes) and data else 0
    assert table.ids == [f"i{n}" for n in range(left)]
    assert vectors.shape == (left, DIM)
    assert gone == [f"i{n}" for n in range(left, 5)]


def test_words_that_changed_cost_all_and_tell_whom() -> None:
    first, count, words, data, told = parcel()
    for other, said in (
        (words.replace(b"p3", b"p4"), [f"i{n}" for n in range(5)]),
        (words.replace(b'"i1"', b"17"), ["i0", "17", "i2", "i3", "i4"]),
        (words[:-1], []),
        (b"[]", []),
        (b'{"ids": 3}', []),
        (None, []),
    ):
        table, vectors, gone = parcels.sound((first, count, other, data, told), DIM)
        assert (len(table), vectors.shape, gone) == (0, (0, DIM), said)


def test_a_parcel_of_another_place_is_not_opened() -> None:
    """Its words are of its first number."""
    sound = parcel()
    assert parcels.unpacked((101, *sound[1:]), DIM) is None
    assert parcels.vector((101, *sound[1:]), 101, DIM) is None


@pytest.mark.parametrize("count", [0, -1, 10**9, None, b"5", 2.0])
def test_a_count_that_cannot_be_is_not_followed(count: Any) -> None:
    assert parcels.held((1, count)) == parcels.AT_MOST
    assert parcels.unpacked((100, count, *parcel()[2:]), DIM) is None


def test_sqlite_gives_what_it_was_given() -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE p (a INTEGER PRIMARY KEY, b INTEGER, c BLOB, d BLOB, e BLOB)")
    db.execute("INSERT INTO p VALUES (?, ?, ?, ?, ?)", parcel())
    assert parcels.unpacked(db.execute("SELECT * FROM p").fetchone(), DIM) is not None
    db.close()


@pytest.mark.parametrize("dim", [1, 3, 2048])
def test_sums_are_those_that_files_of_before_hold(dim: int) -> None:
    """Computed with whole numbers of any length; other sums would make every file of before a damaged one."""
    vectors = np.stack([unit(n, dim) for n in range(3)])
    batch = [Enrolment(f"i{n}", Modality.VISIBLE, ItemMeta(), f"{n:064x}", vectors[n]) for n in range(3)]
    (cells,) = parcels.packed(tabled(batch, 1, 7), vectors)
    words, data = cells[2], cells[3]
    assert isinstance(words, bytes)
    assert isinstance(data, bytes)
    drawn = hashlib.shake_256(b"vireid parcel").digest(8 * dim)
    weights = [int.from_bytes(drawn[8 * at : 8 * at + 8], "little") | 1 for at in range(dim)]
    expected = [
        sum(w * x for w, x in zip(weights, struct.unpack_from(f"<{dim}I", data, 4 * dim * n), strict=True))
        for n in range(3)
    ]
    assert json.loads(words)["sums"] == [each % 2**64 for each in expected]


def test_two_numbers_that_changed_their_signs_are_seen() -> None:
    """What sums of this kind tell worst: the highest bit of each counts for 32 bits of the sum alone."""
    low = parcels._weights(4096).astype(np.int64) & (2**33 - 1)
    low.sort()
    assert (np.diff(low) > 0).all()
    assert not np.isin(2**33 - low, low).any()
