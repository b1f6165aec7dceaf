"""Being told how far an evaluation is, and ending it in between."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.datasets.split import Dataset, Split
from vireid.evaluation import evaluate as evaluation
from vireid.evaluation import report
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case, measure
from vireid.evaluation.protocol import Protocol, Rerank
from vireid.evaluation.protocols import preset
from vireid.types import Modality, Sample

QUERIES, FOUND, DIM = 100, 60, 8


@pytest.fixture
def case() -> Case:
    random = np.random.default_rng(3)

    def samples(modality: Modality, count: int) -> tuple[Sample, ...]:
        return tuple(Sample(Path(f"{modality.word}/{n}"), n % 20, n % 3, modality) for n in range(count))

    dataset = Dataset(
        name="folder",
        root=Path(),
        train=Split("train", ()),
        query=Split("query", samples(Modality.INFRARED, QUERIES)),
        gallery=Split("gallery", samples(Modality.VISIBLE, FOUND)),
    )
    q, g = (random.standard_normal((n, DIM)) for n in (QUERIES, FOUND))
    q, g = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q, g))
    return Case(dataset, Features(q, g), given=True)


def protocol(rerank: Rerank | None) -> Protocol:
    return replace(preset("folder", rule="none"), rerank=rerank)


@pytest.mark.parametrize("rerank", [None, Rerank(candidates=10)], ids=["plain", "re-ranked"])
def test_every_query_is_told_once_and_blocks_change_nothing(
    case: Case, rerank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(protocol(rerank), lambda _: case)
    monkeypatch.setattr(evaluation, "_BLOCK", 7 * FOUND)
    monkeypatch.setattr(evaluation, "_RERANKED", 7)
    told: list[int] = []
    blocks = measure(protocol(rerank), lambda _: case, advance=told.append)
    assert told == [7] * 14 + [2]
    assert report.to_json(report.document(blocks)) == report.to_json(report.document(whole))


def test_the_published_re_ranking_is_one_block(case: Case) -> None:
    told: list[int] = []
    measure(protocol(Rerank()), lambda _: case, advance=told.append)
    assert told == [QUERIES]


@pytest.mark.parametrize("rerank", [None, Rerank(candidates=10)], ids=["plain", "re-ranked"])
def test_what_it_raises_ends_the_evaluation(case: Case, rerank: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_BLOCK", 10 * FOUND)
    monkeypatch.setattr(evaluation, "_RERANKED", 10)
    told: list[int] = []

    def until_thirty(queries: int) -> None:
        told.append(queries)
        if sum(told) >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(protocol(rerank), lambda _: case, advance=until_thirty)
    assert told == [10, 10, 10]
