"""The engine interface: a loaded bundle that turns preprocessed images into embeddings.

Knows no requests, no files and no batching policy.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.errors import EngineError


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs, read back from the runtime and never assumed.

    Attributes:
        runtime: for example ``onnxruntime 1.31.1``, or ``fake``.
        provider: for example ``CPUExecutionProvider``; what the session reports.
        device: ``cpu`` or ``cuda:0``.
        precision: for example ``fp32``.
        threads: threads one call uses.
    """

    runtime: str
    provider: str
    device: str
    precision: str
    threads: int


class Engine(Protocol):
    """A loaded bundle: preprocessed images in, unit embeddings out."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        ...

    @property
    def space_id(self) -> str:
        """The embedding space: sha256 of weights and preprocessing."""
        ...

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images ``embed`` takes."""
        ...

    @property
    def dim(self) -> int:
        """Embedding dimension D."""
        ...

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images; safe to call from several threads.

        Args:
            images: RGB, (B, H, W, 3), B >= 1.
            modality: 0 visible, 1 infrared, (B,).

        Returns:
            Unit rows, (B, D).

        Raises:
            EngineError: the shape or type is wrong, or the runtime failed.
        """
        ...


def check_batch(images: UInt8Array, modality: Int64Array, input_size: tuple[int, int]) -> None:
    """Refuse what no engine may be given.

    Raises:
        EngineError: the batch is empty, or a shape, type or modality value is wrong.
    """
    height, width = input_size
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[1:] != (height, width, 3)
        or not len(images)
    ):
        raise EngineError(
            f"found images {images.dtype} {images.shape}; expected uint8 (B, {height}, {width}, 3) with B >= 1"
        )
    if modality.dtype != np.int64 or modality.shape != (len(images),):
        raise EngineError(
            f"found modality {modality.dtype} {modality.shape}; expected int64 ({len(images)},)"
        )
    if not np.isin(modality, (0, 1)).all():
        raise EngineError(
            f"found modality values {sorted(set(modality.tolist()))}; expected 0 (visible) or 1 (infrared)"
        )
