"""Plans kept for TensorRT over fakes, and pictures to ask it with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.vireid.engines import fake_tensorrt as fake
from vireid.engines.tensorrt import TensorRtEngine
from vireid.engines.tensorrt_buckets import Bucket
from vireid.engines.tensorrt_driver import Gpu

BUCKETS = tuple(Bucket(*sizes) for sizes in fake.PROFILES)
GPU = Gpu("NVIDIA Test", "9.0", "13.3")

Keep = Callable[..., Path]
Opened = Callable[..., TensorRtEngine]


def batch(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows, fake.HEIGHT, fake.WIDTH, 3), dtype=np.uint8)
    return images, random.integers(0, 2, rows)
