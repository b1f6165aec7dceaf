"""Whatever is done to a gallery, in any order, it holds what a dictionary would."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from index import opening, restoration
from index.gallery import Gallery
from index.head import Head
from index.inspection import inspect
from index.records import Enrolment, Records
from index.second_space import SecondSpace
from index.store import FILE
from vireid.arrays import Float32Array
from vireid.types import Filter, ItemMeta, Modality

DIM, OTHER_DIM = 8, 5
NAMES = st.sampled_from([f"i{n}" for n in range(8)])
CAMERAS = st.sampled_from(["", "a", "b"])


def row(seed: int, dim: int) -> Float32Array:
    drawn = np.random.default_rng(seed).standard_normal(dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


class Life(RuleBasedStateMachine):
    """A gallery beside a dictionary of (camera, seed) by id."""

    @initialize()
    def begin(self) -> None:
        self.before = opening.CACHED_FROM
        opening.CACHED_FROM = 1
        self.galleries = Path(tempfile.mkdtemp())
        (self.galleries / "g").mkdir()
        Records.create(self.galleries / "g" / FILE, Head("g", "1" * 64, DIM, False))
        self.gallery = Gallery(self.galleries / "g" / FILE)
        self.held: dict[str, tuple[str, int]] = {}
        self.hidden: set[str] = set()  # expired and still on the disk
        self.snapshots: list[tuple[Path, dict[str, tuple[str, int]], set[str], bool]] = []
        self.seed, self.second = 0, False

    @rule(names=st.lists(NAMES, min_size=1, max_size=4), camera=CAMERAS)
    def enroll(self, names: list[str], camera: str) -> None:
        batch = []
        for name in names:
            self.seed += 1
            self.held[name] = (camera, self.seed)
            self.hidden.discard(name)
            meta = ItemMeta(camera=camera)
            batch.append(
                Enrolment(name, Modality.VISIBLE, meta, f"{self.seed:064x}", row(self.seed, self.dim))
            )
        self.gallery.enroll(batch)

    @rule(names=st.lists(NAMES, min_size=1, max_size=4))
    def remove(self, names: list[str]) -> None:
        receipt = self.gallery.remove(ids=names)
        assert receipt.items == len(set(names) & (set(self.held) | self.hidden))
        for name in names:
            self.held.pop(name, None)
            self.hidden.discard(name)

    @rule(camera=st.sampled_from(["a", "b"]))
    def remove_by_filter(self, camera: str) -> None:
        gone = [name for name, (at, _) in self.held.items() if at == camera]
        assert self.gallery.remove(filter=Filter(cameras=(camera,))).items == len(gone)
        for name in gone:
            del self.held[name]

    @rule(name=NAMES)
    def expire(self, name: str) -> None:
        self.seed += 1
        past = datetime.now(UTC) - timedelta(seconds=1)
        new = Enrolment(
            name,
            Modality.VISIBLE,
            ItemMeta(),
            f"{self.seed:064x}",
            row(self.seed, self.dim),
            expires_at=past,
        )
        self.gallery.enroll([new])
        self.held.pop(name, None)
        self.hidden.add(name)

    @rule()
    def sweep(self) -> None:
        assert self.gallery.expire().items == len(self.hidden)
        assert self.gallery.info().items == len(self.held)
        self.hidden.clear()

    @rule(cached=st.booleans(), killed=st.booleans())
    def start_again(self, cached: bool, killed: bool) -> None:
        if killed:
            self.gallery.records.close()  # no cache of the last state is written
        else:
            self.gallery.close()
        self.gallery = Gallery(self.galleries / "g" / FILE, cached=cached)

    @rule()
    def compact(self) -> None:
        self.gallery.compact()

    @rule()
    def snapshot(self) -> None:
        self.snapshots.append((self.gallery.snapshot(), dict(self.held), set(self.hidden), self.second))

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, 10))
    def restore(self, which: int) -> None:
        place, held, hidden, second = self.snapshots[which % len(self.snapshots)]
        self.gallery.close()
        restoration.restore(place, self.galleries, replace=True)
        self.gallery = Gallery(self.galleries / "g" / FILE)
        self.held, self.hidden, self.second = dict(held), set(hidden), second

    @rule()
    def exchange(self) -> None:
        second = SecondSpace(self.gallery.records)
        self.gallery.expire()
        self.hidden.clear()
        target = DIM if self.second else OTHER_DIM
        second.begin("1" * 64 if self.second else "2" * 64, target)
        rows = second.lacking(0, 1000)
        seeds = [self.held[one.item.item_id][1] for one in rows]
        second.put([one.key for one in rows], np.array([row(seed, target) for seed in seeds], np.float32))
        self.gallery.exchange()
        self.second = not self.second

    @property
    def dim(self) -> int:
        return OTHER_DIM if self.second else DIM

    @invariant()
    def holds_what_a_dictionary_would(self) -> None:
        if not hasattr(self, "gallery"):
            return
        found = {item.item_id: item for item in self.gallery.items(limit=1000)[0]}
        assert set(found) == set(self.held)
        for name, (camera, seed) in self.held.items():
            assert (found[name].meta.camera, found[name].sha256) == (camera, f"{seed:064x}")
            np.testing.assert_array_equal(self.gallery.vector(name), row(seed, self.dim))
            hit = self.gallery.search(row(seed, self.dim)[None], 1)[0].hits[0]
            assert hit.item.item_id == name

    def teardown(self) -> None:
        if hasattr(self, "gallery"):
            self.gallery.close()
            assert inspect(self.galleries / "g").damage == ()
            shutil.rmtree(self.galleries)
            opening.CACHED_FROM = self.before


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
