"""An engine that serves until a better one is ready, and becomes it between two batches. Knows no runtime."""

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines.base import Engine, EngineInfo
from vireid.errors import EngineError


class StandIn:
    """Passes each batch on to the engine of the moment; a batch that runs is finished by the engine that began it.

    Args:
        engine: what serves at first.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> EngineInfo:
        """What really runs at the moment."""
        return self._engine.info

    @property
    def space_id(self) -> str:
        """The embedding space; it never changes."""
        return self._engine.space_id

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images ``embed`` takes."""
        return self._engine.input_size

    @property
    def dim(self) -> int:
        """Embedding dimension D."""
        return self._engine.dim

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images with the engine of the moment; see ``vireid.engines.base.Engine.embed``."""
        return self._engine.embed(images, modality)

    def become(self, engine: Engine) -> None:
        """Let another engine take the batches from now on.

        Raises:
            EngineError: it embeds into another space, or takes or gives other shapes; nothing changes.
        """
        mine = (self.space_id, self.input_size, self.dim)
        theirs = (engine.space_id, engine.input_size, engine.dim)
        if mine != theirs:
            raise EngineError(
                f"found an engine of space {theirs[0][:12]}, images {theirs[1]} and {theirs[2]} dimensions; expected "
                f"space {mine[0][:12]}, images {mine[1]} and {mine[2]} dimensions: galleries would no longer fit"
            )
        self._engine = engine
