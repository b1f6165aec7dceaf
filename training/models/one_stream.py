"""The one-stream network: every layer is shared, nothing is a modality's own."""

from torch import Tensor

from training.models.resnet import Backbone, Stem
from training.models.staged import Passed, Staged, passed


class OneStream(Staged):
    """A network that treats both modalities alike.

    Args:
        backbone: what its stages are.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``.
    """

    stem: Stem

    def __init__(self, backbone: Backbone, input_size: tuple[int, int], pooling: str) -> None:
        trunk = backbone.trunk()
        super().__init__(backbone, {"stem": backbone.stem()}, trunk, input_size, pooling)

    def before_trunk(self, x: Tensor, _modality: Tensor, *, levels: bool) -> Passed:
        """Pass every image through the one stem."""
        return passed([self.stem], x, levels=levels)
