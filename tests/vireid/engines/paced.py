"""Engines that take as long as a test says, by a clock that they move themselves; and parts of a bundle, proven or not."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vireid.bundle import EnginePart
from vireid.engines.base import EngineInfo
from vireid.engines.fake import FakeEngine
from vireid.errors import EngineError

PASSED = {"passed": True}
FAILED = {"passed": False, "failures": ["cosine mean 0.912000 alone, at least 0.985 is required"]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Paced(FakeEngine):
    """Takes a fixed time for each image; fails with more images than it can hold."""

    def __init__(self, clock: Clock, seconds: float, info: EngineInfo, most: int = 1000) -> None:
        super().__init__()
        self._clock, self._seconds, self._told, self._most = clock, seconds, info, most

    @property
    def info(self) -> EngineInfo:
        return self._told

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        if len(images) > self._most:
            raise EngineError(f"no memory for {len(images)} images")
        self._clock.now += self._seconds * len(images)
        return super().embed(images, modality)


def part(name: str, parity: Mapping[str, Any] = PASSED) -> EnginePart:
    runtime, precision = name.split("-")
    return EnginePart.model_validate(
        {"runtime": runtime, "precision": precision, "file": "model.onnx", "parity": dict(parity)}
    )
