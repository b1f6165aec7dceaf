"""Timing engines in turns, by a clock that the engines move themselves; and that layouts change nothing that is answered."""

import numpy as np
import pytest

from vireid import bundle as bundles
from vireid.engines import open_engine, tuning
from vireid.engines.fake import FakeEngine
from vireid.engines.onnx import OnnxEngine


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(FakeEngine):
    """Moves a clock by what each call takes: the first two are warming up, then one and eight images in turns."""

    def __init__(self, clock: Clock, takes: list[float]) -> None:
        super().__init__()
        self._clock, self._takes = clock, iter(takes)
        self.sizes: list[int] = []

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        self._clock.now += next(self._takes)
        self.sizes.append(len(images))
        return super().embed(images, modality)


def test_the_best_time_of_each_batch_size_counts_and_warming_up_does_not() -> None:
    clock = Clock()
    # warming up; then (one, eight) three times
    first = Timed(clock, [0.1, 0.1, 5.0, 32.0, 4.0, 16.0, 9.0, 99.0])
    second = Timed(clock, [90.0, 90.0, 1.0, 8.0, 1.5, 8.0, 1.5, 4.0])
    found = tuning.seconds_an_image([first, second], clock=clock, rounds=3, enough_s=1e9)
    assert found == pytest.approx([np.sqrt(4.0 * 2.0), np.sqrt(1.0 * 0.5)])
    assert first.sizes == [1, 8] * 4


def test_slow_engines_are_not_tried_for_longer_than_enough() -> None:
    clock = Clock()
    slow = Timed(clock, [10.0] * 100)
    tuning.seconds_an_image([slow], clock=clock, rounds=50, enough_s=12.0)
    assert slow.sizes == [1, 8] * (1 + tuning.LEAST_ROUNDS)


def test_nothing_to_time() -> None:
    assert tuning.seconds_an_image([]) == []


def test_a_clock_that_stands_still_gives_no_nought() -> None:
    assert tuning.seconds_an_image([FakeEngine()], clock=lambda: 1.0) == [pytest.approx(1e-9)]


def test_both_layouts_give_the_same_answers() -> None:
    bundle = bundles.read(bundles.default_path())
    blocked, plain = open_engine(bundle, "cpu"), OnnxEngine(bundle, "cpu", layout="plain")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (5, *blocked.input_size, 3), dtype=np.uint8)
    modality = np.array([0, 1, 0, 1, 1])
    rows = blocked.embed(images, modality), plain.embed(images, modality)
    assert np.abs(rows[0] - rows[1]).max() < 1e-5
    assert open_engine(bundle, "cpu").embed(images, modality).tobytes() == rows[0].tobytes()
