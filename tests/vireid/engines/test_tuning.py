"""Timing engines in turns, by a clock that the engines move themselves; and that layouts change nothing that is answered."""

import numpy as np
import pytest

from vireid import bundle as bundles
from vireid.engines import open_engine, tuning
from vireid.engines.fake import FakeEngine
from vireid.engines.onnx import OnnxEngine
from vireid.errors import EngineError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(FakeEngine):
    """Moves a clock by what each call takes; the last such time is that of all further calls."""

    def __init__(self, clock: Clock, *takes: float) -> None:
        super().__init__()
        self._clock, self._takes = clock, list(takes)
        self.sizes: list[int] = []

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        self._clock.now += self._takes.pop(0) if len(self._takes) > 1 else self._takes[0]
        self.sizes.append(len(images))
        return super().embed(images, modality)


class Steady(FakeEngine):
    """Takes so long for a call and for each image, after one slow call."""

    def __init__(self, clock: Clock, image_s: float, call_s: float = 0.0) -> None:
        super().__init__()
        self._clock, self._image_s, self._call_s = clock, image_s, call_s
        self.sizes: list[int] = []

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        first = 0.0 if self.sizes else 5.0
        self._clock.now += first + self._call_s + self._image_s * len(images)
        self.sizes.append(len(images))
        return super().embed(images, modality)


def test_the_best_time_of_each_batch_size_counts_and_first_runs_do_not() -> None:
    clock = Clock()
    # one picture for the first time, one again, eight for the first time; then (one, eight) in turns
    first = Timed(clock, 0.1, 5.0, 0.1, 5.0, 32.0, 4.0, 16.0, 9.0, 99.0)
    second = Timed(clock, 0.1, 6.0, 0.1, 4.0, 32.0, 5.0, 30.0, 5.0, 8.0)
    found = tuning.tried([first, second], clock=clock, rounds=3, enough_s=1e9)
    assert found.seconds == pytest.approx([np.sqrt(4.0 * 2.0), np.sqrt(4.0 * 1.0)])
    assert first.sizes == second.sizes == [1, 1, 8, 1, 8, 1, 8, 1, 8]
    assert not found.settled


def test_turns_end_when_they_find_nothing_new() -> None:
    clock = Clock()
    near = [Steady(clock, 1.0), Steady(clock, 1.05)]
    found = tuning.tried(near, clock=clock, enough_s=1e9)
    assert found.settled
    assert found.seconds == pytest.approx([1.0, 1.05])
    assert [engine.sizes for engine in near] == [[1, 1, 8, *(1, 8) * 3]] * 2
    alone = [Steady(clock, 1.0), Steady(clock, 3.0)]
    assert tuning.tried(alone, clock=clock, enough_s=1e9).settled
    assert [engine.sizes for engine in alone] == [[1, 1, 8, 1, 8, 1, 8], [1, 1, 8, 1, 8]]


def test_who_is_far_behind_is_not_given_batches() -> None:
    clock = Clock()
    engines = [Steady(clock, 1.0), Steady(clock, 4.5)]
    found = tuning.tried(engines, clock=clock)
    assert engines[1].sizes == [1, 1]
    assert found.seconds == pytest.approx([1.0, 4.5])


def test_who_is_slow_alone_and_fast_in_batches_is_given_some() -> None:
    """One picture takes three times as long, one of eight half as long."""
    clock = Clock()
    engines = [Steady(clock, 1.0), Steady(clock, 0.15, 2.85)]
    found = tuning.tried(engines, clock=clock)
    assert found.seconds == pytest.approx([1.0, np.sqrt(3.0 * (0.15 + 2.85 / 8))])
    assert engines[1].sizes.count(8) > 2


@pytest.mark.parametrize("seed", range(20))
def test_the_fastest_is_found_within_five_per_cent_though_others_disturb(seed: int) -> None:
    """One call in five takes up to three times as long."""
    clock, draw = Clock(), np.random.default_rng(seed)

    class Disturbed(FakeEngine):
        def __init__(self, image_s: float) -> None:
            super().__init__()
            self.image_s = image_s

        def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
            slower = draw.uniform(1, 3) if draw.random() < 0.2 else draw.uniform(1, 1.02)
            clock.now += self.image_s * len(images) * slower
            return super().embed(images, modality)

    engines = [Disturbed(image_s) for image_s in draw.uniform(0.002, 0.02, 5)]
    found = tuning.tried(engines, clock=clock).seconds
    taken = engines[int(np.argmin(found))]
    assert taken.image_s <= 1.05 * min(engine.image_s for engine in engines)


def test_slow_engines_are_not_tried_for_longer_than_enough() -> None:
    clock = Clock()
    slow = Timed(clock, *(10.0 * 0.9**turn for turn in range(100)))
    assert not tuning.tried([slow], clock=clock, rounds=50, enough_s=5.0).settled
    assert slow.sizes == [1, 1, 8, *(1, 8) * tuning.LEAST_ROUNDS]


def test_one_size_needs_no_first_look() -> None:
    clock = Clock()
    engines = [Steady(clock, 1.0), Steady(clock, 1.01)]
    assert tuning.tried(engines, (4,), clock=clock, enough_s=1e9).seconds == pytest.approx([1.0, 1.01])
    assert engines[0].sizes == [4] * 4


def test_nothing_to_time() -> None:
    assert tuning.seconds_an_image([]) == []


def test_a_clock_that_stands_still_gives_no_nought() -> None:
    assert tuning.tried([FakeEngine()], clock=lambda: 1.0).seconds == (pytest.approx(1e-9),)


def test_both_layouts_give_the_same_answers() -> None:
    bundle = bundles.read(bundles.default_path())
    blocked, plain = open_engine(bundle, "cpu"), OnnxEngine(bundle, "cpu", layout="plain")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (5, *blocked.input_size, 3), dtype=np.uint8)
    modality = np.array([0, 1, 0, 1, 1])
    rows = blocked.embed(images, modality), plain.embed(images, modality)
    assert np.abs(rows[0] - rows[1]).max() < 1e-5
    assert open_engine(bundle, "cpu").embed(images, modality).tobytes() == rows[0].tobytes()


def test_one_that_fails_is_left_out_and_no_time_is_told_of_it() -> None:
    class Fails(FakeEngine):
        def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
            raise EngineError("no memory")

    sound = FakeEngine()
    found = tuning.tried([Fails(), sound])
    assert (list(found.failed), found.seconds[0]) == ([0], np.inf)
    assert 0 < found.seconds[1] < np.inf
    for engines in ([sound, Fails()], [Fails(), Fails()]):
        with pytest.raises(EngineError, match="no memory"):
            tuning.seconds_an_image(engines)
