"""The figures of ranked hits, against the evaluator's on the same similarities."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import accuracy
from clients.accuracy import Accuracy, CmcLevel, Rule
from clients.options import one_of
from clients.replies import SearchReply, Timing
from vireid.errors import EvaluationError, SettingsError
from vireid.evaluation import metrics
from vireid.image_folder import Entry
from vireid.types import Hit, Item, ItemMeta, Modality

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES: tuple[Rule, ...] = ("sysu", "market", "none")
LEVELS: tuple[CmcLevel, ...] = ("identity", "image")


def _entry(name: str, person: int, camera: int, modality: Modality = Modality.VISIBLE) -> Entry:
    return Entry(Path(name), name, modality, ItemMeta(person=str(person), camera=str(camera)))


def _reply(
    gallery: Sequence[Entry], scores: Sequence[float], depth: int, shuffle: random.Random
) -> SearchReply:
    """Answer as a server does that has its own order of equal scores."""
    found = list(zip(gallery, scores, strict=True))
    shuffle.shuffle(found)
    found.sort(key=lambda pair: -pair[1])
    hits = tuple(
        Hit(rank, score, Item(entry.item_id, Modality.VISIBLE, entry.meta, "00", False, NOW))
        for rank, (entry, score) in enumerate(found[:depth], start=1)
    )
    return SearchReply(hits, Modality.INFRARED, 1.0, (), len(scores), len(scores), "s", 1, Timing())


def _labels(entries: Sequence[Entry]) -> metrics.Labels:
    return metrics.Labels(
        np.asarray([int(entry.meta.person) for entry in entries]),
        np.asarray([int(entry.meta.camera) for entry in entries]),
    )


def _agrees(found: Accuracy, truth: metrics.Scores) -> None:
    assert (found.scored, found.queries) == (truth.n_valid, truth.n_query)
    assert found.mean_ap == pytest.approx(truth.mean_ap, abs=1e-12)
    assert found.mean_inp == pytest.approx(truth.mean_inp, abs=1e-12)
    assert dict(found.rank) == pytest.approx({k: truth.rank(k) for k in accuracy.RANKS}, abs=1e-12)


@given(
    seed=st.integers(0, 2**32),
    rule=st.sampled_from(RULES),
    cmc=st.sampled_from(LEVELS),
    levels=st.sampled_from([2, 5, 10**6]),
)
def test_agrees_with_the_evaluation(seed: int, rule: Rule, cmc: CmcLevel, levels: int) -> None:
    """Few levels make many equal scores; few persons and cameras make excluded and missing matches."""
    draw = random.Random(seed)
    queries = [_entry(f"q{i}", draw.randrange(5), draw.randint(1, 4)) for i in range(draw.randint(1, 6))]
    gallery = [_entry(f"g{i}", draw.randrange(4), draw.randint(1, 4)) for i in range(draw.randint(1, 30))]
    similarity = np.asarray([[draw.randrange(levels) / levels for _ in gallery] for _ in queries])
    replies = [_reply(gallery, row.tolist(), len(gallery), draw) for row in similarity]
    asked = {"rule": rule, "cmc": cmc}
    try:
        truth = metrics.scores(similarity, _labels(queries), _labels(gallery), rule=rule, cmc=cmc)
    except EvaluationError:
        with pytest.raises(EvaluationError, match="no query's person"):
            accuracy.score(queries, gallery, replies, rule=rule, cmc=cmc, depth=len(gallery))
        return
    found = accuracy.score(queries, gallery, replies, rule=rule, cmc=cmc, depth=len(gallery))
    _agrees(found, truth)
    assert found.complete
    assert {"rule": found.rule, "cmc": found.cmc} == asked


@given(st.integers(0, 2**32), st.sampled_from(RULES), st.sampled_from(LEVELS))
def test_fewer_hits_never_flatter(seed: int, rule: Rule, cmc: CmcLevel) -> None:
    draw = random.Random(seed)
    queries = [_entry(f"q{i}", draw.randrange(3), 9) for i in range(4)]
    gallery = [_entry(f"g{i}", i % 3, draw.randint(1, 4)) for i in range(12)]
    depth = draw.randint(1, 11)
    scores = [[draw.random() for _ in gallery] for _ in queries]
    whole, part = (
        accuracy.score(
            queries, gallery, [_reply(gallery, row, k, draw) for row in scores], rule=rule, cmc=cmc, depth=k
        )
        for k in (12, depth)
    )
    assert whole.complete
    assert not part.complete
    assert part.mean_ap <= whole.mean_ap
    assert part.mean_inp <= whole.mean_inp
    assert all(part.rank[k] <= whole.rank[k] for k in accuracy.RANKS)


def test_matches_beyond_the_hits_count_as_not_found() -> None:
    gallery = [_entry(f"g{i}", person, 1) for i, person in enumerate([1, 2, 1])]
    short = [_reply(gallery, [0.9, 0.8, 0.1], 2, random.Random(0))]
    scored = accuracy.score([_entry("q", 1, 9)], gallery, short, rule="market", cmc="image", depth=2)
    assert (scored.mean_ap, scored.mean_inp, scored.rank[1]) == (0.5, 0.0, 1.0)


def test_a_failed_query_finds_nobody() -> None:
    queries = [_entry("q0", 1, 9), _entry("q1", 1, 9)]
    gallery = [_entry("g", 1, 1)]
    replies = [None, _reply(gallery, [0.5], 1, random.Random(0))]
    scored = accuracy.score(queries, gallery, replies, rule="none", cmc="image", depth=1)
    assert (scored.mean_ap, scored.rank[20], scored.scored) == (0.5, 0.5, 2)


def test_words() -> None:
    assert one_of("", accuracy.RULES, "sysu", "--rule") == "sysu"
    assert one_of("none", accuracy.RULES, "sysu", "--rule") == "none"
    assert one_of("", accuracy.LEVELS, "image", "--cmc") == "image"
    assert one_of("identity", accuracy.LEVELS, "image", "--cmc") == "identity"
    with pytest.raises(SettingsError, match="sysu, market, none"):
        one_of("mars", accuracy.RULES, "sysu", "--rule")
    with pytest.raises(SettingsError, match="identity, image"):
        one_of("pixel", accuracy.LEVELS, "image", "--cmc")
