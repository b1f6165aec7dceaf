"""Standard weights (ImageNet's, say), or those of a finished run, as the start of a network.

The names are the usual ones: ``conv1.weight``, ``layer1.0.conv1.weight``, ... of a ResNet, those of the transformers library
of a vision transformer; a run's checkpoint is brought to them. Reads safetensors, never a pickle.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from training.models.network import Network
from vireid.errors import TrainingError

# a counter of batch norm that older weight files lack; it is not used with a fixed momentum
_OPTIONAL = "num_batches_tracked"
# what a checkpoint's names of its network begin with
_LEARNT = "weights.model."


def read(path: Path) -> dict[str, Tensor]:
    """Read a weight file, or what the stem and the trunk of a run learnt from its checkpoint.

    Raises:
        TrainingError: it is missing or no safetensors file, or the checkpoint's modalities have stems of their own.
    """
    if not path.is_file():
        raise TrainingError(f"there are no weights at {path}; name a .safetensors file")
    try:
        held = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise TrainingError(
            f"{path} is no safetensors file: {error}; other formats must be converted first"
        ) from None
    learnt = {name.removeprefix(_LEARNT): value for name, value in held.items() if name.startswith(_LEARNT)}
    return _shared(learnt, path) if learnt else held


def _shared(learnt: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return a network's weights by their standard names, which have room for one stem."""
    parts = {name: name.partition(".") for name in learnt if fills(name)}
    apart = sorted({part for part, _, _ in parts.values()} - {"stem", "trunk"})
    if apart:
        raise TrainingError(
            f"{path} is a run whose modalities have {' and '.join(apart)} of their own, and weights to start from "
            "have one; train it with a network of one stream, for example --set model.name=one-stream-resnet18"
        )
    return {rest: learnt[name] for name, (_, _, rest) in parts.items()}


def fills(name: str) -> bool:
    """Tell whether standard weights may fill what has this name in a network."""
    return name.partition(".")[0].endswith(("stem", "trunk"))


def load(network: Network, weights: Mapping[str, Tensor]) -> list[str]:
    """Load standard weights into every stem and trunk, the same into each modality's own.

    Args:
        network: changed in place.
        weights: by their standard names.

    Returns:
        The names that were not used (the classifier's).

    Raises:
        TrainingError: a weight is missing, has another shape, or is not finite.
    """
    own, weights = network.state_dict(), network.fitted(weights)
    used: set[str] = set()
    for name, value in own.items():
        source = name.partition(".")[2]
        if not fills(name) or (source not in weights and source.endswith(_OPTIONAL)):
            continue
        found = weights.get(source)
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else str(tuple(found.shape))
            raise TrainingError(
                f"the weights hold {shape} for {source}; the model expects {tuple(value.shape)}: "
                "take standard weights of the network that the recipe names (they fit at width 1), or a run of one "
                "stream with the same blocks and width"
            )
        if not torch.isfinite(found).all():
            raise TrainingError(f"the weights hold values that are not finite for {source}")
        own[name] = found
        used.add(source)
    network.load_state_dict(own)
    return sorted(set(weights) - used)
