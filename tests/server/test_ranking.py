"""Hits on their way to the caller: re-ranked, with a probability, or left out as too unlikely."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from index.answers import Found
from server import ranking
from server.answers import ImageQuery, ItemQuery, SearchRequest
from vireid.bundle import Manifest, ModelPart, PreprocessPart
from vireid.calibration import Calibration, PairCalibration
from vireid.errors import FailedPrecondition, InvalidRequest
from vireid.evaluation import rerank
from vireid.evaluation.protocol import Rerank
from vireid.types import Filter, Hit, Item, ItemMeta, Modality

CALIBRATION = Calibration(
    pairs=(
        PairCalibration(
            query="infrared",
            gallery="visible",
            images=8,
            people=4,
            hits=10,
            scores=(-1.0, 1.0),
            probabilities=(0.0, 1.0),
            rates=(0.1,),
            thresholds=(0.5,),
        ),
    )
)
Make = Callable[..., Any]
Draw = Callable[..., bytes]


def manifest(calibration: Calibration | None) -> Manifest:
    return Manifest(
        name="m",
        method="none",
        model=ModelPart(opset=18, dim=8),
        preprocess=PreprocessPart(height=32, width=16, mean=(0, 0, 0), std=(1, 1, 1)),
        files={"model.onnx": "0" * 64},
        calibration=calibration,
    )


async def yard(make: Make, draw: Draw, calibration: Calibration | None = CALIBRATION) -> Any:
    """Eight visible and two infrared items."""
    made = make(manifest=manifest(calibration))
    await made.service.create_gallery("yard")
    for number in range(10):
        kind = Modality.VISIBLE if number < 8 else Modality.INFRARED
        query = ImageQuery(draw(number), kind)
        await made.service.put_item("yard", f"i{number}", query, ItemMeta(f"p{number}", f"c{number % 2}"))
    return made


def night(draw: Draw, seed: int = 3) -> ImageQuery:
    return ImageQuery(draw(seed, mode="L"), Modality.INFRARED)


async def test_a_hit_has_the_probability_of_its_pair(make: Make, draw: Draw) -> None:
    made = await yard(make, draw)
    found = await made.service.search(SearchRequest("yard", night(draw)))
    assert len(found.hits) == 10
    for hit in found.hits:
        if hit.item.modality is Modality.VISIBLE:
            assert hit.probability == pytest.approx((hit.score + 1) / 2, abs=1e-6)
        else:
            assert hit.probability is None
    # the odds follow the number of visible images that were searched: four of the eight it was measured on
    half = await made.service.search(SearchRequest("yard", night(draw), filter=Filter(cameras=("c0",))))
    best = next(hit for hit in half.hits if hit.item.modality is Modality.VISIBLE)
    share = (best.score + 1) / 2
    assert best.probability == pytest.approx(2 * share / (2 * share + 1 - share), abs=1e-6)


async def test_unlikely_hits_are_left_out_and_the_rest_is_numbered_anew(make: Make, draw: Draw) -> None:
    made = await yard(make, draw)
    visible = Filter(modalities=(Modality.VISIBLE,))
    every = await made.service.search(SearchRequest("yard", night(draw), filter=visible))
    middle = sorted(hit.probability for hit in every.hits)[4]
    some = await made.service.search(
        SearchRequest("yard", night(draw), min_probability=middle, filter=visible)
    )
    assert [hit.item.item_id for hit in some.hits] == [hit.item.item_id for hit in every.hits[:4]]
    assert [hit.rank for hit in some.hits] == [1, 2, 3, 4]
    assert not some.warnings
    none = await made.service.search(SearchRequest("yard", night(draw), min_probability=1.0, filter=visible))
    assert none.hits == ()
    (warning,) = none.warnings
    assert warning.code == "NO_CONFIDENT_MATCH"
    assert f"{max(hit.probability for hit in every.hits):.2g}" in warning.message


async def test_a_probability_needs_a_calibration_of_the_pair(make: Make, draw: Draw) -> None:
    made = await yard(make, draw, calibration=None)
    found = await made.service.search(SearchRequest("yard", night(draw)))
    assert all(hit.probability is None for hit in found.hits)
    with pytest.raises(FailedPrecondition) as caught:
        await made.service.search(SearchRequest("yard", night(draw), min_probability=0.5))
    assert caught.value.stable_reason == "NOT_CALIBRATED"
    made = await yard(make, draw)
    with pytest.raises(
        FailedPrecondition, match="infrared finds visible"
    ):  # infrared hits are not calibrated
        await made.service.search(SearchRequest("yard", night(draw), min_probability=0.5))


async def test_re_ranking_reorders_the_candidates_and_keeps_their_scores(make: Make, draw: Draw) -> None:
    made = await yard(make, draw)
    plain = await made.service.search(SearchRequest("yard", ItemQuery("i0")))
    order = Rerank(k1=3, k2=2, candidates=6)
    turned = await made.service.search(SearchRequest("yard", ItemQuery("i0"), top_k=8, rerank=order))
    # the oracle: re-ranking over the vectors themselves
    gallery = made.service.gallery("yard")
    vectors = np.stack([gallery.vector(hit.item.item_id) for hit in plain.hits[:6]])
    expected = rerank.search(gallery.vector("i0"), vectors, order).order
    ids = [hit.item.item_id for hit in plain.hits]
    assert [hit.item.item_id for hit in turned.hits] == [*(ids[at] for at in expected), *ids[6:8]]
    assert [hit.rank for hit in turned.hits] == list(range(1, 9))
    scores = {hit.item.item_id: hit.score for hit in plain.hits}
    assert all(hit.score == scores[hit.item.item_id] for hit in turned.hits)
    assert 0 < turned.timing.rerank_s < turned.timing.total_s
    assert plain.timing.rerank_s == 0
    first = await made.service.search(SearchRequest("yard", ItemQuery("i0"), top_k=1, rerank=order))
    assert [hit.item.item_id for hit in first.hits] == [ids[expected[0]]]


def test_the_likely_ones_are_chosen_before_the_first_ones() -> None:
    """Re-ranking put an unlikely hit first; it takes nobody's place, and what is left is cut to the number asked for."""
    scores = (0.2, 0.9, 0.1, 0.7, 0.95, 0.8)
    item = Item("", Modality.VISIBLE, ItemMeta(), "0" * 64, True, datetime(2026, 3, 1, tzinfo=UTC))
    hits = tuple(
        Hit(rank, score, replace(item, item_id=f"i{rank}")) for rank, score in enumerate(scores, start=1)
    )
    found = Found(hits, 8, 8, 1, searched_by=np.array([8, 0]))

    def kept(top_k: int, least: float | None) -> list[tuple[int, str]]:
        request = SearchRequest("yard", ItemQuery("i1"), top_k=top_k, min_probability=least)
        answered, doubts = ranking.likely(request, Modality.INFRARED, found, CALIBRATION)
        assert not doubts
        return [(hit.rank, hit.item.item_id) for hit in answered]

    # probabilities are (score + 1) / 2
    assert kept(3, 0.8) == [(1, "i2"), (2, "i4"), (3, "i5")]
    assert kept(10, 0.8) == [(1, "i2"), (2, "i4"), (3, "i5"), (4, "i6")]
    assert kept(1, 0.97) == [(1, "i5")]
    assert kept(2, None) == [(1, "i1"), (2, "i2")]


async def test_a_probability_and_a_number_are_kept_together(make: Make, draw: Draw) -> None:
    made = await yard(make, draw)
    asked = {
        "query": night(draw),
        "filter": Filter(modalities=(Modality.VISIBLE,)),
        "rerank": Rerank(3, 2, candidates=8),
    }
    every = await made.service.search(SearchRequest("yard", top_k=8, **asked))
    middle = sorted(hit.probability for hit in every.hits)[4]
    some = await made.service.search(SearchRequest("yard", top_k=2, min_probability=middle, **asked))
    likely = [hit.item.item_id for hit in every.hits if hit.probability >= middle]
    assert len(likely) == 4
    assert [(hit.rank, hit.item.item_id) for hit in some.hits] == list(enumerate(likely[:2], start=1))


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
async def test_a_probability_out_of_range(make: Make, draw: Draw, least: float) -> None:
    made = await yard(make, draw)
    with pytest.raises(InvalidRequest, match="min_probability is 0 to 1"):
        await made.service.search(SearchRequest("yard", night(draw), min_probability=least))


@pytest.mark.parametrize("candidates", [0, 1001])
async def test_candidates_out_of_range(make: Make, draw: Draw, candidates: int) -> None:
    made = await yard(make, draw)
    request = SearchRequest("yard", night(draw), rerank=Rerank(candidates=candidates))
    with pytest.raises(InvalidRequest, match="1 to 1000 candidates"):
        await made.service.search(request)


def test_parameters_that_do_not_fit() -> None:
    with pytest.raises(InvalidRequest, match="k2 <= k1") as caught:
        ranking.parameters(10, k1=3, k2=6)
    assert caught.value.field == "rerank"


async def test_an_empty_answer_is_no_doubt(make: Make, draw: Draw) -> None:
    made = await yard(make, draw)
    nowhere = Filter(cameras=("c9",))
    found = await made.service.search(
        SearchRequest("yard", night(draw), min_probability=0.5, rerank=Rerank(candidates=5), filter=nowhere)
    )
    assert (found.hits, found.warnings) == ((), ())


@pytest.mark.parametrize(("least", "asked"), [(None, 50), (0.0, 750)])
def test_the_calibration_is_asked_once_for_each_modality(
    monkeypatch: pytest.MonkeyPatch, least: float | None, asked: int
) -> None:
    """And for no hit that is not shown, unless it decides what is shown."""
    pair = CALIBRATION.pairs[0]
    both = Calibration(pairs=(pair, pair.model_copy(update={"gallery": "infrared"})))
    now = datetime.now(UTC)
    hits = tuple(
        Hit(n + 1, 1 - n / 500, Item(f"i{n}", Modality(n % 5 == 0), ItemMeta(), "0" * 64, False, now))
        for n in range(750)
    )
    calls: list[int] = []
    probability = PairCalibration.probability

    def counted(self: PairCalibration, scores: Any, images: float | None = None) -> Any:
        calls.append(len(scores))
        return probability(self, scores, images)

    monkeypatch.setattr(PairCalibration, "probability", counted)
    found = Found(hits, 750, 750, 1, None, np.array([600, 150]))
    request = SearchRequest("g", ItemQuery("q"), top_k=50, min_probability=least)
    shown, _ = ranking.likely(request, Modality.INFRARED, found, both)
    assert (len(calls), sum(calls)) == (2, asked)
    assert [hit.item.item_id for hit in shown] == [f"i{n}" for n in range(50)]
    for hit in shown:
        images = 150 if hit.item.modality is Modality.INFRARED else 600
        alone = both.probability(np.array([hit.score]), Modality.INFRARED, hit.item.modality, images)
        assert hit.probability == pytest.approx(float(alone[0]), abs=1e-12)
