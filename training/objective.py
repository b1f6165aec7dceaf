"""What is minimised, for one process or several: a method's losses, their mean, and what must be the same everywhere after it.

Knows no optimiser and no epochs.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training import ranks
from training.data.loaders import Batch
from training.method import Method


class Objective(nn.Module):
    """A method's losses as a module's output, which is what several processes need to share gradients.

    Args:
        method: whose.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.learnt = method.modules
        self._method = (method,)  # in a tuple: it is no module of this one

    def forward(
        self, images: Tensor, modality: Tensor, index: Tensor, view: Tensor, parts: int
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch; only the total has a gradient."""
        losses = self._method[0].step(Batch(images, modality, index, view, parts))
        return {name: value if name == "total" else value.detach() for name, value in losses.items()}


def values(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Read all losses at once: a device is waited for once a batch."""
    read = torch.stack([value.detach().float() for value in losses.values()]).tolist()
    return dict(zip(losses, read, strict=True))


def mean(told: Mapping[str, float]) -> dict[str, float]:
    """Average losses over processes: each has seen its share of every batch.

    Args:
        told: by name; one that a process does not have counts as 0 there, as it does in a batch that has none.
    """
    names = list(dict.fromkeys(name for words in ranks.words(list(told)) for name in words))
    found = torch.tensor([told.get(name, 0.0) for name in names], dtype=torch.float64)
    return dict(zip(names, ranks.averaged(found).tolist(), strict=True))


def settle(modules: nn.Module) -> None:
    """Average running statistics over processes, and see that all else is the same.

    Raises:
        TrainingError: a weight or a memory differs.
    """
    if not ranks.together():
        return
    for module in modules.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            assert module.running_var is not None
            ranks.average([module.running_mean, module.running_var])
    seen = hashlib.sha256()
    for value in modules.state_dict().values():
        seen.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    ranks.agree("the weights and memories", seen.hexdigest())
