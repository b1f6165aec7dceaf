"""A thousand random filters against NumPy: masks over columns that were never in the gallery, and a plain sort."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.backends import BACKENDS, DEFAULT, NEEDS_GPU
from index.gallery import Enrolment, Gallery
from index.head import Head
from index.records import Records
from vireid.arrays import BoolArray
from vireid.types import Filter, ItemMeta, Modality

COUNT, DIM, K = 3000, 16, 10
START = datetime(2026, 3, 1, 20, tzinfo=UTC)
CAMERAS = np.array(["", "c1", "c2", "gate", "Zürich"])
PERSONS = np.array(["", *(f"p{n}" for n in range(40))])
NO_TIME = -1
FILTERS = {name: 1000 if name == DEFAULT else 150 for name in sorted(BACKENDS.keys() - NEEDS_GPU)}


class Truth:
    """The items as columns, drawn once."""

    def __init__(self) -> None:
        draw = np.random.default_rng(20)
        self.vectors = draw.standard_normal((COUNT, DIM)).astype(np.float32)
        self.vectors[::7] = self.vectors[0]  # ties
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        self.camera = CAMERAS[draw.integers(len(CAMERAS), size=COUNT)]
        self.person = PERSONS[draw.integers(len(PERSONS), size=COUNT)]
        self.infrared = draw.random(COUNT) < 0.3
        self.minute = np.where(draw.random(COUNT) < 0.2, NO_TIME, draw.integers(0, 600, COUNT))
        self.coat = draw.integers(0, 3, COUNT)  # 0: none
        self.ids = np.array([f"i{n}" for n in range(COUNT)])

    def enrolments(self) -> list[Enrolment]:
        return [
            Enrolment(
                str(self.ids[n]),
                Modality(int(self.infrared[n])),
                ItemMeta(
                    str(self.person[n]),
                    str(self.camera[n]),
                    None if self.minute[n] == NO_TIME else START + timedelta(minutes=int(self.minute[n])),
                    {"coat": str(self.coat[n])} if self.coat[n] else {},
                ),
                "f" * 64,
                self.vectors[n],
            )
            for n in range(COUNT)
        ]

    def mask(self, where: Filter) -> BoolArray:
        passes = np.ones(COUNT, np.bool_)
        if where.cameras:
            passes &= np.isin(self.camera, where.cameras)
        passes &= ~np.isin(self.camera, where.exclude_cameras or ["nothing"])
        if where.persons:
            passes &= np.isin(self.person, where.persons)
        if where.modalities:
            passes &= np.isin(self.infrared, [bool(one) for one in where.modalities])
        if where.captured_from is not None:
            low = (where.captured_from - START) / timedelta(minutes=1)
            passes &= (self.minute != NO_TIME) & (self.minute >= low)
        if where.captured_to is not None:
            high = (where.captured_to - START) / timedelta(minutes=1)
            passes &= (self.minute != NO_TIME) & (self.minute < high)
        passes &= ~np.isin(self.ids, where.exclude_items or ["nothing"])
        for value in where.attributes.values():
            passes &= self.coat == int(value)
        return passes

    def drawn(self, draw: np.random.Generator) -> Filter:
        """A filter of a few fields: as a rule somebody passes, at times nobody or everybody."""
        fields: dict[str, Any] = {
            "cameras": tuple(draw.choice(CAMERAS, draw.integers(1, 4))),
            "exclude_cameras": tuple(draw.choice(CAMERAS, draw.integers(1, 3))),
            "persons": tuple(draw.choice([*PERSONS, "nobody"], draw.integers(1, 25))),
            "modalities": (Modality(int(draw.integers(2))),),
            "captured_from": START + timedelta(minutes=int(draw.integers(-10, 400))),
            "captured_to": START + timedelta(minutes=int(draw.integers(200, 620))),
            "exclude_items": tuple(draw.choice([*self.ids, "x"], draw.integers(1, 40))),
            "attributes": {"coat": str(draw.integers(1, 4))},
        }
        kept = draw.choice(list(fields), draw.integers(0, 4), replace=False)
        return Filter(**{name: fields[name] for name in kept})


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


@pytest.fixture(scope="module", params=FILTERS)
def gallery(
    request: pytest.FixtureRequest, truth: Truth, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gallery, int]]:
    path: Path = tmp_path_factory.mktemp("filters") / "g.sqlite"
    Records.create(path, Head("g", "0" * 64, DIM, False))
    made = Gallery(path, request.param)
    made.enroll(truth.enrolments())
    yield made, FILTERS[request.param]
    made.close()


def test_they_equal_numpy(gallery: tuple[Gallery, int], truth: Truth) -> None:
    asked, count = gallery
    draw = np.random.default_rng(7)
    passed = []
    for turn in range(count):
        where = truth.drawn(draw)
        kept = np.flatnonzero(truth.mask(where))
        query = truth.vectors[draw.integers(COUNT)]
        products = truth.vectors[kept].astype(np.float64) * query.astype(np.float64)
        scores = products.sum(axis=1).astype(np.float32)
        best = np.argsort(-scores, kind="stable")[:K]
        found = asked.search(query[None], K, where)[0]
        assert (found.items_total, found.items_searched) == (COUNT, len(kept)), where
        assert [hit.item.item_id for hit in found.hits] == truth.ids[kept[best]].tolist(), where
        assert [hit.score for hit in found.hits] == pytest.approx(scores[best].tolist(), abs=1e-6), where
        if turn % 10 == 0:
            check_facets(asked, truth, where)
        passed.append(len(kept) / COUNT)
    assert (min(passed), max(passed)) == (0, 1)  # from nobody to everybody
    assert np.mean([0.01 < share < 0.9 for share in passed]) > 0.4


def check_facets(asked: Gallery, truth: Truth, where: Filter) -> None:
    kept = truth.mask(where)
    found = asked.facets(where)
    cameras, counts = np.unique(truth.camera[kept & (truth.camera != "")], return_counts=True)
    assert found["cameras"] == dict(zip(cameras.tolist(), counts.tolist(), strict=True)), where
    words = {"visible": int((kept & ~truth.infrared).sum()), "infrared": int((kept & truth.infrared).sum())}
    assert found["modalities"] == {word: n for word, n in words.items() if n}, where
    hours = (START.hour * 60 + truth.minute[kept & (truth.minute != NO_TIME)]) // 60 % 24
    expected = {f"{hour:02}": int(n) for hour, n in enumerate(np.bincount(hours, minlength=24)) if n}
    assert json.dumps(found["hours"], sort_keys=True) == json.dumps(expected, sort_keys=True), where
