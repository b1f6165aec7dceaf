"""A gallery on a disk that takes no more: nothing of the refused call is stored, nothing else is lost."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from vireid.errors import StorageError

Make = Callable[..., Enrolment]
DIM = 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "g.sqlite"
    Records.create(place, Head("g", "5" * 64, DIM, True))
    return place


def content(gallery: Gallery) -> list[tuple[object, ...]]:
    items = gallery.items(limit=1000)[0]
    return [(item, gallery.vector(item.item_id).tobytes()) for item in items]


def test_a_full_disk_stores_nothing_and_loses_nothing(path: Path, enrolment: Make) -> None:
    gallery = Gallery(path)
    gallery.enroll([enrolment(f"item-{n}") for n in range(5)])
    truth, info = content(gallery), gallery.info()
    db = gallery._records._writer
    pages = db.execute("PRAGMA page_count").fetchall()[0][0]
    db.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StorageError) as caught:
        gallery.enroll([enrolment(f"more-{n}", image=bytes(3000)) for n in range(50)])
    assert caught.value.stable_reason == "DISK_FULL"
    assert (content(gallery), gallery.info()) == (truth, info)
    db.execute("PRAGMA max_page_count = 100000")
    assert gallery.enroll([enrolment("item-0"), enrolment("later")]) == ["unchanged", "created"]
    gallery.close()
    assert [item.item_id for item, _ in content(Gallery(path))][:5] == [item.item_id for item, _ in truth]


REFUSING_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from index.gallery import Enrolment, Gallery
from vireid.errors import StorageError
from vireid.types import ItemMeta, Modality
gallery = Gallery(Path(sys.argv[1]))
row = np.zeros(16, np.float32); row[0] = 1
def new(n): return Enrolment(f"i{n}", Modality.VISIBLE, ItemMeta(), "0" * 64, row, None, bytes(5000))
gallery.enroll([new(0)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, -1))  # writes beyond fail
for n in range(1, 1000):
    try:
        gallery.enroll([new(n)])
    except StorageError as error:
        print(error.stable_reason, gallery.info().items == n, len(gallery.search(row[None], 1000)[0].hits) == n)
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        print(gallery.enroll([new(n)]))
        break
gallery.close()
print(Gallery(Path(sys.argv[1])).info().items == n + 1)
"""


def test_a_disk_that_refuses_writes(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSING_DISK, path], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["DISK_REFUSES True True", "['created']", "True"], done.stderr
