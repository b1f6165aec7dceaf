"""Whatever comes, goes, is centred and taken back, in whatever order: a gallery answers as a dictionary does."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from index import restoration
from index.centres import applied
from index.centring import learn
from index.disk import FILE
from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from tests.index.conftest import SPACE, unit
from vireid.arrays import Float32Array, Float64Array
from vireid.types import ItemMeta, Modality

DIM, LEAST = 6, 40
Rows = dict[str, tuple[Float32Array, Modality]]
Means = dict[Modality, Float64Array]


class Centred(RuleBasedStateMachine):
    """Beside the gallery: its rows, and the means it was centred by, one on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.galleries = Path(self.folder.name)
        (self.galleries / "g").mkdir()
        Records.create(self.galleries / "g" / FILE, Head("g", SPACE, DIM, False))
        self.gallery = Gallery(self.galleries / "g" / FILE)
        self.rows: Rows = {}
        self.stack: list[Means] = []
        self.kept: tuple[Path, Rows, list[Means]] | None = None
        self.enrol(range(2 * LEAST), 0)

    def teardown(self) -> None:
        self.gallery.close()
        self.folder.cleanup()

    def enrol(self, numbers: range, turn: int) -> None:
        batch = []
        for n in numbers:
            kind, row = Modality(n % 2), unit((n, turn), DIM) + unit(n % 2, DIM)
            row = (row / np.linalg.norm(row)).astype(np.float32)
            batch.append(Enrolment(f"i{n}", kind, ItemMeta(person=str(turn)), f"{turn:064x}", row))
            self.rows[f"i{n}"] = row, kind
        self.gallery.enroll(batch)

    @rule(start=st.integers(2 * LEAST, 2 * LEAST + 20), many=st.integers(1, 9), turn=st.integers(0, 3))
    def come(self, start: int, many: int, turn: int) -> None:
        self.enrol(range(start, start + many), turn)

    @rule(start=st.integers(2 * LEAST, 2 * LEAST + 20), many=st.integers(1, 9))
    def go(self, start: int, many: int) -> None:
        gone = [f"i{n}" for n in range(start, start + many)]
        self.gallery.remove(ids=gone)
        self.rows = {name: row for name, row in self.rows.items() if name not in gone}

    @rule(strength=st.sampled_from([0.3, 1.0]))
    def centre(self, strength: float) -> None:
        self.gallery.centre(learn(self.gallery.records).centres(strength))
        self.stack = [
            *self.stack,
            {
                kind: strength
                * np.mean([row.astype(np.float64) for row, one in self.rows.values() if one is kind], axis=0)
                for kind in Modality
            },
        ]

    @precondition(lambda self: self.stack)
    @rule()
    def back(self) -> None:
        self.gallery.uncentre()
        self.stack = self.stack[:-1]

    @rule()
    def start_again(self) -> None:
        self.gallery.close()
        self.gallery = Gallery(self.galleries / "g" / FILE)

    @rule()
    def snapshot(self) -> None:
        self.kept = self.gallery.snapshot(), dict(self.rows), self.stack

    @precondition(lambda self: self.kept)
    @rule()
    def restore(self) -> None:
        assert self.kept is not None
        path, rows, self.stack = self.kept
        self.rows = dict(rows)
        self.gallery.close()
        restoration.restore(path, self.galleries, replace=True)
        self.gallery = Gallery(self.galleries / "g" / FILE)

    @invariant()
    def it_answers_as_the_dictionary(self) -> None:
        means = self.stack[-1] if self.stack else {kind: np.zeros(DIM) for kind in Modality}

        def centred(row: Float32Array, kind: Modality) -> Float64Array:
            moved: Float64Array = row.astype(np.float64) - means[kind]
            moved /= np.linalg.norm(moved)
            return moved

        names = list(self.rows)
        every = np.stack([centred(*self.rows[name]) for name in names])
        centres = self.gallery.centres
        for kind in Modality:
            query = unit(("query", kind), DIM)
            found = self.gallery.search(
                applied(centres, query[None], [kind]), 1000, centring=centres.number if centres else 0
            )[0]
            expected = dict(zip(names, (every @ centred(query, kind)).tolist(), strict=True))
            told = {hit.item.item_id: hit.score for hit in found.hits}
            assert set(told) == set(expected)
            assert max(abs(told[name] - expected[name]) for name in names) < 1e-5
        for name in names[::7]:
            assert self.gallery.vector(name).tobytes() == self.rows[name][0].tobytes()


TestCentred = Centred.TestCase
TestCentred.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
