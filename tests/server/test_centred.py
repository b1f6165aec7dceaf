"""A centred gallery through the service: every way of asking is of its space, and nothing is called probable there."""

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from index.centring import learn
from index.gallery import Gallery
from index.rows import Enrolment
from server import asking, evaluations
from server.answers import ImageQuery, ItemQuery, SearchRequest, Together, VectorQuery
from server.evaluations import EvaluationRequest
from server.jobs import Job
from tests.server.test_ranking import manifest as calibrated
from vireid.arrays import Float32Array, Float64Array
from vireid.calibration import Calibration, PairCalibration
from vireid.errors import FailedPrecondition
from vireid.evaluation import rerank
from vireid.evaluation.protocol import Rerank
from vireid.types import Filter, ItemMeta, Modality

Make = Callable[..., Any]
Draw = Callable[..., bytes]
DIM, PEOPLE = 8, 40
STRENGTH = 0.8
PAIR = {
    "images": 8,
    "people": 4,
    "hits": 10,
    "scores": (-1.0, 1.0),
    "probabilities": (0.0, 1.0),
    "rates": (0.1,),
    "thresholds": (0.5,),
}
CALIBRATION = Calibration(
    pairs=tuple(
        PairCalibration(query=one, gallery=other, **PAIR)  # type: ignore[arg-type]
        for one in ("visible", "infrared")
        for other in ("visible", "infrared")
    )
)


def leaning(person: object, modality: Modality) -> Float32Array:
    seed = zlib.crc32(str(person).encode())
    random, same = np.random.default_rng([seed, int(modality)]), np.random.default_rng(seed)
    row = same.standard_normal(DIM) + 0.3 * random.standard_normal(DIM) + 3 * np.eye(DIM)[int(modality)]
    moved: Float32Array = (row / np.linalg.norm(row)).astype(np.float32)
    return moved


@pytest.fixture
async def yard(make: Make) -> Any:
    """Forty people in both modalities."""
    made = make(manifest=calibrated(CALIBRATION))
    await made.service.create_gallery("yard")
    made.service.gallery("yard").enroll(
        [
            Enrolment(
                f"{modality.word}-{person}",
                modality,
                ItemMeta(f"p{person}", f"c{person % 3}"),
                f"{2 * person + int(modality):064x}",
                leaning(person, modality),
            )
            for person in range(PEOPLE)
            for modality in Modality
        ]
    )
    return made


def centre(made: Any, strength: float = STRENGTH) -> Gallery:
    gallery: Gallery = made.service.gallery("yard")
    gallery.centre(learn(gallery.records).centres(strength))
    return gallery


class Oracle:
    """The gallery's rows, centred by means that are taken here."""

    def __init__(self) -> None:
        self.means = {
            kind: np.mean([leaning(person, kind).astype(np.float64) for person in range(PEOPLE)], axis=0)
            for kind in Modality
        }
        self.names = [f"{kind.word}-{person}" for person in range(PEOPLE) for kind in Modality]
        self.rows = np.stack(
            [self.centred(leaning(person, kind), kind) for person in range(PEOPLE) for kind in Modality]
        )

    def centred(self, row: Float32Array, kind: Modality) -> Float64Array:
        moved: Float64Array = row.astype(np.float64) - STRENGTH * self.means[kind]
        moved /= np.linalg.norm(moved)
        return moved

    def agrees(self, answer: Any, query: Float64Array, among: Sequence[str] | None = None) -> None:
        scores = {
            name: float(row @ query)
            for name, row in zip(self.names, self.rows, strict=True)
            if among is None or name in among
        }
        expected = sorted(scores, key=lambda name: -scores[name])[: len(answer.hits)]
        assert [hit.item.item_id for hit in answer.hits] == expected
        np.testing.assert_allclose(
            [hit.score for hit in answer.hits], [scores[name] for name in expected], atol=1e-5
        )


async def ask(made: Any, query: Any, **more: Any) -> Any:
    answer = await made.service.search(SearchRequest("yard", query, **more))
    centres = made.service.gallery("yard").centres
    assert answer.centring == (centres.number if centres else 0)
    return answer


def direction(row: Float64Array) -> Float64Array:
    unit: Float64Array = row / np.linalg.norm(row)
    return unit


async def test_images_items_and_vectors_are_searched_in_the_galleries_space(yard: Any, draw: Draw) -> None:
    centre(yard)
    oracle = Oracle()
    for kind in Modality:
        row = leaning("stranger", kind)
        oracle.agrees(
            await ask(yard, VectorQuery(row, yard.service.space_id, kind)), oracle.centred(row, kind)
        )
        itself = await ask(yard, ItemQuery(f"{kind.word}-7"))
        assert itself.hits[0].score == pytest.approx(1, abs=1e-6)
        oracle.agrees(itself, oracle.centred(leaning(7, kind), kind))
        picture = ImageQuery(draw(5), kind)
        embedded = await yard.service.embed(picture)  # as it came, whatever is centred
        oracle.agrees(await ask(yard, picture), oracle.centred(embedded.vector, kind))


async def test_queries_of_two_modalities_are_centred_each_by_its_own(yard: Any) -> None:
    centre(yard)
    oracle = Oracle()
    day, night = leaning("stranger", Modality.VISIBLE), leaning("stranger", Modality.INFRARED)
    space = yard.service.space_id
    first = VectorQuery(day, space, Modality.VISIBLE)
    other = VectorQuery(night, space, Modality.INFRARED)
    both = [oracle.centred(day, Modality.VISIBLE), oracle.centred(night, Modality.INFRARED)]
    mean = await ask(yard, first, together=Together((other,), (1.0, 3.0)))
    oracle.agrees(mean, direction((both[0] + 3 * both[1]) / 4))
    best = await ask(yard, first, together=Together((other,), by="best"), top_k=1)
    assert best.hits[0].score == pytest.approx(
        float(max((oracle.rows @ one).max() for one in both)), abs=1e-5
    )


async def test_examples_move_it_within_the_galleries_space(yard: Any) -> None:
    centre(yard)
    oracle = Oracle()
    rows = dict(zip(oracle.names, oracle.rows, strict=True))
    answer = await ask(
        yard,
        ItemQuery("visible-1"),
        more_like=("infrared-2", "visible-3"),
        less_like=("infrared-4",),
        top_k=20,
    )
    moved = (
        rows["visible-1"] + 0.75 * (rows["infrared-2"] + rows["visible-3"]) / 2 - 0.15 * rows["infrared-4"]
    )
    oracle.agrees(answer, direction(moved), [name for name in oracle.names if name != "infrared-4"])
    turned = await ask(yard, ItemQuery("visible-1"), other_modality_first=True, top_k=40)
    oracle.agrees(turned, rows["visible-1"], [name for name in oracle.names if "infrared" in name])


async def test_a_new_order_is_made_within_the_galleries_space(yard: Any) -> None:
    centre(yard)
    oracle = Oracle()
    rows = dict(zip(oracle.names, oracle.rows, strict=True))
    order = Rerank(6, 3, 0.3, 30)
    plain = await ask(yard, ItemQuery("visible-1"), top_k=30)
    turned = await ask(yard, ItemQuery("visible-1"), top_k=30, rerank=order)
    found = np.stack([rows[hit.item.item_id] for hit in plain.hits]).astype(np.float32)
    expected = rerank.search(rows["visible-1"].astype(np.float32), found, order).order
    assert [hit.item.item_id for hit in turned.hits] == [plain.hits[at].item.item_id for at in expected]


async def test_no_hit_has_a_probability_and_the_answer_says_why(yard: Any) -> None:
    before = await ask(yard, ItemQuery("visible-1"))
    assert all(hit.probability is not None for hit in before.hits)
    gallery = centre(yard)
    centred = await ask(yard, ItemQuery("visible-1"))
    assert all(hit.probability is None for hit in centred.hits)
    (warning,) = centred.warnings
    assert warning.code == "CENTRED_NOT_CALIBRATED"
    assert f"since version {gallery.info().version}" in warning.message
    # where there is none anyway, nothing is said
    moved = await ask(yard, ItemQuery("visible-1"), more_like=("visible-2",))
    assert not moved.warnings
    with pytest.raises(FailedPrecondition, match="centred since version") as caught:
        await ask(yard, ItemQuery("visible-1"), min_probability=0.5)
    assert caught.value.stable_reason == "NOT_CALIBRATED"
    gallery.uncentre()
    again = await ask(yard, ItemQuery("visible-1"))
    assert (again.hits, again.warnings) == (before.hits, ())
    assert (await ask(yard, ItemQuery("visible-1"), min_probability=0.5)).hits


@pytest.mark.parametrize("first", [True, False])
async def test_a_switch_in_between_is_asked_anew(
    yard: Any, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """Also where it comes between the two parts of an answer."""
    expected = {}
    gallery = centre(yard)
    for number in (1, 0):
        expected[number] = (await ask(yard, ItemQuery("visible-1"), other_modality_first=True, top_k=60)).hits
        if number:
            gallery.uncentre()
    assert expected[0] != expected[1]
    search, calls = Gallery.search, []

    def switching(self: Gallery, *asked: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == (1 if first else 2):
            centre(yard)
        return search(self, *asked, **named)

    monkeypatch.setattr(Gallery, "search", switching)
    answer = await ask(yard, ItemQuery("visible-1"), other_modality_first=True, top_k=60)
    assert answer.hits == expected[1]
    assert len(calls) == (3 if first else 4)


async def test_a_gallery_that_never_rests_is_refused_in_the_end(
    yard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre(yard)
    found = asking.found

    def switching(*asked: Any, **named: Any) -> Any:
        centre(yard)
        return found(*asked, **named)

    monkeypatch.setattr("server.finding.asking.found", switching)
    with pytest.raises(FailedPrecondition) as caught:
        await yard.service.search(SearchRequest("yard", ItemQuery("visible-1")))
    assert caught.value.stable_reason == "CENTRING_CHANGED"


async def test_an_evaluation_measures_what_is_searched(yard: Any) -> None:
    request = EvaluationRequest("yard", Modality.INFRARED, Modality.VISIBLE)
    gallery = centre(yard)
    job = Job("1", "evaluation")
    told = await evaluations.run(gallery, gallery, request, job)
    oracle = Oracle()
    day, night = oracle.rows[::2], oracle.rows[1::2]
    ranks = [(np.argsort(-(day @ row)) == at).argmax() + 1 for at, row in enumerate(night)]
    assert told["mAP"] == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-9)
    written = json.loads(job.documents["report.json"])
    assert written["galleries"]["gallery"]["centring"] == gallery.info().version


async def test_min_score_and_filters_hold_for_centred_scores(yard: Any) -> None:
    centre(yard)
    every = await ask(yard, ItemQuery("infrared-1"), filter=Filter(modalities=(Modality.VISIBLE,)), top_k=40)
    middle = every.hits[9].score
    some = await ask(
        yard,
        ItemQuery("infrared-1"),
        filter=Filter(modalities=(Modality.VISIBLE,)),
        top_k=40,
        min_score=middle,
    )
    assert some.hits == every.hits[:10]
