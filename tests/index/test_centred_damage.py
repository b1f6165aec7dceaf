"""A centred gallery that is damaged, or killed: what is flipped is named, and one space or the other is there whole."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index.centres import Means
from index.centring import learn
from index.disk import FILE
from index.gallery import Gallery
from index.head import Head
from index.inspection import inspect
from index.kept_centres import KeptCentres
from index.records import Enrolment, Records
from index.second_space import SecondSpace
from tests.index.conftest import DIM, SPACE, unit
from vireid.errors import DataLoss, VireidError
from vireid.types import Modality

Make = Callable[..., Enrolment]
MANY = 80


@pytest.fixture
def path(tmp_path: Path, enrolment: Make) -> Path:
    """A gallery that was centred twice, closed."""
    folder = tmp_path / "galleries" / "g"
    folder.mkdir(parents=True)
    Records.create(folder / FILE, Head("g", SPACE, DIM, True))
    gallery = Gallery(folder / FILE)
    gallery.enroll([enrolment(f"i{n}", modality=Modality(n % 2)) for n in range(MANY)])
    for strength in (0.5, 1.0):
        gallery.centre(learn(gallery.records).centres(strength))
    gallery.close()
    return folder / FILE


def told(gallery: Gallery) -> list[object]:
    """All that a gallery says of its items, to the last bit."""
    number = gallery.centres.number if gallery.centres else 0
    query = unit("query")[None]
    found = gallery.search(query, MANY, centring=number)[0]
    vectors = [gallery.vector(f"i{n}").tobytes() for n in range(MANY)]
    return [number, [(hit.item, hit.score) for hit in found.hits], vectors]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE centres SET rows = zeroblob(length(rows)) WHERE number = 3",
        "UPDATE centres SET strength = '0.9' WHERE number = 3",
        "UPDATE centres SET infrared = 0 WHERE number = 3",
        "UPDATE centres SET made_at = made_at + 1 WHERE number = 3",
        "UPDATE centres SET made_at = 0.5 WHERE number = 3",
        "UPDATE centres SET space_id = 'other' WHERE number = 3",
        "UPDATE centres SET number = 4 WHERE number = 3",
        "UPDATE centres SET before = x'' WHERE number = 3",
        "DELETE FROM centres WHERE number = 3",
        "DELETE FROM centres",
    ],
)
def test_changed_centres_are_named_and_can_be_left(path: Path, change: str) -> None:
    expected = [unit(f"i{n}").tobytes() for n in range(MANY)]
    _execute(path, change)
    with pytest.raises(DataLoss, match="centres") as caught:
        Gallery(path)
    assert "--back" in caught.value.message
    assert any("centres" in sentence for sentence in inspect(path.parent).damage)
    records = Records(path)
    KeptCentres(records).back()
    records.close()
    assert not inspect(path.parent).damage
    gallery = Gallery(path)
    assert gallery.centres is None
    assert [gallery.vector(f"i{n}").tobytes() for n in range(MANY)] == expected
    gallery.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE head SET centres = x''",
        "UPDATE head SET centres = (SELECT before FROM centres WHERE number = 3)",
        "UPDATE head SET centres = NULL",
    ],
)
def test_a_head_that_names_other_centres_is_not_opened(path: Path, change: str) -> None:
    try:
        _execute(path, change)
    except sqlite3.IntegrityError:
        assert "NULL" in change  # SQLite itself refuses
        return
    with pytest.raises(DataLoss, match="head"):
        Gallery(path)


def test_centres_before_that_are_damaged_are_found_by_verify(path: Path) -> None:
    """What is in use is whole and answers; the ones before are named when they are needed, and left with all others."""
    gallery = Gallery(path)
    before = told(gallery)
    gallery.close()
    _execute(path, "UPDATE centres SET visible = 41 WHERE number = 2")
    gallery = Gallery(path)
    assert told(gallery) == before
    with pytest.raises(DataLoss, match="centres"):
        gallery.uncentre()
    assert told(gallery) == before
    gallery.close()
    assert any("centres" in sentence for sentence in inspect(path.parent).damage)


def test_damaged_centres_of_the_space_that_is_not_in_use_are_found_too(path: Path) -> None:
    gallery = Gallery(path)
    second = SecondSpace(gallery.records)
    second.begin("6" * 64, 8)
    keys = [row.key for row in second.lacking(0, MANY)]
    second.put(keys, np.stack([unit(key, 8) for key in keys]))
    gallery.exchange()
    gallery.centre(learn(gallery.records).centres())
    gallery.exchange()
    gallery.close()
    assert inspect(path.parent).damage == ()
    _execute(path, f"UPDATE centres SET visible = 41 WHERE space_id = '{'6' * 64}'")
    assert any("centres" in sentence for sentence in inspect(path.parent).damage)
    gallery = Gallery(path)  # those in use are whole
    with pytest.raises(DataLoss, match="centres"):
        gallery.exchange()
    assert gallery.centres is not None
    gallery.close()


def test_damaged_centres_are_not_copied_in_silence(path: Path) -> None:
    gallery = Gallery(path)
    _execute(path, "UPDATE centres SET visible = 41 WHERE number = 2")
    with pytest.raises(DataLoss, match="centres"):
        gallery.snapshot()
    assert gallery.snapshots() == []
    gallery.close()


def test_every_flip_in_the_centres_is_noticed(path: Path) -> None:
    """Each of the bytes that hold them, wherever SQLite put them."""
    gallery = Gallery(path)
    truth = told(gallery)
    centres = gallery.centres
    assert centres is not None
    needle = centres.rows.tobytes()
    gallery.close()
    sound, seal = path.read_bytes(), path.with_name(FILE + "-seal").read_bytes()
    start = sound.index(needle)
    draw, refused = random.Random(3), list[tuple[int, str]]()
    for place in [draw.randrange(start - 80, start + len(needle) + 40) for _ in range(150)]:
        broken = bytearray(sound)
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        path.with_name(FILE + "-seal").write_bytes(seal)
        try:
            gallery = Gallery(path)
        except VireidError as error:
            refused.append((place, error.message))
        else:
            assert not start <= place < start + len(needle), "flipped centres were opened"
            assert told(gallery) == truth
            gallery.close()
        for leftover in path.parent.glob(FILE + "-*"):
            leftover.unlink()
    assert all(str(path) in message for _, message in refused)
    assert len(refused) > 75


# tells a line after each switch that returned, and never before: the strength in use, 0 for none
WORKER = """
import os, sys
from pathlib import Path
from index.centring import learn
from index.gallery import Gallery
gallery = Gallery(Path(sys.argv[1]))
os.write(1, b"ready\\n")
for turn in range(10**6):
    if gallery.centres is not None:
        gallery.uncentre()
    else:
        gallery.centre(learn(gallery.records).centres((1 + turn % 7) / 7))
    os.write(1, f"{gallery.centres.told.strength if gallery.centres else 0}\\n".encode())
"""


def test_a_kill_leaves_one_space_or_the_other(path: Path) -> None:
    for _ in range(2):
        gallery = Gallery(path)
        gallery.uncentre()
        gallery.close()
    answered: dict[float, object] = {}
    draw, last, switches = random.Random(), 0.0, 0
    for _ in range(5):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0.0, 0.15))
        worker.send_signal(signal.SIGKILL)
        said = [float(line) for line in worker.stdout.read().decode().splitlines()]
        worker.stdout.close()
        assert worker.wait(10) == -signal.SIGKILL
        before, switches = (said or [last])[-1], switches + len(said)
        gallery = Gallery(path)
        last = gallery.centres.told.strength if gallery.centres else 0.0
        # what was acknowledged, or the one switch that was cut
        assert last == before or (last == 0.0) != (before == 0.0)
        hits = told(gallery)[1:]
        assert answered.setdefault(last, hits) == hits
        gallery.close()
        assert not inspect(path.parent).damage
    assert switches > 5


def test_a_removed_item_is_in_no_file_even_where_it_taught_a_centre(path: Path) -> None:
    gallery = Gallery(path)
    gone = gallery.vector("i5")
    centred = gallery._holdings.vectors(np.array([6], np.int64))[0]
    gallery.remove(ids=["i5"])
    gallery.close()
    held = b"".join(one.read_bytes() for one in path.parent.iterdir() if one.is_file())
    for vector in (gone, centred):
        assert vector.tobytes() not in held
        assert vector[:4].tobytes() not in held


def test_centres_that_are_left_are_overwritten(path: Path) -> None:
    gallery = Gallery(path)
    centres = gallery.centres
    assert centres is not None
    gallery.uncentre()
    gallery.close()
    held = b"".join(one.read_bytes() for one in path.parent.iterdir() if one.is_file())
    assert (
        held.count(centres.rows.tobytes()) == 1
    )  # of the ones before, of another strength, which are as they were


def test_a_full_disk_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(path)
    before = told(gallery)
    means = Means(DIM)
    means.take_in(np.stack([unit(n) for n in range(64)]), np.arange(64) % 2)

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("index.schema.write_head", full)
        with pytest.raises(VireidError, match="disk is full"):
            gallery.centre(means.centres())
        assert told(gallery) == before
        with pytest.raises(VireidError, match="disk is full"):
            gallery.uncentre()
        assert told(gallery) == before
    gallery.uncentre()
    assert told(gallery) != before
    gallery.close()


def _execute(path: Path, change: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(change)
    db.close()
