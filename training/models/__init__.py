"""Networks that turn images into embeddings; the dict says which."""

from collections.abc import Callable

from training.models.network import IMAGENET, Embedded, Network, Normalisation
from training.models.one_stream import OneStream
from training.models.resnet import Backbone, BasicBlock, Bottleneck, channels
from training.models.twin_tails import TwinTails
from training.models.two_stream import TwoStream
from training.models.vision_transformer import ENCODERS, VisionTransformer
from training.settings import ModelSettings
from vireid.errors import TrainingError

Maker = Callable[[ModelSettings], Network]

BACKBONES: dict[str, Callable[[float], Backbone]] = {
    "resnet18": lambda width: Backbone(BasicBlock, (2, 2, 2, 2), width),
    "resnet50": lambda width: Backbone(Bottleneck, (3, 4, 6, 3), width),
}


def _one_stream(backbone: str) -> Maker:
    def make(wanted: ModelSettings) -> Network:
        size = (wanted.height, wanted.columns)
        return OneStream(BACKBONES[backbone](wanted.width), size, wanted.pooling)

    return make


def _two_stream(backbone: str) -> Maker:
    def make(wanted: ModelSettings) -> Network:
        if not wanted.split:
            return _one_stream(backbone)(wanted)
        size = (wanted.height, wanted.columns)
        return TwoStream(BACKBONES[backbone](wanted.width), wanted.split, size, wanted.pooling)

    return make


def _transformer(name: str) -> Maker:
    def make(wanted: ModelSettings) -> Network:
        encoder = ENCODERS[name].scaled(wanted.width, wanted.depth)
        return VisionTransformer(encoder, (wanted.height, wanted.columns), wanted.pooling)

    return make


def _twin_tails(backbone: str) -> Maker:
    def make(wanted: ModelSettings) -> Network:
        stripe_dim = channels(wanted.stripe_dim, wanted.width)
        size = (wanted.height, wanted.columns)
        return TwinTails(BACKBONES[backbone](wanted.width), wanted.stripes, stripe_dim, size, wanted.pooling)

    return make


MODELS: dict[str, Maker] = {
    **{f"one-stream-{backbone}": _one_stream(backbone) for backbone in BACKBONES},
    **{f"two-stream-{backbone}": _two_stream(backbone) for backbone in BACKBONES},
    **{f"twin-tails-{backbone}": _twin_tails(backbone) for backbone in BACKBONES},
    **{name: _transformer(name) for name in ENCODERS},
}


def build(wanted: ModelSettings) -> Network:
    """Build a network with fresh weights.

    Raises:
        TrainingError: there is no model of that name.
    """
    if wanted.name not in MODELS:
        raise TrainingError(f"there is no model {wanted.name!r}; known are {', '.join(MODELS)}")
    return MODELS[wanted.name](wanted)


def normalisation(name: str) -> Normalisation:
    """Tell how the network of a name normalises pixels."""
    return ENCODERS[name].normalisation if name in ENCODERS else IMAGENET
