"""The engine interface: a loaded bundle that turns preprocessed images into embeddings.

Knows no requests, no files and no batching policy.
"""

from dataclasses import dataclass
from typing import Protocol

from vireid.arrays import Float32Array, Int64Array, UInt8Array


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
