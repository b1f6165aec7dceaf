"""The log is written back beside whoever writes: it stays short, and nobody notices but by the time it takes."""

import logging
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from index import schema, writeback
from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from index.store import FILE
from index.writeback import WriteBack
from tests.index.conftest import SPACE, unit
from tests.index.test_damage import whole
from vireid.types import ItemMeta, Modality

DIM = 2048
AT_ONCE = 300  # some 2.5 MB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Records.create(tmp_path / FILE, Head("g", SPACE, DIM, True))
    return tmp_path / FILE


def batch(start: int) -> list[Enrolment]:
    return [
        Enrolment(f"i{n}", Modality.VISIBLE, ItemMeta(), f"{n:064x}", unit(n, DIM))
        for n in range(start, start + AT_ONCE)
    ]


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def check(path: Path, count: int) -> None:
    gallery = Gallery(path, cached=False)
    assert gallery.info().items == count
    for n in range(0, count, 97):
        np.testing.assert_array_equal(gallery.vector(f"i{n}"), unit(n, DIM))
    gallery.close()


def pieces(n: int) -> list[bytes]:
    """Parts of an item's vector, from all over it."""
    data = unit(n, DIM).tobytes()
    return [data[at : at + 64] for at in range(0, len(data), len(data) // 8)]


def wait() -> None:
    for thread in threading.enumerate():
        if thread.name == writeback.NAME:
            thread.join(20)


def test_the_log_stays_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "WAITED_FOR_AT_BYTES", 2**24)  # on a disk slower than we are
    gallery, longest = Gallery(path), 0
    for start in range(0, 20 * AT_ONCE, AT_ONCE):
        gallery.enroll(batch(start))
        longest = max(longest, log_bytes(path))
    wait()
    assert path.stat().st_size > 10 * AT_ONCE * 4 * DIM
    assert longest < 2**24 + 2 * AT_ONCE * 4 * DIM
    gallery.close()
    assert not path.with_name(f"{path.name}-wal").exists()
    check(path, 20 * AT_ONCE)


def test_a_log_that_somebody_reads_is_waited_for_and_grows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writeback, "BEGUN_AT_BYTES", 2**30)
    monkeypatch.setattr(writeback, "WAITED_FOR_AT_BYTES", 2**22)
    gallery, reader = Gallery(path), sqlite3.connect(path, isolation_level=None)
    gallery.enroll(batch(0))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM parcels").fetchone()
    for start in range(AT_ONCE, 6 * AT_ONCE, AT_ONCE):
        gallery.enroll(batch(start))
    assert log_bytes(path) > 5 * AT_ONCE * 4 * DIM
    reader.execute("COMMIT")
    gallery.enroll(batch(6 * AT_ONCE))  # written back to its end; the next begins it anew, and cuts it
    gallery.enroll(batch(7 * AT_ONCE))
    assert log_bytes(path) == schema.LOG_KEPT_BYTES
    reader.close()
    gallery.close()
    check(path, 8 * AT_ONCE)


def test_who_refuses_to_write_back_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery(path)

    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(writeback.sqlite3, "connect", refuse)
        for start in range(0, 5 * AT_ONCE, AT_ONCE):
            gallery.enroll(batch(start))
        wait()
    assert "cannot be written back" in caplog.text
    gallery.close()
    check(path, 5 * AT_ONCE)


def test_after_a_long_log_nobody_waits_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "WAITED_FOR_AT_BYTES", 2**23)
    monkeypatch.setattr(writeback, "BEGUN_AT_BYTES", 2**30)
    gallery = Gallery(path)
    while log_bytes(path) < 2**23:
        gallery.enroll(batch(gallery.info().items))
    gallery.enroll(batch(gallery.info().items)[:1])
    done = list[WriteBack]()
    monkeypatch.setattr(WriteBack, "_work", done.append)
    for _ in range(3):
        gallery.enroll(batch(gallery.info().items)[:1])
    assert done == []
    gallery.close()


def test_without_a_thread_it_is_written_back_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gallery = Gallery(path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for start in range(0, 5 * AT_ONCE, AT_ONCE):
            assert gallery.enroll(batch(start)) == ["created"] * AT_ONCE
    assert path.stat().st_size > 3 * AT_ONCE * 4 * DIM
    gallery.close()
    check(path, 5 * AT_ONCE)


def test_nothing_of_what_is_removed_stays_while_the_log_is_written_back(path: Path) -> None:
    gallery = Gallery(path)
    for turn in range(4):
        for start in range(0, 4 * AT_ONCE, AT_ONCE):
            gallery.enroll(batch(start + turn * 10_000))
        gone = [turn * 10_000 + n for n in (3, 500, 1199)]
        gallery.remove(ids=[f"i{n}" for n in gone])
        data = whole(path)
        assert not any(piece in data for n in gone for piece in pieces(n))
        assert sum(piece in data for piece in pieces(turn * 10_000 + 4)) >= 6  # a page may end within two
    gallery.close()


def test_closing_waits_and_leaves_nothing(path: Path) -> None:
    for turn in range(5):
        gallery = Gallery(path)
        for start in range(0, 4 * AT_ONCE, AT_ONCE):
            gallery.enroll(batch(start + turn * 10_000))
        gallery.close()
        assert not [thread for thread in threading.enumerate() if thread.name == writeback.NAME]
        assert {one.name for one in path.parent.iterdir()} <= {FILE, f"{FILE}-seal"}
