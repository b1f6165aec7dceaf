"""Evaluation of a gallery in the server, against measures worked by hand in the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.gallery import Gallery
from index.records import Enrolment
from index.store import GalleryStore
from server import evaluations
from server.evaluations import EvaluationRequest
from server.jobs import Job
from vireid.errors import EvaluationError
from vireid.types import ItemMeta, Modality

DIM = 6
SEEN = [(Modality.VISIBLE, "2"), (Modality.VISIBLE, "3"), (Modality.INFRARED, "3"), (Modality.INFRARED, "6")]


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    store = GalleryStore(tmp_path, "ab" * 32, DIM, "exact")
    yield store.create("yard")
    store.close()


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    """10 people, seen twice by day (cameras 2 and 3) and twice by night (cameras 3 and 6), noisily."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((10, DIM))
    batch = []
    for person, centre in enumerate(centres):
        for modality, camera in SEEN:
            vector = centre + 1.2 * random.standard_normal(DIM)
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            meta = ItemMeta(person=f"p{person}", camera=camera)
            batch.append(enrolment(f"{person}-{modality.word}-{camera}", modality, meta, vector))
    batch.append(enrolment("nobody", Modality.VISIBLE, ItemMeta(), np.eye(DIM, dtype=np.float32)[0]))
    gallery.enroll(batch)
    return gallery


def enrolment(item_id: str, modality: Modality, meta: ItemMeta, vector: Any) -> Enrolment:
    return Enrolment(item_id, modality, meta, "00" * 32, vector, None, None)


def by_hand(gallery: Gallery, keep: Callable[[str, str, bool], bool]) -> dict[str, float]:
    """Rank by similarity, one query at a time, in plain Python."""
    labelled = gallery.labelled()
    rows = list(zip(labelled.persons, labelled.cameras, labelled.modalities, labelled.vectors, strict=True))
    precisions, inverses, firsts = [], [], []
    for person, camera, modality, vector in rows:
        if modality != Modality.INFRARED:
            continue
        found = [
            (float(vector @ other), name == person)
            for name, place, kind, other in rows
            if kind == Modality.VISIBLE and keep(camera, place, name == person)
        ]
        right = [same for _, same in sorted(found, key=lambda pair: -pair[0])]
        places = [rank for rank, same in enumerate(right, start=1) if same]
        if not places:
            continue
        precisions.append(np.mean([n / rank for n, rank in enumerate(places, start=1)]))
        inverses.append(len(places) / places[-1])
        firsts.append(places[0])
    return {
        "mAP": float(np.mean(precisions)),
        "mINP": float(np.mean(inverses)),
        "rank1": float(np.mean([place == 1 for place in firsts])),
        "n": len(firsts),
    }


RULES: list[tuple[Any, Callable[[str, str, bool], bool]]] = [
    ("none", lambda _asks, _place, _same: True),
    ("market", lambda asks, place, same: not (same and asks == place)),
    ("sysu", lambda asks, place, _same: not (asks == "3" and place == "2")),
]


@pytest.mark.parametrize(("rule", "keep"), RULES, ids=[rule for rule, _ in RULES])
async def test_as_worked_by_hand(filled: Gallery, rule: Any, keep: Any) -> None:
    job = Job("x", "evaluation")
    found = await evaluations.run(filled, EvaluationRequest("yard", rule=rule, cmc="image"), job)
    expected = by_hand(filled, keep)
    assert found["mAP"] == pytest.approx(expected["mAP"])
    assert found["mINP"] == pytest.approx(expected["mINP"])
    assert found["rank"]["1"] == pytest.approx(expected["rank1"])
    assert found["n_valid"] == expected["n"] == 20
    assert (found["queries"], found["gallery_items"], found["persons"]) == (20, 20, 10)
    assert 0.1 < found["mAP"] < 0.99  # neither trivial
    assert set(found["rank"]) == {"1", "5", "10", "20"}
    assert (job.done, job.total) == (1, 1)


async def test_the_choices_are_told_in_words(filled: Gallery) -> None:
    request = EvaluationRequest("yard", Modality.VISIBLE, Modality.INFRARED, rule="sysu", cmc="identity")
    found = await evaluations.run(filled, request, Job("x", "evaluation"))
    for words in ("visible item asks", "camera 2 is left out", "CMC by identity"):
        assert words in found["protocol"]
    assert found["gallery_version"] == filled.info().version


async def test_nothing_to_evaluate(gallery: Gallery) -> None:
    with pytest.raises(EvaluationError, match="enrol items with a person"):
        await evaluations.run(gallery, EvaluationRequest("yard"), Job("x", "evaluation"))


async def test_more_than_a_server_should_hold(filled: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "MAX_PAIRS", 399)
    with pytest.raises(EvaluationError, match="vireid evaluate"):
        await evaluations.run(filled, EvaluationRequest("yard"), Job("x", "evaluation"))
