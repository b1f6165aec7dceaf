"""A torch module behind the engine interface: the reference that an exported bundle is held against.

Knows no files and no bundle.
"""

import numpy as np
import torch
from torch import nn

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines.base import EngineInfo, Loaded
from vireid.errors import EngineError


class TorchEngine(Loaded):
    """Runs a module whose forward takes (images, modality) and gives unit rows.

    Args:
        model: put into evaluation mode here; has ``input_size`` and ``dim``.
        space_id: the embedding space this engine claims; empty for a model not yet in a bundle.
    """

    def __init__(self, model: nn.Module, space_id: str = "") -> None:
        self._model = model.eval()
        parameter = next(model.parameters(), torch.zeros(0))
        info = EngineInfo(
            runtime=f"torch {torch.__version__}",
            provider="torch",
            device=str(parameter.device),
            precision="fp32" if parameter.dtype == torch.float32 else str(parameter.dtype),
            threads=torch.get_num_threads(),
        )
        height, width, dim = shape_of(model)
        super().__init__(info, space_id, (height, width), dim)

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images.

        Args:
            images: RGB, (B, H, W, 3).
            modality: 0 visible, 1 infrared, (B,).

        Returns:
            Unit rows, (B, D).

        Raises:
            EngineError: the module failed or gave rows of another shape.
        """
        try:
            with torch.inference_mode():
                rows = self._model(torch.from_numpy(images), torch.from_numpy(modality))
        except RuntimeError as error:
            raise EngineError(f"the torch model failed on {images.shape} images: {error}") from error
        embeddings: Float32Array = rows.numpy().astype(np.float32, copy=False)
        if embeddings.shape != (len(images), self._dim):
            raise EngineError(
                f"the torch model gave {embeddings.shape}; {(len(images), self._dim)} was expected"
            )
        return embeddings


def shape_of(model: nn.Module) -> tuple[int, int, int]:
    """Return (height, width, dim) that a model declares.

    Raises:
        EngineError: it declares none.
    """
    size, dim = getattr(model, "input_size", None), getattr(model, "dim", None)
    if not isinstance(size, tuple) or not isinstance(dim, int):
        raise EngineError(
            f"{type(model).__name__} does not say its input_size (height, width) and dim; "
            "every embedding model has both"
        )
    height, width = size
    return int(height), int(width), dim
