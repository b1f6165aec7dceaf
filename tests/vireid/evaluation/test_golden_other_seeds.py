"""Vectors of the golden recipe with other seeds and other persons: protocols against a slow reference.

The galleries are drawn by the recipe's own code, so draws, exclusion, ranking and averages are all held
against something written apart.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vireid.datasets.split import Dataset, Split
from vireid.evaluation import protocols
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.features import Features
from vireid.evaluation.protocol import Protocol
from vireid.types import Modality, Sample

RANKS = (1, 5, 10, 20)
VISIBLE, INFRARED = 0, 1
SEEDS = [20251121, pytest.param(3, marks=pytest.mark.slow), pytest.param(2**31 - 1, marks=pytest.mark.slow)]

# what is measured: (rule, level, query modality, cameras and shots of the drawn side, trials)
SYSU = {
    "all_single": ("all", 1, (1, 2, 4, 5), 3),
    "indoor_single": ("indoor", 1, (1, 2), 3),
    "all_multi": ("all", 10, (1, 2, 4, 5), 1),
    "indoor_multi": ("indoor", 10, (1, 2), 1),
}
LLCM = {
    "ir2vis": (INFRARED, VISIBLE, False),
    "vis2ir_v1": (VISIBLE, INFRARED, False),
    "vis2ir_v2": (VISIBLE, INFRARED, True),
}


class Vectors:
    """A drawn set: its pool and its features, whole numbers in float64."""

    def __init__(self, recipe: ModuleType, golden: dict[str, Any], family: str, seed: int) -> None:
        self.pool = recipe.pool(family, recipe.shuffled(golden["structure"], seed)[family])
        self.features = recipe.features(family, self.pool, seed).astype(float)

    def rows(self, modality: int, persons: list[int] | None = None) -> np.ndarray:
        rows = np.flatnonzero(self.pool[:, 3] == modality)
        if persons is None:
            return rows
        return np.concatenate([rows[self.pool[rows, 1] == person] for person in persons])

    def dataset(
        self, name: str, trial: int = 0, persons: list[int] | None = None
    ) -> tuple[Dataset, Features]:
        sides, vectors = {}, {}
        for modality in (VISIBLE, INFRARED):
            rows = self.rows(modality, persons)
            vectors[modality] = self.features[rows]
            sides[modality] = tuple(
                Sample(Path(f"{p}/{c}/{i}"), int(p), int(c), Modality(modality))
                for _, p, c, _, i in self.pool[rows].tolist()
            )
        query, gallery = Split("query", sides[INFRARED]), Split("gallery", sides[VISIBLE])
        dataset = Dataset(name, Path("nowhere"), Split("train", ()), query, gallery, trial)
        return dataset, Features(vectors[INFRARED], vectors[VISIBLE])

    def ask(self, reference: ModuleType, query: np.ndarray, gallery: np.ndarray, protocol: Protocol) -> Any:
        sides = [(self.pool[rows, 1], self.pool[rows, 2]) for rows in (query, gallery)]
        similarity = self.features[query] @ self.features[gallery].T
        return reference.mean(reference.score(similarity, *sides, protocol.rule, protocol.cmc), RANKS)


Make = Callable[[str, int], Vectors]


@pytest.fixture(scope="module")
def make(recipe: ModuleType, golden: dict[str, Any]) -> Make:
    made: dict[tuple[str, int], Vectors] = {}

    def get(family: str, seed: int) -> Vectors:
        if (family, seed) not in made:
            made[family, seed] = Vectors(recipe, golden, family, seed)
        return made[family, seed]

    return get


def check(dataset: Dataset, features: Features, protocol: Protocol, want: list[Any]) -> None:
    result = evaluate(features, dataset, protocol)
    assert len(result.trials) == len(want)
    for trial, (n_valid, hits, mean_ap, mean_inp) in zip(result.trials, want, strict=True):
        assert trial.scores.n_valid == n_valid
        assert [int(trial.scores.hits[r - 1]) for r in RANKS] == hits
        assert trial.scores.mean_ap == pytest.approx(mean_ap, abs=1e-12)
        assert trial.scores.mean_inp == pytest.approx(mean_inp, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("setting", SYSU)
def test_sysu(setting: str, seed: int, make: Make, recipe: ModuleType, reference: ModuleType) -> None:
    mode, shots, cameras, trials = SYSU[setting]
    vectors = make("sysu", seed)
    dataset, features = vectors.dataset("sysu-mm01")
    protocol = protocols.sysu_mm01(mode, shots, "python", trials)
    query = vectors.rows(INFRARED)
    galleries = [recipe.drawn(vectors.pool, cameras, VISIBLE, trial, shots) for trial in range(trials)]
    want = [vectors.ask(reference, query, gallery, protocol) for gallery in galleries]
    check(dataset, features, protocol, want)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", LLCM)
def test_llcm(mode: str, seed: int, make: Make, recipe: ModuleType, reference: ModuleType) -> None:
    asks, finds, turned = LLCM[mode]
    vectors = make("llcm", seed)
    dataset, features = vectors.dataset("llcm")
    protocol = protocols.llcm_search(mode, 2)
    drawn = [recipe.drawn(vectors.pool, range(1, 10), finds, trial, 1) for trial in range(2)]
    everything = vectors.rows(asks)
    pairs = [(rows, everything) if turned else (everything, rows) for rows in drawn]
    check(dataset, features, protocol, [vectors.ask(reference, *pair, protocol) for pair in pairs])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", ["image", "identity"])
def test_regdb(level: Any, seed: int, make: Make, recipe: ModuleType, reference: ModuleType) -> None:
    vectors = make("regdb", seed)
    persons = recipe.regdb_split(seed, 4)
    dataset, features = vectors.dataset("regdb", 4, persons)
    visible, thermal = vectors.rows(VISIBLE, persons), vectors.rows(INFRARED, persons)
    for mode, pair in (
        ("visible-to-thermal", (visible, thermal)),
        ("thermal-to-visible", (thermal, visible)),
    ):
        protocol = protocols.regdb_split(mode, 4, cmc=level)
        check(dataset, features, protocol, [vectors.ask(reference, *pair, protocol)])
