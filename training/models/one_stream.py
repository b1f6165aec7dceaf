"""The one-stream network: every layer is shared, nothing is a modality's own."""

from torch import Tensor

from training.models.network import Network
from training.models.resnet import Stem, Trunk


class OneStream(Network):
    """A network that treats both modalities alike.

    Args:
        trunk: the stages.
        width: share of the standard channels.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``.
    """

    stem: Stem

    def __init__(self, trunk: Trunk, width: float, input_size: tuple[int, int], pooling: str) -> None:
        super().__init__({"stem": Stem(width)}, trunk, input_size, pooling)

    def stem_maps(self, x: Tensor, _modality: Tensor) -> Tensor:
        """Pass every image through the one stem."""
        made: Tensor = self.stem(x)
        return made
