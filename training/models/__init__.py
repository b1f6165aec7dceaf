"""Networks that turn images into embeddings; the dict says which."""

from collections.abc import Callable

from torch import nn

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


def load_standard(model: nn.Module, weights: dict[str, object]) -> list[str]:
    """Load weights of standard names (``conv1.weight``, ``layer1.0.conv1.weight`` ...) into both stems and the trunk.

    Returns:
        The names that were not used (the classifier's).

    Raises:
        TrainingError: a weight of the trunk is missing or has another shape.
    """
    import torch

    own = model.state_dict()
    used: set[str] = set()
    for name in own:
        stem, _, rest = name.partition(".")
        source = rest if stem in {"visible_stem", "infrared_stem", "trunk"} else ""
        if not source:
            continue
        found = weights.get(source)
        if not isinstance(found, torch.Tensor) or found.shape != own[name].shape:
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else "nothing"
            raise TrainingError(f"the weights hold {shape} for {source}; expected {tuple(own[name].shape)}")
        own[name] = found
        used.add(source)
    model.load_state_dict(own)
    return sorted(set(weights) - used)
