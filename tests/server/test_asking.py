"""Searches by examples, one hit a person, and without the asking item's own camera: against vectors worked out here."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from server import ranking
from server.answers import ImageQuery, ItemQuery, SearchRequest, Together, VectorQuery
from tests.server.test_ranking import CALIBRATION, manifest
from vireid.arrays import Float32Array
from vireid.errors import InvalidRequest, ItemNotFound
from vireid.types import Filter, ItemMeta, Modality

Make = Callable[..., Any]
Draw = Callable[..., bytes]


@pytest.fixture
async def yard(make: Make, draw: Draw) -> Any:
    """Twelve items: four persons, three cameras; the last two show nobody known."""
    made = make()
    await made.service.create_gallery("yard")
    for number in range(12):
        meta = ItemMeta("" if number > 9 else f"p{number % 4}", "" if number == 11 else f"c{number % 3}")
        await made.service.put_item("yard", f"i{number}", ImageQuery(draw(number), Modality.VISIBLE), meta)
    return made


def vectors(made: Any) -> dict[str, Float32Array]:
    gallery = made.service.gallery("yard")
    return {f"i{number}": gallery.vector(f"i{number}") for number in range(12)}


async def found(made: Any, query: Any = ItemQuery("i0"), **more: Any) -> Any:  # noqa: B008 - a frozen value
    return await made.service.search(SearchRequest("yard", query, **more))


def names(answer: Any) -> list[str]:
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    return [hit.item.item_id for hit in answer.hits]


async def test_one_hit_a_person_is_the_best_one(yard: Any) -> None:
    every = await found(yard, top_k=12)
    kept, seen = [], set()
    for hit in every.hits:
        if not hit.item.meta.person or hit.item.meta.person not in seen:
            kept.append((hit.item.item_id, hit.score))
            seen.add(hit.item.meta.person)
    assert len(kept) == 6  # four persons, two of nobody
    one = await found(yard, top_k=12, one_per_person=True)
    assert list(zip(names(one), (hit.score for hit in one.hits), strict=True)) == kept
    assert names(await found(yard, top_k=3, one_per_person=True)) == [name for name, _ in kept[:3]]
    assert not one.warnings


async def test_persons_that_may_be_missing_are_said(yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MAX_CANDIDATES", 3)
    few = await found(yard, top_k=10, one_per_person=True)
    assert [one.code for one in few.warnings] == ["PERSONS_INCOMPLETE"]
    assert not (await found(yard, top_k=1, one_per_person=True)).warnings
    whole = await found(
        yard, top_k=10, one_per_person=True, filter=Filter(cameras=("c0",), persons=("p0", "p1"))
    )
    assert not whole.warnings


async def test_the_own_camera_is_left_out(yard: Any) -> None:
    left = await found(yard, ItemQuery("i4"), top_k=12, exclude_own_camera=True)
    assert left.items_searched == len(left.hits) == 8
    assert "c1" not in {hit.item.meta.camera for hit in left.hits}
    both = await found(
        yard, ItemQuery("i4"), top_k=12, exclude_own_camera=True, filter=Filter(exclude_cameras=("c0",))
    )
    assert {hit.item.meta.camera for hit in both.hits} == {"c2", ""}


async def test_only_an_item_with_a_camera_has_one(yard: Any, draw: Draw) -> None:
    with pytest.raises(InvalidRequest, match="exclude_cameras"):
        await found(yard, ImageQuery(draw(0)), exclude_own_camera=True)
    with pytest.raises(InvalidRequest, match="has no camera"):
        await found(yard, ItemQuery("i11"), exclude_own_camera=True)
    with pytest.raises(ItemNotFound):
        await found(yard, ItemQuery("nobody"), exclude_own_camera=True)


async def test_examples_move_the_query_and_the_disliked_are_left_out(yard: Any) -> None:
    own = vectors(yard)
    moved = own["i0"] + 0.75 * (own["i3"] + own["i7"]) / 2 - 0.15 * own["i5"]
    moved /= np.linalg.norm(moved)
    scores = {name: float(vector @ moved) for name, vector in own.items() if name != "i5"}
    answer = await found(yard, top_k=12, more_like=("i3", "i7"), less_like=("i5",))
    assert names(answer) == sorted(scores, key=lambda name: -scores[name])
    assert [hit.score for hit in answer.hits] == pytest.approx(
        sorted(scores.values(), reverse=True), abs=1e-5
    )
    assert answer.items_searched == 11


async def test_examples_that_cannot_be(yard: Any) -> None:
    with pytest.raises(ItemNotFound):
        await found(yard, more_like=("nobody",))
    with pytest.raises(InvalidRequest, match="at most 64"):
        await found(yard, less_like=("i1",) * 65)
    with pytest.raises(InvalidRequest, match="choose one"):
        await found(yard, more_like=("i1", "i2"), less_like=("i2",))


async def test_examples_opposite_to_the_query_leave_something_of_it(yard: Any) -> None:
    own = vectors(yard)
    opposite = VectorQuery(-own["i1"], yard.service.space_id, Modality.VISIBLE)
    assert names(await found(yard, opposite, top_k=12, more_like=("i1",)))[-1] == "i1"
    steered = await found(yard, opposite, top_k=12, more_like=("i1",))
    assert steered.hits[-1].score == pytest.approx(-1.0, abs=1e-5)


async def test_a_steered_search_has_no_probability(make: Make, draw: Draw) -> None:
    made = make(manifest=manifest(CALIBRATION))
    await made.service.create_gallery("yard")
    for number in range(3):
        await made.service.put_item(
            "yard", f"i{number}", ImageQuery(draw(number), Modality.VISIBLE), ItemMeta()
        )
    query = ImageQuery(draw(1, mode="L"), Modality.INFRARED)
    assert all(hit.probability is not None for hit in (await found(made, query)).hits)
    assert all(hit.probability is None for hit in (await found(made, query, more_like=("i2",))).hits)
    with pytest.raises(InvalidRequest, match="min_score"):
        await found(made, query, less_like=("i2",), min_probability=0.5)


def asked_with(*items: str, **more: Any) -> Together:
    return Together(tuple(ItemQuery(item) for item in items), **more)


@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5), (8e307, 1.6e308, 4e307), (2e-320, 4e-320, 1e-320)])
async def test_several_queries_ask_with_their_mean(yard: Any, weights: tuple[float, ...]) -> None:
    own = vectors(yard)
    shares = (1.0, 2.0, 0.5) if weights else None
    mean = np.average([own["i0"], own["i5"], own["i8"]], axis=0, weights=shares)
    mean /= np.linalg.norm(mean)
    scores = {name: float(vector @ mean) for name, vector in own.items()}
    answer = await found(yard, top_k=12, together=asked_with("i5", "i8", weights=weights))
    assert names(answer) == sorted(scores, key=lambda name: -scores[name])
    assert [hit.score for hit in answer.hits] == pytest.approx(
        sorted(scores.values(), reverse=True), abs=1e-5
    )


@pytest.mark.parametrize("k", [1, 3, 12])
async def test_or_every_item_counts_with_its_best_score(yard: Any, k: int) -> None:
    own = vectors(yard)
    asking = np.stack([own["i0"], own["i5"], own["i8"]])
    scores = {name: float((asking @ vector).max()) for name, vector in own.items()}
    answer = await found(yard, top_k=k, together=asked_with("i5", "i8", by="best"))
    assert [hit.score for hit in answer.hits] == pytest.approx(
        sorted(scores.values(), reverse=True)[:k], abs=1e-6
    )
    assert all(scores[hit.item.item_id] == pytest.approx(hit.score, abs=1e-6) for hit in answer.hits)
    assert len(set(names(answer))) == k
    above = await found(yard, top_k=12, min_score=0.999, together=asked_with("i5", "i8", by="best"))
    assert set(names(above)) == {"i0", "i5", "i8"}


async def test_images_ask_together(yard: Any, draw: Draw) -> None:
    more = Together((ImageQuery(draw(5), Modality.VISIBLE), ItemQuery("i8")))
    by_image = await found(yard, ImageQuery(draw(0), Modality.VISIBLE), top_k=12, together=more)
    by_item = await found(yard, top_k=12, together=asked_with("i5", "i8"))
    assert names(by_image) == names(by_item)
    assert by_image.timing.batch_size >= 1
    night = Together((ImageQuery(draw(5), Modality.INFRARED), ImageQuery(draw(5), Modality.INFRARED)))
    warned = await found(yard, ImageQuery(draw(0), Modality.VISIBLE), together=night)
    assert [one.code for one in warned.warnings] == ["MODALITY_MISMATCH"]  # once, though two have it
    assert warned.modality is Modality.VISIBLE


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"together": asked_with()}, "2 to 16"),
        ({"together": asked_with(*["i1"] * 16)}, "2 to 16"),
        ({"together": asked_with("i1", weights=(1.0,))}, "above 0 for each"),
        ({"together": asked_with("i1", weights=(1.0, 0.0))}, "above 0 for each"),
        ({"together": asked_with("i1", weights=(1.0, float("nan")))}, "above 0 for each"),
        ({"together": asked_with("i1", weights=(1.0, 1.0), by="best")}, "use mean"),
        ({"together": asked_with("i1", by="best"), "more_like": ("i2",)}, "use mean"),
        ({"together": asked_with("i1", by="best"), "rerank": ranking.parameters(5)}, "use mean"),
    ],
)
async def test_queries_that_do_not_fit_together(yard: Any, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        await found(yard, **more)


async def test_opposite_queries_have_no_mean(yard: Any) -> None:
    own = vectors(yard)
    opposite = VectorQuery(-own["i0"], yard.service.space_id, Modality.VISIBLE)
    with pytest.raises(InvalidRequest, match="use best"):
        await found(yard, together=Together((opposite,)))
    both = await found(yard, top_k=12, together=Together((opposite,), by="best"))
    assert all(hit.score >= 0 for hit in both.hits)


@pytest.mark.parametrize("more", [{}, {"one_per_person": True}, {"together": asked_with("i9", by="best")}])
async def test_the_other_modality_comes_first(yard: Any, draw: Draw, more: dict[str, Any]) -> None:
    for number in range(5):
        meta = ItemMeta(f"n{number}", "c9")
        await yard.service.put_item(
            "yard", f"night{number}", ImageQuery(draw(20 + number), Modality.INFRARED), meta
        )
    every = await found(yard, top_k=17, **more)
    kinds = [hit.item.modality for hit in every.hits]
    assert kinds != sorted(kinds)
    turned = await found(yard, top_k=17, other_modality_first=True, **more)
    ordered = sorted(
        every.hits, key=lambda hit: hit.item.modality is Modality.VISIBLE
    )  # keeps the order within
    assert names(turned) == [hit.item.item_id for hit in ordered]
    assert [hit.score for hit in turned.hits] == [hit.score for hit in ordered]
    assert (turned.items_total, turned.items_searched) == (17, 17)
    few = await found(yard, top_k=7, other_modality_first=True, **more)
    assert names(few) == names(turned)[:7]
    only = Filter(modalities=(Modality.VISIBLE,))
    same = await found(yard, top_k=17, other_modality_first=True, filter=only, **more)
    assert names(same) == names(await found(yard, top_k=17, filter=only, **more))
    assert same.items_searched == 12


async def test_two_orders_at_once_are_refused(yard: Any) -> None:
    with pytest.raises(InvalidRequest, match="order of its own"):
        await found(yard, other_modality_first=True, rerank=ranking.parameters(5))
