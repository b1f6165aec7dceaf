"""kill -9 in the middle of whatever a gallery can be asked to change: before or after it, whole, and nothing damaged.

``test_kill`` is of enrolling and removing alone, and of their number.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from index import opening
from index.centres import applied
from index.centring import learn
from index.disk import FILE
from index.gallery import Gallery
from index.head import Head
from index.inspection import inspect
from index.records import Enrolment, Records
from index.second_space import SecondSpace
from tests.index.conftest import picture, unit
from vireid.errors import FailedPrecondition
from vireid.types import ItemMeta, Modality

SPACES = {16: "5" * 64, 24: "6" * 64}
IDS = 60
ROUNDS = [4, pytest.param(100, marks=pytest.mark.slow)]


def new(item_id: str, take: int, dim: int) -> Enrolment:
    image = picture((item_id, take))
    sha256 = hashlib.sha256(image).hexdigest()
    vector = unit((item_id, take), dim)
    return Enrolment(
        item_id, Modality(take % 2), ItemMeta(person=str(take)), sha256, vector, image, image[:80]
    )


def second(gallery: Gallery) -> None:
    """Go over to the space that is not in use."""
    dim = sum(SPACES) - gallery.info().dim
    other = SecondSpace(gallery.records)
    other.begin(SPACES[dim], dim)
    if rows := other.lacking(0, 1000):
        vectors = [unit((row.item.item_id, int(row.item.meta.person)), dim) for row in rows]
        other.put([row.key for row in rows], np.stack(vectors))
    gallery.exchange()


def changes(gallery: Gallery, draw: random.Random, take: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Draw changes without end: what is said of each, and what makes it."""
    while True:
        take, item_id = take + 1, f"i{draw.randrange(IDS)}"
        one = new(item_id, take, gallery.info().dim)
        enrol = (f"+ {item_id} {take}", partial(gallery.enroll, [one]))
        made: list[tuple[str, Callable[[], object]]] = [
            enrol,
            enrol,
            (f"- {item_id} 0", partial(gallery.remove, ids=[item_id])),
            ("= centre", lambda: gallery.centre(learn(gallery.records).centres(half=True))),
            ("= uncentre", gallery.uncentre),
            ("= exchange", lambda: second(gallery)),
            ("= retain", lambda: gallery.retain(draw.choice([0, 86400]))),
            ("= snapshot", gallery.snapshot),
            ("= drop", lambda: [gallery.drop_snapshot(one.name) for one in gallery.snapshots()]),
            ("= compact", gallery.compact),
        ]
        yield draw.choice(made)


def work(path: Path, seed: int) -> None:
    """Say what begins, and that it ended, until somebody kills us."""
    gallery = Gallery(path)
    os.write(1, b"ready\n")
    for word, make in changes(gallery, random.Random(seed), 1000 * seed):
        os.write(1, f"{word}\n".encode())
        with suppress(FailedPrecondition):  # it is not centred, or too few could make a centre
            make()
        os.write(1, b"done\n")


def killed(path: Path, seed: int, after_s: float) -> list[str]:
    """Let it work for a while; return what it said."""
    code = "import sys; from pathlib import Path; from tests.index.test_kill_of_anything import work; "
    worker = subprocess.Popen(
        [sys.executable, "-c", f"{code}work(Path(sys.argv[1]), int(sys.argv[2]))", str(path), str(seed)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    time.sleep(after_s)
    worker.send_signal(signal.SIGKILL)
    said = worker.stdout.read().decode().splitlines()
    worker.stdout.close()
    assert worker.wait(10) == -signal.SIGKILL
    return said


def told(said: list[str], held: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return what must be there, and the same with the change that was cut."""
    whole, begun = dict(held), dict(held)
    for word in said:
        if word == "done":
            whole = dict(begun)
        elif word[0] != "=":
            sign, item_id, take = word.split()
            begun.pop(item_id, None)
            begun |= {item_id: int(take)} if sign == "+" else {}
    return whole, begun


@pytest.mark.parametrize("rounds", ROUNDS)
def test_whatever_is_cut_is_there_whole_or_not_at_all(
    tmp_path: Path, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, draw, held, done = tmp_path / "g" / FILE, random.Random(), dict[str, int](), 0
    path.parent.mkdir()
    Records.create(path, Head("g", SPACES[16], 16, True))
    for seed in range(rounds):
        said = killed(path, seed, draw.uniform(0.0, 0.5))
        done += said.count("done")
        assert inspect(path.parent).damage == ()
        monkeypatch.setattr(opening, "CACHED_FROM", 5 if seed % 2 else 10**9)
        gallery = Gallery(path)
        found = {item.item_id: item for item in gallery.items(limit=1000)[0]}
        before, held = held, {item_id: int(item.meta.person) for item_id, item in found.items()}
        assert held in told(said, before), said[-2:]
        centres = gallery.centres
        for item_id, item in found.items():
            truth = new(item_id, held[item_id], gallery.info().dim)
            assert gallery.vector(item_id).tobytes() == truth.vector.tobytes()
            assert (gallery.image(item_id), gallery.thumbnail(item_id)) == (truth.image, truth.thumbnail)
            query = applied(centres, truth.vector[None], [item.modality])
            best = gallery.search(query, 1, centring=centres.number if centres else 0)[0].hits[0]
            assert best.item == item
        gallery.close()
        assert not list(path.parent.glob("*.part*"))
    assert done
