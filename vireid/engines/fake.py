"""An engine without a model: deterministic, content-dependent, ships for demos, tests and load tests.

Similar pictures give similar rows: a coarse grid of brightness, standardised, goes through a fixed random projection. It does not
recognise people and does not claim to.
"""

import hashlib

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines.base import EngineInfo, Loaded, check_batch

GRID_ROWS, GRID_COLUMNS = 16, 8
SEED = 20261121
MODALITY_SHIFT = 0.05


class FakeEngine(Loaded):
    """A fixed random projection of the picture's coarse brightness.

    Args:
        height: of the images it takes, a multiple of 16.
        width: of the images it takes, a multiple of 8.
        dim: embedding dimension.
    """

    def __init__(self, height: int = 256, width: int = 128, dim: int = 64) -> None:
        if height % GRID_ROWS or width % GRID_COLUMNS:
            raise ValueError(
                f"the size must be a multiple of {GRID_ROWS} x {GRID_COLUMNS}, not {height} x {width}"
            )
        info = EngineInfo(runtime="fake", provider="fake", device="cpu", precision="fp32", threads=1)
        space_id = hashlib.sha256(f"fake {(height, width)} {dim} {SEED}".encode()).hexdigest()
        super().__init__(info, space_id, (height, width), dim)
        random = np.random.default_rng(SEED)
        self._projection = random.standard_normal((GRID_ROWS * GRID_COLUMNS, dim)).astype(np.float32)
        self._shift = MODALITY_SHIFT * random.standard_normal(dim).astype(np.float32)

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images; see ``vireid.engines.base.Engine.embed``."""
        check_batch(images, modality, self._input_size)
        height, width = self._input_size
        cells = images.reshape(
            len(images), GRID_ROWS, height // GRID_ROWS, GRID_COLUMNS, width // GRID_COLUMNS, 3
        ).mean(axis=(2, 4, 5), dtype=np.float32)
        grid = cells.reshape(len(images), -1)
        grid -= grid.mean(axis=1, keepdims=True)
        grid /= np.linalg.norm(grid, axis=1, keepdims=True) + 1e-3
        # one row at a time, so that a row alone equals the row in a batch to the last bit
        rows = np.stack([row @ self._projection for row in grid])
        rows += np.where(modality[:, None] == 1, self._shift, -self._shift)
        unit: Float32Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit
