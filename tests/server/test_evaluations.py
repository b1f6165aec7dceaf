"""Evaluation of a gallery in the server, against measures worked by hand in the test."""

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.gallery import Gallery
from index.records import Enrolment
from index.store import GalleryStore
from server import evaluations, labelled
from server.evaluations import EvaluationRequest
from server.illustrated import GalleryAlbum
from server.jobs import Job, JobBoard
from vireid.errors import EvaluationError, FailedPrecondition
from vireid.evaluation import evaluate, npz_case, report
from vireid.evaluation.measure import measure
from vireid.evaluation.protocol import Rerank
from vireid.evaluation.protocols import preset
from vireid.types import ItemMeta, Modality

DIM = 6
WAIT_S = 20.0
SEEN = [(Modality.VISIBLE, "2"), (Modality.VISIBLE, "3"), (Modality.INFRARED, "3"), (Modality.INFRARED, "6")]


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    store = GalleryStore(tmp_path, "ab" * 32, DIM, "exact")
    yield store.create("yard")
    store.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Gallery]:
    store = GalleryStore(tmp_path / "other", "ab" * 32, DIM, "exact")
    yield store.create("asks")
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
    found, job = await evaluated(filled, EvaluationRequest("yard", rule=rule, cmc="image"))
    expected = by_hand(filled, keep)
    assert found["mAP"] == pytest.approx(expected["mAP"])
    assert found["mINP"] == pytest.approx(expected["mINP"])
    assert found["rank"]["1"] == pytest.approx(expected["rank1"])
    assert found["n_valid"] == expected["n"] == 20
    assert (found["queries"], found["gallery_items"], found["persons"]) == (20, 20, 10)
    assert 0.1 < found["mAP"] < 0.99  # neither trivial
    assert set(found["rank"]) == {"1", "5", "10", "20"}
    assert (job.done, job.total) == (20, 20)


CHOICES: list[tuple[Any, Any, Rerank | None]] = [
    ("none", "identity", None),
    ("market", "image", None),
    ("sysu", "identity", None),
    ("none", "image", Rerank(k1=4, k2=2, candidates=8)),
]


@pytest.mark.parametrize(("rule", "cmc", "rerank"), CHOICES)
async def test_the_scores_are_those_of_vireid_evaluate(
    filled: Gallery, tmp_path: Path, rule: Any, cmc: Any, rerank: Rerank | None
) -> None:
    """The same vectors in two files, through what the command runs: the same bytes of scores."""
    files = [written(filled, modality, tmp_path) for modality in (Modality.INFRARED, Modality.VISIBLE)]
    protocol = replace(preset("folder", rule=rule, cmc=cmc), rerank=rerank)
    offline = measure(protocol, lambda p: npz_case.of_files(*files, p))
    _, job = await evaluated(filled, EvaluationRequest("yard", rule=rule, cmc=cmc, rerank=rerank))
    served, own = json.loads(job.documents["report.json"]), report.document(offline)
    for part in ("mean", "std", "cmc", "trials", "code"):
        assert report.to_json({part: served[part]}) == report.to_json({part: own[part]})
    sides = [one["sources"][0]["features_sha256"] for one in (served, own)]
    assert sides[0] == sides[1]
    rows = [
        text.splitlines()[1].split(",", 1)[1]
        for text in (job.documents["report.csv"].decode(), report.to_csv(offline.result))
    ]
    assert rows[0] == rows[1]


def written(gallery: Gallery, modality: Modality, folder: Path) -> Path:
    """Write a gallery's items of a modality as a file of features."""
    all_of = gallery.labelled()
    rows = sorted(np.flatnonzero(all_of.modalities == modality), key=lambda row: all_of.item_ids[row])
    people = sorted(set(all_of.persons))
    path = folder / f"{modality.word}.npz"
    np.savez(
        path,
        features=all_of.vectors[rows],
        person=np.array([people.index(all_of.persons[row]) for row in rows]),
        camera=np.array([int(all_of.cameras[row]) for row in rows]),
        modality=np.full(len(rows), int(modality)),
        path=np.array([all_of.item_ids[row] for row in rows]),
    )
    return path


async def test_a_second_run_gives_the_same_bytes(filled: Gallery) -> None:
    request = EvaluationRequest("yard", rule="market", rerank=Rerank(candidates=5))
    first, second = [(await evaluated(filled, request))[1].documents for _ in range(2)]
    assert first == second
    told = json.loads(first["report.json"])
    assert told["galleries"]["gallery"] == {"name": "yard", "version": filled.info().version}
    (source,) = told["sources"]
    assert source["space_id"] == filled.space_id
    assert len({source["query"]["sha256"], source["gallery"]["sha256"], told["code"]["sources_sha256"]}) == 3
    filled.remove(["0-visible-2"])
    (_, changed) = await evaluated(filled, request)
    after = json.loads(changed.documents["report.json"])
    assert after["galleries"]["gallery"]["version"] == filled.info().version
    assert after["sources"][0]["gallery"]["sha256"] != source["gallery"]["sha256"]
    assert after["sources"][0]["query"]["sha256"] == source["query"]["sha256"]


async def test_another_gallery_asks(filled: Gallery, other: Gallery) -> None:
    everyone = filled.labelled()
    rows = np.flatnonzero(everyone.modalities == Modality.INFRARED)
    other.enroll(
        [
            enrolment(
                f"q{n}",
                Modality.VISIBLE,
                ItemMeta(person=everyone.persons[row], camera="9"),
                everyone.vectors[row],
            )
            for n, row in enumerate(rows)
        ]
    )
    request = EvaluationRequest("yard", Modality.VISIBLE, query_gallery="asks")
    job = Job("x", "evaluation")
    found = await evaluations.run(other, filled, request, job)
    own, _ = await evaluated(filled, EvaluationRequest("yard"))
    for name in ("mAP", "mINP", "rank", "queries", "gallery_items"):
        assert found[name] == own[name]
    assert json.loads(job.documents["report.json"])["galleries"]["query"]["name"] == "asks"
    assert "of gallery asks ask" in found["protocol"]


async def test_the_choices_are_told_in_words(filled: Gallery) -> None:
    request = EvaluationRequest(
        "yard", Modality.VISIBLE, Modality.INFRARED, rule="sysu", rerank=Rerank(candidates=7)
    )
    found, _ = await evaluated(filled, request)
    for words in (
        "visible items of gallery yard ask",
        "camera 2",
        "ranks count persons",
        "the first 7 candidates",
    ):
        assert words in found["protocol"]
    assert found["gallery_version"] == filled.info().version


# ---- pictures ------------------------------------------------------------------
def shown(gallery: Gallery, item_id: str, shade: int) -> None:
    """Give an item a picture of one shade."""
    out = io.BytesIO()
    Image.new("L", (16, 32), shade).save(out, "JPEG")
    item, vector, data = gallery.item(item_id), gallery.vector(item_id), out.getvalue()
    gallery.enroll(
        [Enrolment(item_id, item.modality, item.meta, hashlib.sha256(data).hexdigest(), vector, data, data)]
    )


def test_the_album_tells_galleries_apart_whose_items_are_alike(filled: Gallery, other: Gallery) -> None:
    item = filled.item("1-visible-2")
    other.enroll([enrolment("1-visible-2", item.modality, item.meta, filled.vector("1-visible-2"))])
    shown(filled, "1-visible-2", 50)
    shown(other, "1-visible-2", 200)
    query, gallery = (labelled.side(one.labelled(), Modality.VISIBLE) for one in (other, filled))
    case = labelled.test_set(query, gallery, "")
    album = GalleryAlbum(
        (case.dataset.query, other, query.item_ids, query.cameras),
        (case.dataset.gallery, filled, gallery.item_ids, gallery.cameras),
    )
    asks = case.dataset.query.samples[0]
    place = gallery.item_ids.index("1-visible-2")
    finds = case.dataset.gallery.samples[place]
    assert asks == finds  # nothing that a sample says tells them apart
    for sample, shade in ((asks, 200), (finds, 50)):
        picture = album.image(sample)
        assert picture is not None
        assert abs(int(picture.mean()) - shade) < 3
        assert album.camera(sample) == "2"
    assert album.image(case.dataset.gallery.samples[place + 1]) is None  # none is kept
    filled.remove(["1-visible-2"])
    assert album.image(finds) is None


# ---- a job that is stopped -----------------------------------------------------
@dataclass
class Held:
    """The real work, which waits after each block until it is let go."""

    began: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    blocks: int = 0

    def measure(self, protocol: Any, make: Any, advance: Callable[[int], None]) -> Any:
        def slowly(queries: int) -> None:
            self.blocks += 1
            advance(queries)
            self.began.set()
            assert self.go.wait(WAIT_S)

        return measure(protocol, make, advance=slowly)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(evaluations, "measure", held.measure)
    monkeypatch.setattr(evaluate, "_BLOCK", 5 * 20)  # five queries
    return held


async def test_a_cancelled_job_stops_within_a_block(filled: Gallery, held: Held) -> None:
    board = JobBoard(1)
    work = partial(evaluations.run, filled, filled, EvaluationRequest("yard"))
    job = board.start("evaluation", work, lambda: None)
    assert await asyncio.to_thread(held.began.wait, WAIT_S)
    assert (job.state, job.done, job.total) == ("running", 5, 20)
    with pytest.raises(FailedPrecondition, match="5 of 20 queries") as early:
        evaluations.document(job, "report.json")
    assert early.value.stable_reason == "EVALUATION_NOT_DONE"
    board.cancel(job.job_id)
    assert not await board.ended(job.job_id, 0.05)  # not over before its work is
    held.go.set()
    assert await board.ended(job.job_id, WAIT_S)
    assert (job.state, job.done, held.blocks) == ("cancelled", 5, 2)
    assert job.documents == {}
    assert job.error is not None
    assert "after 5 of 20 items" in job.error.message
    with pytest.raises(FailedPrecondition, match="asked to stop") as gone:
        evaluations.document(job, "report.json")
    assert gone.value.stable_reason == "EVALUATION_CANCELLED"


async def test_a_second_cancel_changes_nothing(filled: Gallery, held: Held) -> None:
    board = JobBoard(1)
    work = partial(evaluations.run, filled, filled, EvaluationRequest("yard"))
    job = board.start("evaluation", work, lambda: None)
    assert await asyncio.to_thread(held.began.wait, WAIT_S)
    board.cancel(job.job_id)
    await asyncio.sleep(0)
    held.go.set()
    await board.drain()
    assert job.state == "cancelled"


# ---- what is refused -------------------------------------------------------------
async def test_nothing_to_evaluate(gallery: Gallery) -> None:
    with pytest.raises(EvaluationError, match="enrol items with a person"):
        await evaluated(gallery, EvaluationRequest("yard"))


async def test_one_side_only(gallery: Gallery) -> None:
    vector = np.eye(DIM, dtype=np.float32)[0]
    gallery.enroll([enrolment("a", Modality.INFRARED, ItemMeta(person="p"), vector)])
    with pytest.raises(EvaluationError, match="no labelled visible item"):
        await evaluated(gallery, EvaluationRequest("yard"))


async def test_no_query_has_a_match(gallery: Gallery) -> None:
    vectors = np.eye(DIM, dtype=np.float32)
    gallery.enroll(
        [
            enrolment("a", Modality.INFRARED, ItemMeta(person="p"), vectors[0]),
            enrolment("b", Modality.VISIBLE, ItemMeta(person="q"), vectors[1]),
        ]
    )
    with pytest.raises(EvaluationError, match="no person is in both"):
        await evaluated(gallery, EvaluationRequest("yard"))


@pytest.mark.parametrize("rule", ["none", "sysu"])
async def test_items_do_not_ask_for_themselves(filled: Gallery, rule: Any) -> None:
    request = EvaluationRequest("yard", Modality.VISIBLE, Modality.VISIBLE, rule=rule)
    with pytest.raises(EvaluationError, match="find itself"):
        await evaluated(filled, request)
    with pytest.raises(EvaluationError, match="find itself"):
        await evaluated(filled, replace(request, query_gallery="yard"))


async def test_one_modality_across_cameras(filled: Gallery) -> None:
    found, _ = await evaluated(
        filled, EvaluationRequest("yard", Modality.VISIBLE, Modality.VISIBLE, rule="market")
    )
    assert (found["n_valid"], found["gallery_items"]) == (20, 20)
    assert found["mAP"] < 1.0


async def test_rules_need_cameras(filled: Gallery) -> None:
    vector = np.eye(DIM, dtype=np.float32)[0]
    filled.enroll([enrolment("odd", Modality.VISIBLE, ItemMeta(person="p1"), vector)])
    with pytest.raises(EvaluationError, match="1 labelled items have none"):
        await evaluated(filled, EvaluationRequest("yard", rule="market"))
    filled.enroll([enrolment("odd", Modality.VISIBLE, ItemMeta(person="p1", camera="gate"), vector)])
    with pytest.raises(EvaluationError, match="'gate'"):
        await evaluated(filled, EvaluationRequest("yard", rule="sysu"))
    found, _ = await evaluated(filled, EvaluationRequest("yard", rule="market"))
    assert found["gallery_items"] == 21


@pytest.mark.parametrize(("cap", "value"), [("MAX_PAIRS", 399), ("MAX_NUMBERS", 40 * DIM - 1)])
async def test_more_than_a_server_should_hold(
    filled: Gallery, monkeypatch: pytest.MonkeyPatch, cap: str, value: int
) -> None:
    monkeypatch.setattr(evaluations, cap, value)
    with pytest.raises(EvaluationError, match="vireid evaluate features"):
        await evaluated(filled, EvaluationRequest("yard"))
    monkeypatch.setattr(evaluations, cap, value + 1)
    await evaluated(filled, EvaluationRequest("yard"))


async def test_a_failed_job_has_no_report(gallery: Gallery) -> None:
    board = JobBoard(1)
    work = partial(evaluations.run, gallery, gallery, EvaluationRequest("yard"))
    job = board.start("evaluation", work, lambda: None)
    assert await board.ended(job.job_id, WAIT_S)
    assert isinstance(job.cause, EvaluationError)
    with pytest.raises(FailedPrecondition, match="enrol items") as caught:
        evaluations.document(job, "report.csv")
    assert caught.value.stable_reason == "EVALUATION_FAILED"


async def evaluated(gallery: Gallery, request: EvaluationRequest) -> tuple[Mapping[str, Any], Job]:
    job = Job("x", "evaluation")
    return await evaluations.run(gallery, gallery, request, job), job
