"""Networks that turn images into embeddings; the dict says which."""

from collections.abc import Callable

from training.models.resnet import BasicBlock, Bottleneck, Trunk
from training.models.two_stream import TwoStream
from training.settings import ModelSettings
from vireid.errors import TrainingError


def _resnet18(wanted: ModelSettings) -> TwoStream:
    trunk = Trunk(BasicBlock, (2, 2, 2, 2), wanted.width)
    return TwoStream(trunk, wanted.width, (wanted.height, wanted.columns), wanted.pooling)


def _resnet50(wanted: ModelSettings) -> TwoStream:
    trunk = Trunk(Bottleneck, (3, 4, 6, 3), wanted.width)
    return TwoStream(trunk, wanted.width, (wanted.height, wanted.columns), wanted.pooling)


MODELS: dict[str, Callable[[ModelSettings], TwoStream]] = {
    "two-stream-resnet18": _resnet18,
    "two-stream-resnet50": _resnet50,
}


def build(wanted: ModelSettings) -> TwoStream:
    """Build a network with fresh weights.

    Raises:
        TrainingError: there is no model of that name.
    """
    if wanted.name not in MODELS:
        raise TrainingError(f"there is no model {wanted.name!r}; known are {', '.join(MODELS)}")
    return MODELS[wanted.name](wanted)
