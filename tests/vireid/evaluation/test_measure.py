"""A run over one test set or over identity splits, and protocols that share their similarities."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vireid.datasets import open_dataset
from vireid.datasets.split import Dataset
from vireid.errors import EvaluationError
from vireid.evaluation import rerank
from vireid.evaluation.evaluate import evaluate, evaluate_all, plan
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case, measure, splits
from vireid.evaluation.metrics import Labels, scores
from vireid.evaluation.protocol import Protocol, Rerank
from vireid.evaluation.protocols import PRESETS, llcm_search, preset, regdb_split, sysu_mm01
from vireid.evaluation.result import merge

Draw = Callable[..., Path]


def noise(dataset: Dataset) -> Features:
    random = np.random.default_rng(5)
    query, gallery = (
        np.rint(9 * random.standard_normal((len(s), 6))) for s in (dataset.query, dataset.gallery)
    )
    return Features(query, gallery)


def unit(features: Features) -> Features:
    pair = (features.query, features.gallery)
    return Features(*(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in pair))


def test_modes_and_shots_share_what_they_compare(sysu_tree: Draw) -> None:
    dataset = open_dataset("sysu-mm01", sysu_tree())
    features = noise(dataset)
    protocols = [
        sysu_mm01("all"),
        sysu_mm01("indoor", shots=3),
        sysu_mm01("all", shots=2, rule="none", cmc="image"),
    ]
    together = evaluate_all(features, dataset, protocols, ranks=(1, 3))
    for protocol, found in zip(protocols, together, strict=True):
        assert found.to_json() == evaluate(features, dataset, protocol, ranks=(1, 3)).to_json()


def test_directions_together(llcm_tree: Draw) -> None:
    dataset = open_dataset("llcm", llcm_tree())
    features = noise(dataset)
    protocols = [llcm_search(mode) for mode in ("ir2vis", "vis2ir_v1", "vis2ir_v2")]
    protocols.append(replace(protocols[0], rerank=Rerank(k1=3, k2=1)))
    for protocol, found in zip(protocols, evaluate_all(features, dataset, protocols), strict=True):
        assert found.to_json() == evaluate(features, dataset, protocol).to_json()


@pytest.mark.parametrize("candidates", [0, 3])
def test_each_trial_is_re_ranked_by_itself(candidates: int, llcm_tree: Draw) -> None:
    dataset = open_dataset("llcm", llcm_tree())
    features = unit(noise(dataset))
    numbers = Rerank(k1=3, k2=2, candidates=candidates)
    protocol = preset("llcm/v1", rerank=numbers, trials=4)
    asks, finds = dataset.gallery, dataset.query
    result = evaluate(features, dataset, protocol)
    for trial, planned in zip(result.trials, plan(dataset, protocol), strict=True):
        want = scores(
            rerank.similarities(features.gallery, features.query[planned.gallery], numbers),
            Labels(asks.persons, asks.cameras),
            Labels(finds.persons[planned.gallery], finds.cameras[planned.gallery]),
            "market",
        )
        assert trial.scores.hits.tolist() == want.hits.tolist()
        assert trial.scores.mean_ap == want.mean_ap


@pytest.mark.parametrize("ranks", [(), (0, 1), (5, -1)])
def test_ranks_start_from_one(ranks: tuple[int, ...], llcm_tree: Draw) -> None:
    dataset = open_dataset("llcm", llcm_tree())
    with pytest.raises(EvaluationError, match="CMC ranks start from 1"):
        evaluate(noise(dataset), dataset, llcm_search(), ranks=ranks)


def test_any_rank_beyond_the_last_person_is_the_last_value(llcm_tree: Draw) -> None:
    dataset = open_dataset("llcm", llcm_tree())
    result = evaluate(noise(dataset), dataset, llcm_search(), ranks=(2, 5000))
    assert result.mean.rank(2) == result.mean.rank(5000) == result.mean.rank(10**6) == 1.0  # two persons
    assert list(result.mean.named(result.ranks)) == ["rank2", "rank5000", "mAP", "mINP"]


def test_only_identity_splits_are_taken_apart() -> None:
    assert [p.trials for p in splits(regdb_split(trial=0))] == [(t,) for t in range(1, 11)]
    for name in PRESETS:
        assert splits(preset(name)) == (preset(name),)


class TestSplits:
    @pytest.fixture
    def make(self, regdb_tree: Draw) -> Callable[[Protocol], Case]:
        root = regdb_tree()

        def make(part: Protocol) -> Case:
            dataset = open_dataset("regdb", root, part.trials[0])
            return Case(dataset, noise(dataset), flip="none", bundle=f"model {part.trials[0]}")

        return make

    def test_each_has_its_own_model_and_is_looked_at(self, make: Callable[[Protocol], Case]) -> None:
        seen: list[tuple[int, ...]] = []
        measured = measure(regdb_split(trial=0), make, watch=lambda case, part: seen.append(part.trials))
        assert seen == [(t,) for t in range(1, 11)]
        assert [s.bundle for s in measured.sources] == [f"model {t}" for t in range(1, 11)]
        assert measured.result.protocol == regdb_split(trial=0)
        assert [t.number for t in measured.result.trials] == list(range(1, 11))

    def test_averaged_features_and_others_are_not_mixed(self, make: Callable[[Protocol], Case]) -> None:
        def mixed(part: Protocol) -> Case:
            return replace(make(part), flip="average" if part.trials[0] > 5 else "none")

        with pytest.raises(EvaluationError, match="differ in flip averaging: average, none; make them alike"):
            measure(regdb_split(trial=0), mixed)

    def test_merging_what_does_not_belong_together(self, make: Callable[[Protocol], Case]) -> None:
        one = measure(regdb_split(trial=1), make).result
        with pytest.raises(
            EvaluationError, match=r"found results of the splits \(1, 1\); the protocol asks for"
        ):
            merge(regdb_split(trial=0), [one, one])
        both = replace(regdb_split(), trials=(1, 2))
        two = replace(measure(regdb_split(trial=2), make).result, synthetic=True)
        with pytest.raises(EvaluationError, match="some splits are of drawn images and some are not"):
            merge(both, [one, two])
