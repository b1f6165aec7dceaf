"""Choosing the faster of two engines, and that the choice changes nothing that is answered."""

import numpy as np
import pytest

from vireid import bundle as bundles
from vireid import engines
from vireid.engines import open_engine, open_engines, tuning
from vireid.engines.fake import FakeEngine
from vireid.engines.onnx import LEVELS, OnnxEngine


class Timed(FakeEngine):
    """Moves a clock by what each call is said to take."""

    def __init__(self, clock: "Clock", takes: list[float]) -> None:
        super().__init__()
        self._clock, self._takes = clock, iter(takes)

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        self._clock.now += next(self._takes)
        return super().embed(images, modality)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("other", "usual", "expected"),
    [
        ([9.0, 0.9, 0.9, 0.9], [9.0, 1.0, 1.0, 1.0], True),
        ([9.0, 1.1, 1.1, 1.1], [9.0, 1.0, 1.0, 1.0], False),
        # hardly faster is not faster
        ([9.0, 0.98, 0.98, 0.98], [9.0, 1.0, 1.0, 1.0], False),
        # the first run of each does not count, nor does a disturbed one
        ([0.1, 2.0, 2.0, 2.0], [9.0, 1.0, 1.0, 1.0], False),
        ([1.0, 5.0, 0.9, 5.0], [1.0, 1.0, 7.0, 1.0], True),
    ],
)
def test_the_best_time_of_each_decides(other: list[float], usual: list[float], expected: bool) -> None:
    clock = Clock()
    found = tuning.is_faster(Timed(clock, other), Timed(clock, usual), clock=clock, rounds=3)
    assert found is expected


@pytest.mark.parametrize("faster", [True, False])
def test_all_workers_get_the_same_kind(monkeypatch: pytest.MonkeyPatch, faster: bool) -> None:
    monkeypatch.setattr(tuning, "is_faster", lambda *_: faster)
    bundle = bundles.read(bundles.default_path())
    opened = open_engines(bundle, "cpu", workers=3)
    levels = {engine._session.get_session_options().graph_optimization_level for engine in opened}
    assert len(opened) == 3
    assert levels == {LEVELS["plain" if faster else "blocked"]}


def test_both_layouts_give_the_same_answers() -> None:
    bundle = bundles.read(bundles.default_path())
    blocked, plain = open_engine(bundle, "cpu"), OnnxEngine(bundle, "cpu", layout="plain")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (5, *blocked.input_size, 3), dtype=np.uint8)
    modality = np.array([0, 1, 0, 1, 1])
    rows = blocked.embed(images, modality), plain.embed(images, modality)
    assert np.abs(rows[0] - rows[1]).max() < 1e-5
    assert engines.open_engine(bundle, "cpu").embed(images, modality).tobytes() == rows[0].tobytes()
