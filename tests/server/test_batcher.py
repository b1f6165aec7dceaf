"""Dynamic batching, under an engine that does nothing until it is told to."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
import pytest

from server.admission import Lane
from server.batcher import Batcher, Completed, Prepared
from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines.base import EngineInfo
from vireid.errors import DeadlineExceeded, EngineError, ImageTruncated, Unavailable
from vireid.types import Modality

SIZE = (2, 2)
PATIENCE_S = 10.0


class Desk:
    """What all engines of a test share: which batches came, and who may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.modalities: list[list[int]] = []
        self.error: Exception | None = None
        self._free = threading.Semaphore(0)
        self._changed = threading.Condition()

    def let(self, batches: int) -> None:
        """Let so many batches through."""
        for _ in range(batches):
            self._free.release()

    def work(self, marks: list[int], modalities: list[int]) -> None:
        with self._changed:
            self.batches.append(marks)
            self.modalities.append(modalities)
            self._changed.notify_all()
        assert self._free.acquire(timeout=PATIENCE_S)
        if self.error is not None:
            raise self.error

    async def began(self, count: int) -> None:
        """Wait until so many batches were begun."""

        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(lambda: len(self.batches) >= count, PATIENCE_S), self.batches

        await asyncio.to_thread(wait)

    @property
    def seen(self) -> list[int]:
        return [mark for batch in self.batches for mark in batch]


class HeldEngine:
    """Answers each image with its mark, once the desk lets it."""

    info = EngineInfo("held", "held", "cpu", "fp32", 1)
    space_id = "ab" * 32
    input_size = SIZE
    dim = 2

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        assert images.shape[1:] == (*SIZE, 3)
        assert images.dtype == np.uint8
        marks = images[:, 0, 0, 0]
        self._desk.work(marks.tolist(), modality.tolist())
        return np.stack([marks, 255 - marks], axis=1).astype(np.float32)


def image(mark: int, modality: Modality = Modality.VISIBLE) -> Prepared:
    return Prepared(np.full((*SIZE, 3), mark, np.uint8), modality, 1.0, (modality, 1.0))


@asynccontextmanager
async def batching(workers: int, max_batch: int) -> AsyncIterator[tuple[Batcher, Desk]]:
    desk = Desk()
    batcher = Batcher([HeldEngine(desk)] * workers, max_batch)
    try:
        yield batcher, desk
    finally:
        desk.let(1000)
        await asyncio.to_thread(batcher.close)


def submit(
    batcher: Batcher,
    mark: int,
    lane: Lane = Lane.INTERACTIVE,
    timeout_s: float = PATIENCE_S,
    prepare: Callable[[], Prepared] | None = None,
) -> asyncio.Task[Completed]:
    return asyncio.create_task(batcher.submit(prepare or partial(image, mark), lane, timeout_s))


async def queue_up(
    batcher: Batcher, marks: Sequence[int], lane: Lane = Lane.INTERACTIVE
) -> list[asyncio.Task[Completed]]:
    tasks = [submit(batcher, mark, lane) for mark in marks]
    await asyncio.sleep(0)  # each has run up to its wait
    return tasks


async def idle(batcher: Batcher, workers: int) -> None:
    """Wait until so many workers wait for work."""
    async with asyncio.timeout(PATIENCE_S):
        while batcher._idle < workers:  # noqa: ASYNC110 - the batcher has no event for it, and needs none
            await asyncio.sleep(0.001)


async def occupy(batcher: Batcher, desk: Desk, workers: int) -> list[asyncio.Task[Completed]]:
    """Give every worker an image to hold on to."""
    tasks = []
    for number in range(workers):
        tasks.append(submit(batcher, 200 + number))
        await desk.began(number + 1)
    return tasks


async def test_a_lone_image_waits_for_no_company() -> None:
    async with batching(2, 4) as (batcher, desk):
        task = submit(batcher, 7)
        await desk.began(1)
        desk.let(1)
        done = await task
        assert done.vector.tolist() == [7.0, 248.0]
        assert (done.batch_size, done.prepared.image[0, 0, 0]) == (1, 7)
        assert 0 <= done.queue_s < PATIENCE_S
        assert min(done.decode_s, done.infer_s) >= 0


async def test_every_caller_gets_the_own_row_and_modality() -> None:
    async with batching(1, 16) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        kinds = {mark: Modality(mark % 2) for mark in range(10)}
        tasks = [submit(batcher, mark, prepare=partial(image, mark, kind)) for mark, kind in kinds.items()]
        await asyncio.sleep(0)
        desk.let(2)
        answers = await asyncio.gather(*tasks)
        assert [int(done.vector[0]) for done in answers] == list(kinds)
        assert [done.prepared.modality for done in answers] == list(kinds.values())
        assert desk.modalities[1] == [int(kind) for kind in kinds.values()]
        assert {done.batch_size for done in answers} == {10}
        await asyncio.gather(*held)


async def test_no_batch_is_larger_than_the_cap() -> None:
    async with batching(1, 4) as (batcher, desk):
        await occupy(batcher, desk, 1)
        tasks = await queue_up(batcher, range(10))
        desk.let(4)
        await asyncio.gather(*tasks)
        assert [len(batch) for batch in desk.batches[1:]] == [4, 4, 2]
        assert desk.seen[1:] == list(range(10))


@pytest.mark.parametrize(
    ("waiting", "expected"), [(2, [1, 1]), (3, [1, 2]), (6, [3, 3]), (7, [3, 4]), (9, [1, 4, 4])]
)
async def test_what_waits_is_split_evenly_over_the_idle_workers(waiting: int, expected: list[int]) -> None:
    async with batching(2, 4) as (batcher, desk):
        await occupy(batcher, desk, 2)  # both were started
        desk.let(2)
        await idle(batcher, 2)
        with batcher._changed:  # neither takes before all have come
            tasks = await queue_up(batcher, range(waiting))
        await desk.began(4)
        desk.let(len(expected))
        await asyncio.gather(*tasks)
        assert sorted(len(batch) for batch in desk.batches[2:]) == expected
        assert sorted(desk.seen[2:]) == list(range(waiting))


async def test_searches_go_before_bulk() -> None:
    async with batching(1, 2) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        bulk = await queue_up(batcher, [1, 2, 3], Lane.BULK)
        people = await queue_up(batcher, [11, 12, 13])
        desk.let(6)
        await asyncio.gather(*held, *bulk, *people)
        assert desk.batches[1:] == [[11, 12], [13], [1], [2], [3]]


@pytest.mark.parametrize(("largest", "expected"), [(1, 1), (4, 1), (8, 2), (16, 4)])
async def test_bulk_comes_in_small_batches_so_that_searches_wait_for_little(
    largest: int, expected: int
) -> None:
    async with batching(1, largest) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        bulk = await queue_up(batcher, range(8), Lane.BULK)
        desk.let(1)
        await asyncio.gather(*held)
        await desk.began(2)
        assert len(desk.batches[1]) == expected
        person = await queue_up(batcher, [99])
        desk.let(2)
        await asyncio.gather(*person)
        assert desk.batches[2] == [99]  # before the rest of the bulk, and alone
        desk.let(8)
        await asyncio.gather(*bulk)


async def test_bulk_alone_gets_all_workers() -> None:
    async with batching(1, 4) as (batcher, desk):
        tasks = await queue_up(batcher, [1], Lane.BULK)
        desk.let(1)
        assert [int(done.vector[0]) for done in await asyncio.gather(*tasks)] == [1]


async def test_who_left_is_never_decoded_nor_embedded() -> None:
    async with batching(1, 4) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        decoded = []

        def prepare() -> Prepared:
            decoded.append(1)
            return image(1)

        gone = submit(batcher, 1, prepare=prepare)
        stays = (await queue_up(batcher, [2]))[0]
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        desk.let(2)
        await asyncio.gather(*held, stays)
        assert (decoded, desk.batches[1:]) == ([], [[2]])


async def test_who_left_while_being_decoded_is_not_embedded() -> None:
    async with batching(1, 4) as (batcher, desk):
        inside, go_on = threading.Event(), threading.Event()

        def slow() -> Prepared:
            inside.set()
            assert go_on.wait(PATIENCE_S)
            return image(1)

        gone = submit(batcher, 1, prepare=slow)
        assert await asyncio.to_thread(inside.wait, PATIENCE_S)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        go_on.set()
        stays = submit(batcher, 2)
        desk.let(1)
        assert int((await stays).vector[0]) == 2
        assert desk.batches == [[2]]


async def test_an_expired_image_is_never_embedded() -> None:
    async with batching(1, 4) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        late = submit(batcher, 1, timeout_s=0.02)
        with pytest.raises(DeadlineExceeded, match="in the queue") as caught:
            await late
        assert (caught.value.stable_reason, caught.value.metadata) == (
            "DEADLINE_IN_QUEUE",
            {"stage": "queue"},
        )
        stays = (await queue_up(batcher, [2]))[0]
        desk.let(2)
        await asyncio.gather(*held, stays)
        assert desk.batches[1:] == [[2]]


async def test_a_deadline_passes_at_work_too() -> None:
    async with batching(1, 4) as (batcher, desk):
        with pytest.raises(DeadlineExceeded, match="at work") as caught:
            await submit(batcher, 1, timeout_s=0.05)
        assert (caught.value.stable_reason, caught.value.metadata) == (
            "DEADLINE_EXCEEDED",
            {"stage": "infer"},
        )
        desk.let(1)
        following = submit(batcher, 2)
        desk.let(1)
        assert int((await following).vector[0]) == 2


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_no_time_at_all(timeout_s: float) -> None:
    async with batching(1, 4) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        with pytest.raises(DeadlineExceeded):
            await submit(batcher, 1, timeout_s=timeout_s)
        desk.let(1)
        await asyncio.gather(*held)
        following = submit(batcher, 2)
        desk.let(1)
        await following
        assert 1 not in desk.seen


@pytest.mark.parametrize("fault", [ImageTruncated("short"), MemoryError("no room"), ValueError("odd")])
async def test_one_bad_image_spoils_no_other(fault: Exception) -> None:
    async with batching(1, 8) as (batcher, desk):
        held = await occupy(batcher, desk, 1)

        def fail() -> Prepared:
            raise fault

        tasks = await queue_up(batcher, [1, 2])
        bad = submit(batcher, 3, prepare=fail)
        tasks += await queue_up(batcher, [4])
        desk.let(2)
        with pytest.raises(type(fault)) as caught:
            await bad
        assert caught.value is fault
        assert [int(done.vector[0]) for done in await asyncio.gather(*tasks)] == [1, 2, 4]
        assert desk.batches[1:] == [[1, 2, 4]]
        await asyncio.gather(*held)


async def test_an_engine_that_fails_tells_its_batch_and_lives_on() -> None:
    async with batching(1, 4) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        tasks = await queue_up(batcher, [1, 2])
        desk.let(1)
        await desk.began(2)
        desk.error = EngineError("the device is gone")
        desk.let(1)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in found] == [EngineError, EngineError]
        desk.error = None
        following = submit(batcher, 3)
        desk.let(1)
        assert int((await following).vector[0]) == 3
        await asyncio.gather(*held)


async def test_an_engine_that_gives_too_few_rows_tells_its_batch_and_lives_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with batching(1, 4) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        whole = HeldEngine.embed
        tasks = await queue_up(batcher, [1, 2])
        monkeypatch.setattr(HeldEngine, "embed", lambda *given: whole(*given)[:-1])
        desk.let(2)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert ["1 rows for 2 images" in str(one) for one in found] == [True, True]
        monkeypatch.undo()
        following = submit(batcher, 3)
        desk.let(1)
        assert int((await following).vector[0]) == 3
        await asyncio.gather(*held)


async def test_closing_refuses_who_waits_and_finishes_what_runs() -> None:
    async with batching(1, 1) as (batcher, desk):
        held = await occupy(batcher, desk, 1)
        waiting = await queue_up(batcher, [1, 2])
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        for task in waiting:
            with pytest.raises(Unavailable) as caught:
                await task
            assert caught.value.stable_reason == "DRAINING"
        desk.let(1)
        assert int((await held[0]).vector[0]) == 200
        await closing
        with pytest.raises(Unavailable):
            await batcher.submit(partial(image, 9), Lane.INTERACTIVE, 1.0)
        assert desk.seen == [200]


async def test_a_storm_of_callers_who_come_and_go() -> None:
    """Whoever stays gets the own row; whoever leaves takes nobody along."""
    random = np.random.default_rng(5)
    async with batching(3, 4) as (batcher, desk):
        desk.let(100_000)
        tasks = []
        for mark in range(400):
            lane = Lane.BULK if random.random() < 0.3 else Lane.INTERACTIVE
            tasks.append((mark % 200, submit(batcher, mark % 200, lane)))
            if random.random() < 0.3:
                tasks[int(random.integers(len(tasks)))][1].cancel()
            if random.random() < 0.2:
                await asyncio.sleep(0)
        found = await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
        stayed = 0
        for (mark, _), one in zip(tasks, found, strict=True):
            if not isinstance(one, asyncio.CancelledError):
                assert isinstance(one, Completed)
                assert int(one.vector[0]) == mark
                stayed += 1
        assert 200 < stayed < 400
        assert max(len(batch) for batch in desk.batches) <= 4
