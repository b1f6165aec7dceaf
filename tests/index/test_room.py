"""Vectors in a file: what the folder shows of it, what memory it takes, and a disk that is full."""

import errno
import gc
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from index.backends import made
from index.room import FileRoom
from index.rows import Enrolment
from index.scan import ScanBackend
from index.store import GalleryStore
from vireid.arrays import Float32Array
from vireid.errors import StorageError
from vireid.types import ItemMeta, Modality

DIM = 64
ROOT = Path(__file__).parents[2]


def drawn(count: int, seed: int, dim: int = DIM) -> Float32Array:
    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def opened_in(folder: Path) -> set[str]:
    """The files that this process has open there and that have no name any more."""
    links: list[str] = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(one.readlink()))
        except FileNotFoundError:  # the listing's own
            continue
    return {link for link in links if link.startswith(str(folder)) and link.endswith("(deleted)")}


def test_the_file_has_no_name_and_lies_where_it_is_said(tmp_path: Path) -> None:
    backend = made("scan-file", DIM, tmp_path)
    assert not opened_in(tmp_path)
    backend.add(np.arange(100), drawn(100, 1))
    assert len(opened_in(tmp_path)) == 1
    assert not list(tmp_path.iterdir())
    del backend
    assert not opened_in(tmp_path)


def test_a_gallery_keeps_it_beside_its_own_file(tmp_path: Path) -> None:
    vectors, own = drawn(50, 1), tmp_path / "galleries" / "g"
    for _ in range(2):  # and again after a start
        store = GalleryStore(tmp_path, "0" * 64, DIM, "scan-file")
        gallery = store.get("g") if own.is_dir() else store.create("g")
        gallery.enroll(
            [
                Enrolment(f"i{n}", Modality.VISIBLE, ItemMeta(), "f" * 64, vector)
                for n, vector in enumerate(vectors)
            ]
        )
        assert len(opened_in(own)) == 1
        assert gallery.search(vectors[7:8], 1)[0].hits[0].item.item_id == "i7"
        store.close()
        del store, gallery
        gc.collect()
        assert not opened_in(own)
    assert {path.suffix for path in own.iterdir()} <= {".sqlite", ".sqlite-seal"}


GROWTH = """
    import re, sys
    from pathlib import Path

    import numpy as np

    from index.backends import made

    def anonymous_kb() -> int:
        return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

    rng = np.random.default_rng(1)
    backend = made("scan-file", 512, Path(sys.argv[1]))
    backend.add(np.arange(1000), rng.standard_normal((1000, 512), dtype=np.float32))
    backend.search(np.ones((1, 512), np.float32), 1)  # all that is compiled and loaded once
    before, part = anonymous_kb(), np.empty((2000, 512), np.float32)
    for start in range(1000, 61_000, 2000):
        part[:] = rng.standard_normal((2000, 512), dtype=np.float32)
        backend.add(np.arange(start, start + 2000), part)
    print(1024 * (anonymous_kb() - before) / (60_000 * 512 * 4))
"""


def test_memory_holds_a_byte_a_number(tmp_path: Path) -> None:
    """In a process of its own: what other tests left and gave back would be counted with it."""
    command = [sys.executable, "-c", textwrap.dedent(GROWTH), str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT)
    assert 0.2 < float(told.stdout) < 0.6


def test_the_file_holds_what_was_added(tmp_path: Path) -> None:
    backend, vectors = made("scan-file", 512, tmp_path), drawn(20_000, 1, 512)
    for start in range(0, 20_000, 2000):
        backend.add(np.arange(start, start + 2000), vectors[start : start + 2000])
    _, ids = backend.search(vectors[::1000], 1)
    np.testing.assert_array_equal(ids[:, 0], np.arange(0, 20_000, 1000))


def test_what_was_removed_is_overwritten(tmp_path: Path) -> None:
    room, vectors = FileRoom(DIM, tmp_path), drawn(500, 1)
    backend = ScanBackend(DIM, room)
    backend.add(np.arange(500), vectors)
    gone = np.concatenate([np.arange(3), np.arange(480, 500)])
    backend.remove(gone)
    assert room._handle is not None
    held = os.pread(room._handle, 10**9, 0)
    for one in range(500):
        assert (vectors[one].tobytes() in held) == (one not in gone)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_disk_that_is_full_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    backend, vectors = made("scan-file", DIM, tmp_path), drawn(3000, 1)
    backend.add(np.arange(100), vectors[:100])

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StorageError, match="free space") as refused:
            backend.add(np.arange(100, 3000), vectors[100:])
    assert refused.value.reason == "DISK_FULL"
    assert len(backend) == 100
    np.testing.assert_array_equal(backend.vectors(np.arange(100)), vectors[:100])
    backend.add(np.arange(100, 3000), vectors[100:])
    np.testing.assert_array_equal(backend.vectors(np.arange(3000)), vectors)


def test_a_system_that_reserves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    backend, vectors = made("scan-file", DIM, tmp_path), drawn(500, 1)
    for start in range(0, 500, 100):
        backend.add(np.arange(start, start + 100), vectors[start : start + 100])
    np.testing.assert_array_equal(backend.vectors(np.arange(500)), vectors)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    backend = made("scan-file", DIM, tmp_path / "none")
    with pytest.raises(StorageError):
        backend.add(np.arange(1), drawn(1, 1))
