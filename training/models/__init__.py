"""Networks that turn images into embeddings; the dict says which."""

from collections.abc import Callable

from training.models.network import Embedded, Network
from training.models.one_stream import OneStream
from training.models.resnet import BasicBlock, Bottleneck, Trunk
from training.models.two_stream import TwoStream
from training.settings import ModelSettings
from vireid.errors import TrainingError

_TRUNKS: dict[str, Callable[[float], Trunk]] = {
    "resnet18": lambda width: Trunk(BasicBlock, (2, 2, 2, 2), width),
    "resnet50": lambda width: Trunk(Bottleneck, (3, 4, 6, 3), width),
}


def _maker(kind: type[OneStream] | type[TwoStream], trunk: str) -> Callable[[ModelSettings], Network]:
    def make(wanted: ModelSettings) -> Network:
        size = (wanted.height, wanted.columns)
        return kind(_TRUNKS[trunk](wanted.width), wanted.width, size, wanted.pooling)

    return make


MODELS: dict[str, Callable[[ModelSettings], Network]] = {
    f"{name}-{trunk}": _maker(kind, trunk)
    for name, kind in (("one-stream", OneStream), ("two-stream", TwoStream))
    for trunk in _TRUNKS
}


def build(wanted: ModelSettings) -> Network:
    """Build a network with fresh weights.

    Raises:
        TrainingError: there is no model of that name.
    """
    if wanted.name not in MODELS:
        raise TrainingError(f"there is no model {wanted.name!r}; known are {', '.join(MODELS)}")
    return MODELS[wanted.name](wanted)
