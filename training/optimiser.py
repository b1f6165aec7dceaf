"""The optimiser of a run: which parameters learn at which share of the rate. Knows no schedule and no method."""

from typing import Any

import torch
from torch import nn

from training.models import standard
from training.settings import OptimiserSettings

SHARE = "share"  # of the rate, of a group of parameters


def build(modules: nn.ModuleDict, wanted: OptimiserSettings) -> torch.optim.Optimizer:
    """Make an optimiser over everything that learns.

    Args:
        modules: of a method; its network is under ``model``.
        wanted: which, and how fast.
    """
    trunk: list[nn.Parameter] = []
    head: list[nn.Parameter] = []
    for name, parameter in modules.named_parameters():
        if parameter.requires_grad:
            (trunk if pretrained(name) else head).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": trunk, SHARE: wanted.trunk_share},
        {"params": head, SHARE: 1.0},
    ]
    if wanted.trunk_share == 1:
        groups = [{"params": [each for each in modules.parameters() if each.requires_grad], SHARE: 1.0}]
    groups = [group for group in groups if group["params"]]
    if wanted.name == "sgd":
        return torch.optim.SGD(
            groups, lr=wanted.rate, momentum=0.9, nesterov=True, weight_decay=wanted.weight_decay
        )
    return torch.optim.Adam(groups, lr=wanted.rate, weight_decay=wanted.weight_decay)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate; each group has its share of it."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(SHARE, 1.0)


def pretrained(name: str) -> bool:
    """Tell whether a parameter, by its name in a method's modules, belongs to what standard weights may fill."""
    part, _, rest = name.partition(".")
    return part == "model" and standard.fills(rest)
