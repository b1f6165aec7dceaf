"""Why an export was refused: the network itself, looked at without the export, and what to do about it.

An export computes in another order and so rounds otherwise. Where a network's own last bits move its embeddings, or where it
gives everybody nearly the same one, no export of it is at fault. Knows no graph.
"""

import copy

import numpy as np
import torch
from torch import nn

from export import comparison, ranking
from export.bars import EXPORTED
from export.parity import Probes
from export.torch_engine import TorchEngine
from vireid.arrays import Float32Array, Int64Array

IMAGES = 8  # that are looked at with other last bits


def advise(model: nn.Module, probes: Probes) -> str:
    """Say what is wrong with a network whose export was refused, and what to do.

    Args:
        model: its evaluation forward takes (images, modality) and gives unit rows.
        probes: what it was refused on.
    """
    rows = TorchEngine(model).embed(probes.images, probes.modality)
    if not np.isfinite(rows).all():
        return (
            "the network itself gives NaN or infinity: take an earlier checkpoint, or train with a lower rate"
        )
    person: Int64Array = np.arange(len(rows))
    alike = max(ranking.strangers(rows, person, probes.modality).values())
    if alike > EXPORTED.strangers:
        return (
            f"the network itself gives different figures nearly one embedding (mean cosine {alike:.5f}): "
            "it has learnt too little yet, or its pixels are normalised twice; train it longer, then export again"
        )
    steady = least_cosine(model, probes)
    if not steady >= EXPORTED.cosine_min:
        return (
            f"the network itself is that unsteady: with its numbers moved by a last bit, cosine falls to {steady:.6f}; "
            "its features hardly differ from their running mean: train it longer, or with a lower rate"
        )
    return (
        f"the network itself is steady (cosine {steady:.7f} with its numbers moved by a last bit), so the graph is wrong: "
        "please report it with the recipe"
    )


def least_cosine(model: nn.Module, probes: Probes, seed: int = 0) -> float:
    """Return the least cosine between a network's rows and its rows with every weight and statistic moved by a last bit.

    Args:
        model: as for ``advise``.
        probes: the first few are shown.
        seed: of which numbers go up and which down.
    """
    moved = copy.deepcopy(model)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*moved.parameters(), *moved.buffers()]:
            if tensor.is_floating_point():
                up = torch.rand(tensor.shape, generator=chance) < 0.5
                towards = torch.where(up, torch.inf, -torch.inf).to(tensor.device, tensor.dtype)
                tensor.copy_(torch.nextafter(tensor, towards))
    return float(comparison.cosine(*(_rows(each, probes) for each in (model, moved))).min())


def _rows(model: nn.Module, probes: Probes) -> Float32Array:
    return TorchEngine(model).embed(probes.images[:IMAGES], probes.modality[:IMAGES])
