"""A service over engines that a test holds and lets go; events, never sleeps."""

import io
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.store import GalleryStore
from server.admission import Admission
from server.batcher import Batcher
from server.jobs import JobBoard
from server.metrics import Metrics
from server.service import RetrievalService
from vireid.bundle import Manifest
from vireid.engines.choice import alone
from vireid.engines.fake import FakeEngine
from vireid.images.preprocess import Preprocess

WAIT_S = 20.0


class HeldEngine(FakeEngine):
    """The fake engine; while held, each batch says that it began and waits to be let go."""

    def __init__(self, height: int = 32, width: int = 16, dim: int = 8) -> None:
        super().__init__(height, width, dim)
        self.began: queue.Queue[int] = queue.Queue()
        self.batches: list[int] = []
        self.fault: Exception | None = None
        self._open = threading.Event()
        self._open.set()
        self._one = threading.Semaphore(0)

    def hold(self) -> None:
        """Let no further batch through."""
        self._open.clear()

    def let_one(self) -> None:
        """Let one held batch through."""
        self._one.release()

    def let_go(self) -> None:
        """Let everything through."""
        self._open.set()
        self._one.release(1000)

    def wait_begun(self) -> int:
        """Wait for a batch to begin, and give its size."""
        return self.began.get(timeout=WAIT_S)

    def embed(self, images: Any, modality: Any) -> Any:
        self.batches.append(len(images))
        self.began.put(len(images))
        if not self._open.is_set():
            assert self._one.acquire(timeout=WAIT_S)
        if self.fault is not None:
            raise self.fault
        return super().embed(images, modality)


@dataclass
class Made:
    """A service and the parts a test looks into."""

    service: RetrievalService
    engine: HeldEngine
    metrics: Metrics
    board: JobBoard
    admission: Admission
    parts: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Made]]:
    """Build services; they are closed at the end."""
    made: list[Made] = []

    def build(
        *,
        folder: Path | None = None,
        queue_limit: int = 64,
        workers: int = 1,
        max_batch: int = 4,
        timeout_s: float = 10.0,
        jobs: int = 4,
        manifest: Manifest | None = None,
    ) -> Made:
        engine, metrics = HeldEngine(), Metrics()
        admission = Admission(queue_limit, workers, metrics)
        service = RetrievalService(
            manifest=manifest,
            choice=alone("fake", "the test's own", engine),
            preprocess=Preprocess(*engine.input_size),
            batcher=Batcher([engine] * workers, max_batch),
            admission=admission,
            store=GalleryStore(
                folder or tmp_path / f"data-{len(made)}", engine.space_id, engine.dim, "exact"
            ),
            metrics=metrics,
            timeout_s=timeout_s,
        )
        made.append(Made(service, engine, metrics, JobBoard(jobs), admission))
        return made[-1]

    yield build
    for one in made:
        one.engine.let_go()
        one.service.close()


def picture(seed: int, kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (16, 32)) -> bytes:
    """Draw a colourful picture; each seed another."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR).convert(mode).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="session")
def draw() -> Callable[..., bytes]:
    return picture
