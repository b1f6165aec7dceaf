"""kill -9 in the middle of enrolling and removing: what was acknowledged is there, and nothing is there by half."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from index import opening
from index.gallery import Gallery
from index.head import Head
from index.records import Records
from vireid.types import Filter

DIM = 32
# items a call, and whether they come with pictures; many without are packed
ROWS, PACKED = (5, True), (70, False)

# writes a line to the pipe after a call returned, and never before: "+ n" enrolled, "~ n" replaced, "- n" removed
WORKER = """
import hashlib, os, sys
from pathlib import Path
import numpy as np
from index.gallery import Enrolment, Gallery
from vireid.types import ItemMeta, Modality
path, (start, dim, batch, pictured) = Path(sys.argv[1]), map(int, sys.argv[2:])
def new(n, version):
    random = np.random.default_rng([n, version])
    row = random.standard_normal(dim); image = random.bytes(3000)
    pictures = (image, image[:99]) if pictured else ()
    return Enrolment(f"i{n}", Modality(n % 2), ItemMeta(person=f"v{version}", camera=str(n % 3)),
                     hashlib.sha256(image).hexdigest(), (row / np.linalg.norm(row)).astype(np.float32), *pictures)
def say(word, n):
    os.write(1, f"{word} {n}\\n".encode())
gallery = Gallery(path)
os.write(1, b"ready\\n")
for n in range(start, start + 100_000, batch):
    gallery.enroll([new(n + at, 0) for at in range(batch)])
    say("+", n)
    gallery.enroll([new(n, 1)])
    say("~", n)
    gallery.remove(ids=[f"i{n + 1}"])
    say("-", n + 1)
"""


def row_of(n: int, version: int) -> np.ndarray:
    draw = np.random.default_rng([n, version])
    row = draw.standard_normal(DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def run_and_kill(path: Path, start: int, after_s: float, how: tuple[int, bool]) -> list[tuple[str, int]]:
    """Return what the worker said was done before it was killed."""
    words = map(str, (path, start, DIM, how[0], int(how[1])))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *words], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    time.sleep(after_s)
    worker.send_signal(signal.SIGKILL)
    said = worker.stdout.read().decode()
    worker.stdout.close()
    assert worker.wait(10) == -signal.SIGKILL
    lines = [line.split() for line in said.splitlines() if line.count(" ") == 1]
    return [(word, int(n)) for word, n in lines]


def check(gallery: Gallery, done: list[tuple[str, int]], start: int, how: tuple[int, bool]) -> int:
    """Compare the gallery with what was acknowledged; only the one call that was cut may be there or not."""
    expected: dict[int, int] = {}
    batch, pictured = how
    for word, n in done:
        if word == "+":
            expected.update(dict.fromkeys(range(n, n + batch), 0))
        elif word == "~":
            expected[n] = 1
        else:
            del expected[n]
    last = done[-1] if done else ("-", start - batch + 1)
    following = {"+": ("~", last[1]), "~": ("-", last[1] + 1), "-": ("+", last[1] - 1 + batch)}[last[0]]
    cut = dict(expected)
    if following[0] == "+":
        cut.update(dict.fromkeys(range(following[1], following[1] + batch), 0))
    elif following[0] == "~":
        cut[following[1]] = 1
    else:
        cut.pop(following[1], None)
    found = {}
    cursor, first = "", True
    while first or cursor:
        first = False
        items, cursor = gallery.items(limit=1000, cursor=cursor)
        for item in items:
            n = int(item.item_id[1:])
            if n >= start:
                found[n] = int(item.meta.person[1:])
    assert found in (expected, cut), "an acknowledged item is missing, or half a call is there"
    for n, version in found.items():
        hit = gallery.search(row_of(n, version)[None], 1)[0].hits[0]
        assert hit.item.item_id == f"i{n}"
        assert hit.score > 0.9999
        assert not pictured or gallery.thumbnail(f"i{n}") == gallery.image(f"i{n}")[:99]
    assert gallery.info().items == sum(gallery.facets()["cameras"].values())
    return len(found)


@pytest.mark.parametrize("how", [ROWS, PACKED], ids=["rows", "packed"])
@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_kill(tmp_path: Path, rounds: int, how: tuple[int, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    path, draw, acknowledged = tmp_path / "g.sqlite", random.Random(), 0
    Records.create(path, Head("g", "0" * 64, DIM, True))
    for round_ in range(rounds):
        done = run_and_kill(path, round_ * 100_000, draw.uniform(0.0, 0.15), how)
        gallery = Gallery(path)
        acknowledged += check(gallery, done, round_ * 100_000, how)
        # keep it small; a start after this is another test of removal
        gallery.remove(filter=Filter(cameras=("0", "1")))
        # every other worker begins from a cache and leaves it behind the file
        monkeypatch.setattr(opening, "CACHED_FROM", round_ % 2 * 10**9)
        gallery.close()
    assert acknowledged > rounds
