import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import benchmark
from clients.benchmark import Asked
from clients.replies import SearchReply, Timing
from vireid.errors import EvaluationError
from vireid.evaluation import metrics
from vireid.image_folder import Entry
from vireid.types import Hit, Item, ItemMeta, Modality

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _entry(name: str, person: int, camera: int, modality: Modality) -> Entry:
    return Entry(Path(name), name, modality, ItemMeta(person=f"p{person}", camera=f"c{camera}"))


def _reply(entries: list[Entry], scores: list[float]) -> SearchReply:
    hits = tuple(
        Hit(rank, score, Item(entry.item_id, Modality.VISIBLE, entry.meta, "00", False, NOW))
        for rank, (entry, score) in enumerate(zip(entries, scores, strict=True), start=1)
    )
    return SearchReply(hits, Modality.INFRARED, 1.0, (), len(entries), len(entries), "s", 1, Timing())


@given(st.integers(0, 10_000))
def test_agrees_with_the_evaluation(seed: int) -> None:
    draw = random.Random(seed)
    queries = [
        _entry(f"q{i}", draw.randrange(4), draw.randrange(3), Modality.INFRARED)
        for i in range(draw.randint(1, 6))
    ]
    gallery = [
        _entry(f"g{i}", draw.randrange(4), draw.randrange(3), Modality.VISIBLE)
        for i in range(draw.randint(1, 12))
    ]
    similarity = np.asarray([[draw.random() for _ in gallery] for _ in queries], dtype=np.float32)
    asked = []
    for row in similarity:
        order = np.argsort(-row)
        asked.append(Asked(0.1, _reply([gallery[i] for i in order], [float(row[i]) for i in order])))

    def labels(entries: list[Entry]) -> metrics.Labels:
        person = np.asarray([int(entry.meta.person[1:]) for entry in entries])
        return metrics.Labels(person, np.asarray([int(entry.meta.camera[1:]) for entry in entries]))

    try:
        truth = metrics.scores(similarity, labels(queries), labels(gallery), rule="market", cmc="image")
    except EvaluationError:
        with pytest.raises(EvaluationError):
            benchmark.accuracy(queries, gallery, asked, len(gallery))
        return
    found = benchmark.accuracy(queries, gallery, asked, len(gallery))
    assert found.queries == truth.n_valid
    assert found.complete
    assert found.mean_ap == pytest.approx(truth.mean_ap, abs=1e-6)
    for k, share in found.rank.items():
        assert share == pytest.approx(float(truth.cmc[min(k, len(truth.cmc)) - 1]), abs=1e-6)


def test_hits_that_were_not_asked_for_count_as_not_found() -> None:
    query = _entry("q", 1, 9, Modality.INFRARED)
    gallery = [_entry(f"g{i}", person, 1, Modality.VISIBLE) for i, person in enumerate([1, 2, 1])]
    short = [Asked(0.1, _reply(gallery[:2], [0.9, 0.8]))]
    scored = benchmark.accuracy([query], gallery, short, depth=2)
    assert scored.mean_ap == pytest.approx(0.5)
    assert not scored.complete


def test_a_failed_query_finds_nobody() -> None:
    query = _entry("q", 1, 9, Modality.INFRARED)
    gallery = [_entry("g", 1, 1, Modality.VISIBLE)]
    scored = benchmark.accuracy([query], gallery, [Asked(0.1, None, "QUEUE_FULL")], depth=1)
    assert scored.mean_ap == 0.0
    assert scored.rank[10] == 0.0


def test_nothing_to_score() -> None:
    query = _entry("q", 1, 9, Modality.INFRARED)
    with pytest.raises(EvaluationError, match="no query's person"):
        benchmark.accuracy([query], [_entry("g", 2, 1, Modality.VISIBLE)], [Asked(0.1, None)], depth=1)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_percentile_agrees_with_numpy(values: list[float], share: float) -> None:
    expected = np.percentile(values, share * 100, method="inverted_cdf")
    assert benchmark.percentile(values, share) == pytest.approx(float(expected))


def test_errors_do_not_count_as_latency() -> None:
    answered = Asked(0.010, _reply([], []))
    failed = Asked(9.0, None, "QUEUE_FULL")
    assert benchmark.latency_ms([answered, failed])["max"] == pytest.approx(10.0)
    assert benchmark.latency_ms([failed]) == {}
    assert benchmark.stages_ms([failed]) == {}
