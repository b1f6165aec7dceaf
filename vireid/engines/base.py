"""The engine interface: a loaded bundle that turns preprocessed images into embeddings.

Knows no requests, no files and no batching policy.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.errors import EngineError

UNIT_TOLERANCE = 1e-3


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


class Loaded:
    """What every engine says of itself; a runtime inherits it and adds ``embed``.

    Args:
        info: what really runs.
        space_id: the embedding space.
        input_size: (height, width) of the images ``embed`` takes.
        dim: embedding dimension D.
    """

    def __init__(self, info: EngineInfo, space_id: str, input_size: tuple[int, int], dim: int) -> None:
        self._info, self._space_id, self._input_size, self._dim = info, space_id, input_size, dim

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._info

    @property
    def space_id(self) -> str:
        """The embedding space."""
        return self._space_id

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images ``embed`` takes."""
        return self._input_size

    @property
    def dim(self) -> int:
        """Embedding dimension D."""
        return self._dim


def check_rows(rows: Float32Array) -> None:
    """Refuse what a model may not give.

    Args:
        rows: (B, D).

    Raises:
        EngineError: a row's length is not 1, or no number.
    """
    norms = np.linalg.norm(rows, axis=1)
    if not np.all(np.abs(norms - 1.0) < UNIT_TOLERANCE):  # which is false for NaN
        raise EngineError(f"the model gave rows of norm {norms.min():.4g} to {norms.max():.4g}; expected 1")


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
