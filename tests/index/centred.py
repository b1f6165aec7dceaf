"""People who lean the way of their modality, a gallery of them, and what NumPy answers when it is centred."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from index.answers import Found
from index.centres import Centres, applied
from index.centring import learn
from index.disk import FILE
from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from tests.index.conftest import DIM, SPACE, unit
from vireid.arrays import Float32Array, Float64Array
from vireid.types import Filter, Modality

Make = Callable[..., Enrolment]
Some = Callable[..., list[Enrolment]]
MANY = 120


def leaning(n: object, modality: Modality, dim: int = DIM) -> Float32Array:
    """A unit vector that leans the way of its modality, as a model's do."""
    leans = unit(("person", n), dim) + 1.5 * unit(("modality", modality), dim)
    row: Float32Array = (leans / np.linalg.norm(leans)).astype(np.float32)
    return row


def kind(n: int) -> Modality:
    return Modality(n % 3 == 0)


def row(n: int) -> Float32Array:
    return leaning(n, kind(n))


def some_of(enrolment: Make, numbers: range) -> list[Enrolment]:
    return [
        enrolment(f"i{n}", modality=kind(n), vector=row(n), person=str(n), camera=str(n % 4)) for n in numbers
    ]


@pytest.fixture(name="some")
def people(enrolment: Make) -> Some:
    """Makes people by their numbers."""
    return partial(some_of, enrolment)


@pytest.fixture(name="path")
def gallery_file(tmp_path: Path) -> Path:
    """An empty gallery's file."""
    made = tmp_path / "galleries" / "g"
    made.mkdir(parents=True)
    Records.create(made / FILE, Head("g", SPACE, DIM, True))
    return made / FILE


@pytest.fixture(name="gallery")
def filled(path: Path, some: Some) -> Gallery:
    """All of them in that gallery, open."""
    opened = Gallery(path)
    opened.enroll(some(range(MANY)))
    return opened


class Oracle:
    """All vectors in a dictionary, centred by means that are taken here, and compared by one product."""

    def __init__(self, numbers: range, strength: float = 1.0) -> None:
        self.rows = {f"i{n}": (row(n), kind(n)) for n in numbers}
        self.means = {
            one: strength * np.mean([v.astype(np.float64) for v, m in self.rows.values() if m is one], axis=0)
            for one in Modality
        }

    def centred(self, vector: Float32Array, modality: Modality) -> Float64Array:
        moved: Float64Array = vector.astype(np.float64) - self.means[modality]
        moved /= np.linalg.norm(moved)
        return moved

    def best(self, vector: Float32Array, modality: Modality, k: int, among: range) -> list[tuple[str, float]]:
        query = self.centred(vector, modality)
        scores = {f"i{n}": float(self.centred(*self.rows[f"i{n}"]) @ query) for n in among}
        return sorted(scores.items(), key=lambda one: -one[1])[:k]


def ask(
    gallery: Gallery, vector: Float32Array, modality: Modality, k: int = 5, where: Filter | None = None
) -> Found:
    centres = gallery.centres
    queries = applied(centres, vector[None], [modality])
    return gallery.search(
        queries, k, where or Filter(), None, True, centring=centres.number if centres else 0
    )[0]


def agree(gallery: Gallery, oracle: Oracle, among: range, asking: range = range(200, 220)) -> None:
    """Hits and scores are those of NumPy, for strangers and for each item by its own vector."""
    for n in asking:
        modality = Modality(n % 2)
        found = ask(gallery, leaning(n, modality), modality)
        expected = oracle.best(leaning(n, modality), modality, 5, among)
        assert [hit.item.item_id for hit in found.hits] == [one for one, _ in expected]
        np.testing.assert_allclose(
            [hit.score for hit in found.hits], [score for _, score in expected], atol=1e-5
        )
        assert found.centring == (gallery.centres.number if gallery.centres else 0)
    for n in among:
        best = ask(gallery, row(n), kind(n), 1).hits[0]
        assert best.item.item_id == f"i{n}"
        assert abs(best.score - 1) < 1e-6
        assert gallery.vector(f"i{n}").tobytes() == row(n).tobytes()


def answers(gallery: Gallery) -> list[object]:
    """All that a gallery says, to the last bit."""
    told: list[object] = []
    for n in range(200, 220):
        found = ask(gallery, leaning(n, Modality(n % 2)), Modality(n % 2), 50)
        assert found.vectors is not None
        told += [[(hit.item.item_id, hit.score) for hit in found.hits], found.vectors.tobytes()]
    return [told, gallery.labelled().vectors.tobytes(), gallery.facets()]


def centres_of(gallery: Gallery, strength: float = 1.0) -> Centres:
    return learn(gallery.records).centres(strength)
