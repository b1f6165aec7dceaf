"""Pages asked for ahead: what is written meanwhile stays, and what cannot be had is no error."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from index import pages
from index.pages import Ahead
from index.stock import Stock
from vireid.arrays import Float32Array

MIB = 2**20


def resident_mb() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def test_what_is_written_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "AT_ONCE", 4 * MIB)
    room = np.empty(96 * MIB, np.uint8)
    ahead = Ahead([room[5 : 70 * MIB], room[70 * MIB : -3]])  # neither begins nor ends with a page
    for start in range(0, len(room), MIB):
        room[start : start + MIB] = start // MIB
    ahead.wait()
    ahead.wait()
    assert (room.reshape(96, MIB) == np.arange(96, dtype=np.uint8)[:, None]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_pages_are_there_before_anybody_writes() -> None:
    before, room = resident_mb(), np.empty(96 * MIB, np.uint8)
    assert resident_mb() - before < 8
    Ahead([room]).wait()
    assert resident_mb() - before > 90


def test_a_system_without_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "POPULATE_WRITE", 9999)
    room = np.empty(80 * MIB, np.uint8)
    Ahead([room]).wait()
    room[:] = 1
    assert room.all()


def drawn(count: int, seed: int) -> Float32Array:
    rows = np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_stock_that_expects_more_than_comes_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LEAST_BYTES", 0)
    stock, rows = Stock(64), drawn(9000, 1)
    stock.expect(3000)
    for start in range(
        0, 9000, 1500
    ):  # beyond what was expected: it is moved while pages may be on their way
        stock.add(np.arange(start, start + 1500), rows[start : start + 1500])
        stock.expect(start + 2000)
    np.testing.assert_array_equal(stock.vectors, rows)
    for _, ids in stock.search(rows[:3], 1, stock.rows(None)):
        assert ids[0] in (0, 1, 2)
