"""An engine that becomes another between two batches: no batch is lost, none is mixed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vireid.engines.fake import FakeEngine
from vireid.engines.stand_in import StandIn
from vireid.errors import EngineError

SIZE = (32, 16)


class Named(FakeEngine):
    """The fake engine, whose rows carry a number; it can be held."""

    def __init__(self, number: int) -> None:
        super().__init__(*SIZE, dim=8)
        self.number = number
        self.began, self.free = threading.Event(), threading.Event()
        self.free.set()

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        self.began.set()
        assert self.free.wait(20)
        rows = super().embed(images, modality)
        rows[:] = self.number
        return rows


def batch(rows: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((rows, *SIZE, 3), np.uint8), np.zeros(rows, np.int64)


def test_it_is_the_engine_of_the_moment() -> None:
    first, second = Named(1), Named(2)
    stand_in = StandIn(first)
    assert stand_in.embed(*batch())[0, 0] == 1
    assert (stand_in.info, stand_in.space_id, stand_in.input_size, stand_in.dim) == (
        first.info,
        first.space_id,
        SIZE,
        8,
    )
    stand_in.become(second)
    assert stand_in.embed(*batch())[0, 0] == 2


def test_a_batch_that_runs_is_finished_by_who_began_it() -> None:
    first, second = Named(1), Named(2)
    first.free.clear()
    stand_in = StandIn(first)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stand_in.embed, *batch())
        assert first.began.wait(20)
        stand_in.become(second)
        assert stand_in.embed(*batch())[0, 0] == 2
        assert not running.done()
        first.free.set()
        assert running.result(20)[0, 0] == 1


def test_many_threads_lose_nothing_and_mix_nothing() -> None:
    stand_in = StandIn(Named(0))

    def ask(_number: int) -> set[float]:
        return set(np.unique(stand_in.embed(*batch(3))).tolist())

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, number) for number in range(300)]
        for number in range(1, 30):
            stand_in.become(Named(number))
        found = [one.result(20) for one in asked]
    assert all(len(one) == 1 for one in found)
    assert stand_in.embed(*batch())[0, 0] == 29


class Elsewhere(FakeEngine):
    """Of the same shapes, and of another model."""

    @property
    def space_id(self) -> str:
        return "another"


@pytest.mark.parametrize("other", [FakeEngine(64, 16, 8), FakeEngine(32, 16, 4), Elsewhere(32, 16, 8)])
def test_an_engine_of_another_space_is_refused(other: FakeEngine) -> None:
    stand_in = StandIn(Named(1))
    with pytest.raises(EngineError, match="galleries would no longer fit"):
        stand_in.become(other)
    assert stand_in.embed(*batch())[0, 0] == 1
