"""What the service learns from its work, and passes on: times, freshness, doubts, deadlines."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from server import service as module
from server.admission import FIRST_GUESS_S, SMOOTHING
from server.answers import ImageQuery, SearchRequest
from vireid import errors
from vireid.types import Filter, ItemMeta, Modality

Make = Callable[..., Any]
Draw = Callable[..., bytes]


async def test_the_time_to_come_back_follows_a_slow_engine(make: Make, draw: Draw) -> None:
    made = make(queue_limit=20)
    query = ImageQuery(draw(1))
    made.engine.hold()
    slow = asyncio.create_task(made.service.embed(query))
    await asyncio.to_thread(made.engine.wait_begun)
    await asyncio.sleep(0.3)
    made.engine.let_one()
    timing = (await slow).timing
    assert timing.infer_s >= 0.3
    inside = [asyncio.create_task(made.service.embed(query)) for _ in range(20)]
    await asyncio.to_thread(made.engine.wait_begun)
    with pytest.raises(errors.Overloaded) as caught:
        await made.service.embed(query)
    each = FIRST_GUESS_S + SMOOTHING * (timing.decode_s + timing.infer_s - FIRST_GUESS_S)
    assert caught.value.retry_after_s == pytest.approx(20 * each)
    assert caught.value.retry_after_s > 20 * 2 * FIRST_GUESS_S
    made.engine.let_go()
    await asyncio.gather(*inside)


async def test_readiness_is_proved_again_after_ten_seconds_of_silence(
    make: Make, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = make()

    async def probes_after(seconds: float) -> int:
        now[0] += seconds
        before = len(made.engine.batches)
        await made.service.check_ready()
        return len(made.engine.batches) - before

    assert await probes_after(0) == 1
    assert await probes_after(9.9) == 0
    assert await probes_after(0.2) == 1
    now[0] += 9.9
    await made.service.embed(ImageQuery(draw(1)))  # proves it as well as a probe
    assert await probes_after(9.9) == 0
    assert await probes_after(0.2) == 1


@pytest.mark.parametrize(("confidence", "warned"), [(0.5, 0), (0.899, 0), (0.901, 1), (1.0, 1)])
async def test_a_picture_contradicts_only_where_it_is_sure(
    make: Make, draw: Draw, monkeypatch: pytest.MonkeyPatch, confidence: float, warned: int
) -> None:
    monkeypatch.setattr(module, "detect", lambda _: (Modality.INFRARED, confidence))
    made = make()
    told = await made.service.embed(ImageQuery(draw(1), Modality.VISIBLE))
    assert [one.code for one in told.warnings] == ["MODALITY_MISMATCH"] * warned
    assert made.metrics.registry.get_sample_value("vireid_modality_mismatch_total") == warned


async def test_the_score_of_each_searchs_best_hit_is_observed(make: Make, draw: Draw) -> None:
    made = make()
    await made.service.create_gallery("yard")
    for seed in (1, 2, 3):
        await made.service.put_item("yard", f"s{seed}", ImageQuery(draw(seed)), ItemMeta())
    best = []
    for query in (draw(2), draw(9)):
        hits = (await made.service.search(SearchRequest("yard", ImageQuery(query)))).hits
        assert hits[0].score > hits[1].score
        best.append(hits[0].score)
    nobody = Filter(cameras=("none",))
    assert not (await made.service.search(SearchRequest("yard", ImageQuery(draw(2)), filter=nobody))).hits
    (kept,) = [one for one in made.metrics.registry.collect() if one.name == "vireid_top1_score"]
    buckets = {float(s.labels["le"]): s.value for s in kept.samples if "le" in s.labels}
    assert buckets == {most: sum(score <= most for score in best) for most in buckets}
    assert buckets[float("inf")] == 2
    assert buckets[0.5] == 1


@pytest.mark.parametrize("call", ["embed", "search", "put_item"])
async def test_a_callers_deadline_is_kept_where_it_is_shorter(make: Make, draw: Draw, call: str) -> None:
    made = make(timeout_s=15.0)
    await made.service.create_gallery("yard")
    query = ImageQuery(draw(1))
    made.engine.hold()
    asked = {
        "embed": lambda: made.service.embed(query, 0.05),
        "search": lambda: made.service.search(SearchRequest("yard", query, timeout_s=0.05)),
        "put_item": lambda: made.service.put_item("yard", "a", query, ItemMeta(), 0.05),
    }[call]
    async with asyncio.timeout(5):
        with pytest.raises(errors.DeadlineExceeded):
            await asked()
    made.engine.let_go()
    assert (await made.service.get_gallery("yard")).items == 0
