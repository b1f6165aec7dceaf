"""The retrieval service, without a transport."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.store import GalleryStore
from server.answers import ImageQuery, ItemQuery, SearchRequest, VectorQuery
from server.metrics import Metrics
from vireid import errors
from vireid.types import Filter, ItemMeta, Modality

Draw = Callable[..., bytes]


@pytest.fixture
async def made(make: Callable[..., Any]) -> Any:
    one = make()
    await one.service.create_gallery("yard")
    return one


async def put(made: Any, item_id: str, data: bytes, **meta: Any) -> Any:
    return await made.service.put_item("yard", item_id, ImageQuery(data), ItemMeta(**meta))


async def search(made: Any, query: Any, gallery: str = "yard", **more: Any) -> Any:
    return await made.service.search(SearchRequest(gallery, query, **more))


# ---- modality ------------------------------------------------------------------
async def test_the_server_tells_day_from_night(made: Any, draw: Draw) -> None:
    day = await made.service.embed(ImageQuery(draw(1)))
    night = await made.service.embed(ImageQuery(draw(1, mode="L")))
    assert (day.modality, night.modality) == (Modality.VISIBLE, Modality.INFRARED)
    assert 0.5 <= day.confidence <= 1
    assert night.confidence > 0.9
    assert day.warnings == night.warnings == ()


async def test_what_the_caller_says_counts(made: Any, draw: Draw) -> None:
    told = await made.service.embed(ImageQuery(draw(1), Modality.VISIBLE))
    assert (told.modality, told.confidence, told.warnings) == (Modality.VISIBLE, 1.0, ())


async def test_a_picture_that_contradicts_the_caller_is_warned_of(made: Any, draw: Draw) -> None:
    told = await made.service.embed(ImageQuery(draw(1, mode="L"), Modality.VISIBLE))
    assert told.modality is Modality.VISIBLE
    (warning,) = told.warnings
    assert warning.code == "MODALITY_MISMATCH"
    assert "looks infrared" in warning.message
    await put(made, "a", draw(2))
    found = await search(made, ImageQuery(draw(1, mode="L"), Modality.VISIBLE))
    assert [one.code for one in found.warnings] == ["MODALITY_MISMATCH"]
    assert made.metrics.registry.get_sample_value("vireid_modality_mismatch_total") == 2


async def test_the_model_is_told_the_modality(made: Any, draw: Draw) -> None:
    data = draw(1)
    day, night = [(await made.service.embed(ImageQuery(data, m))).vector for m in Modality]
    assert not np.allclose(day, night)
    assert np.linalg.norm(day) == pytest.approx(1, abs=1e-5)


# ---- items ---------------------------------------------------------------------
async def test_putting_twice_changes_nothing_and_embeds_once(made: Any, draw: Draw) -> None:
    first = await put(made, "a", draw(1), person="p")
    assert (first.outcome, first.item.meta.person) == ("created", "p")
    assert first.item.sha256 == hashlib.sha256(draw(1)).hexdigest()
    again = await put(made, "a", draw(1), person="p")
    assert (again.outcome, again.item) == ("unchanged", first.item)
    assert made.engine.batches == [1]
    for change in (draw(1), draw(2)):
        assert (await put(made, "a", change, person="q")).outcome == "replaced"
    assert (await made.service.get_gallery("yard")).items == 1
    assert await made.service.image("yard", "a") == draw(2)
    assert (await made.service.thumbnail("yard", "a")).startswith(b"\xff\xd8")


async def test_what_was_stored_is_told_though_somebody_removed_it(
    made: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other comes between the change and its answer, however long it was waited for."""
    target = made.service.gallery("yard")
    first = await put(made, "a", draw(1), person="p")

    def then_removed(work: Callable[..., Any]) -> Callable[..., Any]:
        def change(*asked: Any) -> Any:
            answer = work(*asked)
            target.remove(["a"])
            return answer

        return change

    with monkeypatch.context() as racing:
        racing.setattr(target, "holds", then_removed(target.holds))
        again = await put(made, "a", draw(1), person="p")
    assert (again.outcome, again.item) == ("unchanged", first.item)
    with monkeypatch.context() as racing:
        racing.setattr(target, "enrolled", then_removed(target.enrolled))
        stored = await put(made, "a", draw(2), person="q")
    assert (stored.outcome, stored.item.item_id, stored.item.meta.person) == ("created", "a", "q")
    assert stored.item.sha256 == hashlib.sha256(draw(2)).hexdigest()
    assert (await made.service.get_gallery("yard")).items == 0


@pytest.mark.parametrize(
    "item_id", ["", "a b", "x" * 201, "a\n", "käse", "a/image", "b/thumbnail", "..", "a/../b", "./a", "a/."]
)
async def test_ids_that_could_not_be_asked_for_again(made: Any, draw: Draw, item_id: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await put(made, item_id, draw(1))
    assert caught.value.stable_reason == "ITEM_ID_INVALID"
    assert made.engine.batches == []


async def test_a_bad_image_stores_nothing(made: Any, draw: Draw) -> None:
    bad: list[tuple[bytes, type[errors.VireidError]]] = [
        (b"no image", errors.NotAnImage),
        (draw(1)[:-200], errors.ImageTruncated),
        (draw(1, kind="GIF"), errors.FormatNotAllowed),
        (draw(1, mode="CMYK"), errors.FormatNotAllowed),
        (draw(1) + bytes(8 * 2**20), errors.ImageTooLarge),
    ]
    for data, kind in bad:
        with pytest.raises(kind):
            await put(made, "a", data)
    info = await made.service.get_gallery("yard")
    assert (info.items, info.version) == (0, 0)
    assert made.engine.batches == []


# ---- search --------------------------------------------------------------------
async def test_the_same_picture_comes_first(made: Any, draw: Draw) -> None:
    for seed in range(8):
        await put(made, f"s{seed}", draw(seed), camera=f"c{seed % 2}")
    found = await search(made, ImageQuery(draw(3)), top_k=3)
    assert (found.hits[0].item.item_id, found.hits[0].rank) == ("s3", 1)
    assert found.hits[0].score == pytest.approx(1, abs=1e-5)
    assert (len(found.hits), found.items_total, found.items_searched) == (3, 8, 8)
    assert found.hits[0].score >= found.hits[1].score >= found.hits[2].score
    few = await search(made, ImageQuery(draw(3)), top_k=100, filter=Filter(exclude_cameras=("c1",)))
    assert (len(few.hits), few.items_searched) == (4, 4)
    sure = await search(made, ImageQuery(draw(3)), min_score=0.9999)
    assert [hit.item.item_id for hit in sure.hits] == ["s3"]


async def test_an_item_and_its_embedding_find_the_same(made: Any, draw: Draw) -> None:
    for seed in range(5):
        await put(made, f"s{seed}", draw(seed))
    by_item = await search(made, ItemQuery("s2"))
    done = await made.service.embed(ImageQuery(draw(2)))
    by_vector = await search(made, VectorQuery(done.vector, made.service.space_id, done.modality))
    assert [h.item.item_id for h in by_item.hits] == [h.item.item_id for h in by_vector.hits]
    assert by_item.hits[0].item.item_id == "s2"
    assert by_item.timing.batch_size == 0  # nothing was embedded


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (lambda made: VectorQuery(unit(8), "ab" * 32, Modality.VISIBLE), errors.GalleryMismatch),
        (lambda made: VectorQuery(unit(8), "", Modality.VISIBLE), errors.GalleryMismatch),
        (lambda made: VectorQuery(unit(8) * 2, made.service.space_id, Modality.VISIBLE), errors.InvalidRequest),
        (lambda made: VectorQuery(unit(9), made.service.space_id, Modality.VISIBLE), errors.InvalidRequest),
        (lambda made: VectorQuery(unit(8) * np.nan, made.service.space_id, Modality.VISIBLE), errors.EmbeddingNotFinite),
        (lambda made: VectorQuery(unit(8) * np.inf, made.service.space_id, Modality.VISIBLE), errors.EmbeddingNotFinite),
        (lambda made: ItemQuery("gone"), errors.ItemNotFound),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value")
async def test_queries_that_are_refused(made: Any, query: Any, kind: type[errors.VireidError]) -> None:
    with pytest.raises(kind):
        await search(made, query(made))


def unit(dim: int) -> Any:
    vector = np.zeros(dim, np.float32)
    vector[0] = 1
    return vector


@pytest.mark.parametrize("top_k", [0, -1, 1001, 100_000])
async def test_what_is_out_of_range_is_refused_before_any_work(made: Any, draw: Draw, top_k: int) -> None:
    with pytest.raises(errors.InvalidRequest, match="1 to 1000"):
        await search(made, ImageQuery(draw(1)), top_k=top_k)
    with pytest.raises(errors.GalleryNotFound):
        await search(made, ImageQuery(draw(1)), gallery="elsewhere")
    assert made.engine.batches == []


# ---- load ----------------------------------------------------------------------
async def test_a_full_queue_refuses_at_once_and_serves_the_others(
    make: Callable[..., Any], draw: Draw
) -> None:
    made = make(queue_limit=3)
    made.engine.hold()
    query = ImageQuery(draw(1))
    inside = [asyncio.create_task(made.service.embed(query)) for _ in range(3)]
    await asyncio.to_thread(made.engine.wait_begun)
    with pytest.raises(errors.Overloaded) as caught:
        await made.service.embed(query)
    assert caught.value.retry_after_s > 0
    made.engine.let_go()
    assert len({task.result().vector.tobytes() for task in inside if await task}) == 1
    await made.service.embed(query)


async def test_a_deadline_is_told_and_counted(make: Callable[..., Any], draw: Draw) -> None:
    made = make(timeout_s=0.05)
    made.engine.hold()
    first = asyncio.create_task(made.service.embed(ImageQuery(draw(1))))
    await asyncio.to_thread(made.engine.wait_begun)
    with pytest.raises(errors.DeadlineExceeded):
        await made.service.embed(
            ImageQuery(draw(1)), timeout_s=60.0
        )  # no caller may wait longer than the server says
    with pytest.raises(errors.DeadlineExceeded):
        await first
    value = made.metrics.registry.get_sample_value
    assert value("vireid_deadline_expired_total", {"stage": "queue"}) == 1
    assert value("vireid_deadline_expired_total", {"stage": "infer"}) == 1
    made.engine.let_go()


async def test_stage_times_add_up(made: Any, draw: Draw) -> None:
    await put(made, "a", draw(1))
    timing = (await search(made, ImageQuery(draw(1)))).timing
    stages = (timing.queue_s, timing.decode_s, timing.infer_s, timing.search_s)
    assert all(stage > 0 for stage in stages)
    assert sum(stages) <= timing.total_s
    assert (timing.batch_size, timing.device) == (1, "cpu/fake")


def behind(made: Any) -> tuple[threading.Event, list[threading.Thread]]:
    """A search that lasts until told, and a writer who waits for it: whoever reads now waits for both."""
    gallery = made.service.gallery("yard")
    inside, over = threading.Event(), threading.Event()

    def long_search() -> None:
        with gallery._gate.reading():
            inside.set()
            over.wait(5)

    def change() -> None:
        gallery.remove(["b"])

    threads = [threading.Thread(target=work) for work in (long_search, change)]
    threads[0].start()
    assert inside.wait(5)
    threads[1].start()
    while not gallery._gate._writers_waiting:
        time.sleep(0.001)
    return over, threads


@pytest.mark.parametrize(
    "ask",
    [
        lambda made, draw: made.service.get_item("yard", "a"),
        lambda made, draw: put(made, "a", draw(1)),
        lambda made, draw: search(made, ItemQuery("a")),
        lambda made, draw: made.service.thumbnail("yard", "a"),
    ],
    ids=["get", "put", "search", "thumbnail"],
)
async def test_the_loop_waits_at_no_gate(made: Any, draw: Draw, ask: Any) -> None:
    await put(made, "a", draw(1))
    await put(made, "b", draw(2))
    over, threads = behind(made)
    asked = asyncio.create_task(ask(made, draw))
    await asyncio.sleep(0.05)
    free = [thread.is_alive() for thread in threads] == [True, True]
    over.set()
    await asked
    assert free
    await asyncio.to_thread(lambda: [thread.join(5) for thread in threads])


async def test_slow_writes_hold_up_no_search(made: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    await made.service.create_gallery("slow")
    await put(made, "a", draw(1))
    slow, disk, begun = made.service.gallery("slow"), threading.Event(), threading.Event()
    enroll = slow.enrolled

    def slowly(batch: Any) -> Any:
        begun.set()
        assert disk.wait(10)
        return enroll(batch)

    monkeypatch.setattr(slow, "enrolled", slowly)
    puts = [
        asyncio.create_task(made.service.put_item("slow", f"i{n}", ImageQuery(draw(n)), ItemMeta()))
        for n in range(40)  # more than there are threads in any pool
    ]
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(5):
        found = await search(made, ItemQuery("a"))
        assert not disk.is_set()
        await made.service.get_item("yard", "a")
    disk.set()
    assert {(await one).outcome for one in puts} == {"created"}
    assert [hit.item.item_id for hit in found.hits] == ["a"]


async def test_closing_ends_the_threads(make: Callable[..., Any], draw: Draw) -> None:
    others = set(threading.enumerate())
    made = make()
    await made.service.create_gallery("yard")
    await put(made, "a", draw(1))
    assert {one.name[:7] for one in set(threading.enumerate()) - others} >= {"reading", "writing"}
    made.service.close()
    left = set(threading.enumerate()) - others
    assert not [one for one in left if one.name.startswith(("reading", "writing"))]


async def test_descriptions_wait_for_nobody(made: Any, draw: Draw) -> None:
    await put(made, "a", draw(1))
    await put(made, "b", draw(2))
    over, threads = behind(made)
    described = [await made.service.get_gallery("yard"), *await made.service.list_galleries()]
    free = [thread.is_alive() for thread in threads] == [True, True]
    over.set()
    await asyncio.to_thread(lambda: [thread.join(5) for thread in threads])
    assert free
    assert [info.items for info in described] == [2, 2]
    assert (await made.service.get_gallery("yard")).items == 1


# ---- health --------------------------------------------------------------------
async def test_readiness_is_a_forward_pass_made_once_for_all_who_ask(made: Any, draw: Draw) -> None:
    await asyncio.gather(*(made.service.check_ready() for _ in range(20)))
    assert made.engine.batches == [1]


async def test_a_failing_model_is_not_ready(made: Any) -> None:
    made.engine.fault = errors.EngineError("broken")
    with pytest.raises(errors.EngineError):
        await made.service.check_ready()
    made.engine.fault = None
    await made.service.check_ready()


async def test_a_draining_server_refuses_and_is_not_ready(made: Any, draw: Draw) -> None:
    await made.service.check_ready()
    made.service.drain()
    for call in (made.service.check_ready(), made.service.embed(ImageQuery(draw(1)))):
        with pytest.raises(errors.Unavailable):
            await call


# ---- another bundle ------------------------------------------------------------
async def test_a_gallery_of_another_bundle_is_refused_and_stops_nobody(
    make: Callable[..., Any], draw: Draw, tmp_path: Path
) -> None:
    folder = tmp_path / "shared-data"
    store = GalleryStore(folder, "cd" * 32, 512, "exact")
    store.create("foreign")
    store.close()
    made = make(folder=folder)
    await made.service.create_gallery("own")
    states = {info.name: info.state for info in await made.service.list_galleries()}
    assert states == {"foreign": "failed", "own": "ready"}
    with pytest.raises(errors.GalleryMismatch):
        await search(made, ImageQuery(draw(1)), gallery="foreign")
    with pytest.raises(errors.GalleryMismatch):
        await made.service.put_item("foreign", "a", ImageQuery(draw(1)), ItemMeta())
    assert made.engine.batches == []


def test_metrics_name_no_person(draw: Draw) -> None:
    labels = {name for metric in Metrics().registry.collect() for s in metric.samples for name in s.labels}
    assert labels <= {
        "lane",
        "le",
        "method",
        "code",
        "stage",
        "reason",
        "gallery",
        "device",
        "provider",
        "precision",
    }
