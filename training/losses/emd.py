"""The earth mover's distance between an identity's visible and infrared images.

Ling et al., Cross-Modality Earth Mover's Distance for Visible Thermal Person Re-Identification, AAAI 2023: pairs that are
near each other carry the transport, so that what is minimised is what divides the modalities rather than what divides
poses. The images of an identity weigh the same. The plan is not differentiated: by the envelope theorem the gradient of
the transport's value is that of its costs under the best plan.

Knows no network: heads come as features side by side.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training import transport
from training.losses.precision import SMALLEST_SQUARE, exactly, widened

Ground = Literal["euclidean", "squared", "cosine"]
Solver = Literal["exact", "sinkhorn"]

PASSES = 1000  # of the last, finest stage of Sinkhorn's iteration
COARSE_PASSES = 10  # of each stage before it
LOOK = 5  # passes between two looks at the marginals


def earth_movers(
    features: Tensor,
    labels: Tensor,
    modality: Tensor,
    *,
    solver: Solver = "exact",
    ground: Ground = "euclidean",
    epsilon: float = 0.1,
) -> Tensor:
    """Average the distance between the modalities over identities and heads.

    With Euclidean costs it lies between the distance of the two modalities' centres and the mean of all pairs, which it
    becomes as epsilon grows.

    Args:
        features: of one head, (B, D), or of several, (H, B, D).
        labels: identities, (B,).
        modality: 0 visible, 1 infrared, (B,).
        solver: ``exact``: the cheapest plan, a one-to-one matching where an identity has as many images of one kind as
            of the other; ``sinkhorn``: the plan with entropy.
        ground: what moving an image to another costs: their Euclidean distance, its square, or 1 - cosine.
        epsilon: weight of the entropy, in units of the cost; of no effect on exact plans.

    Returns:
        A scalar; identities without images of both modalities are left out, and 0 is returned if there are no others.
        Not finite if a feature is not.
    """
    with exactly(features):
        x = widened(features)
        heads = x if x.dim() == 3 else x[None]
        sides = _sides(labels, modality)
        if sides is None:
            return x.sum() * 0
        visible, infrared = sides
        costs = ground_costs(heads[:, visible.index], heads[:, infrared.index], ground)
        flat = costs.detach().flatten(0, 1)
        if not bool(flat.isfinite().all()):
            return costs.sum()  # no plan is best; whoever reads the loss sees that it is not finite
        rows, columns = (side.there.repeat(len(heads), 1) for side in sides)
        plans = (
            exact_plans(flat, rows, columns)
            if solver == "exact"
            else sinkhorn_plans(flat, rows, columns, epsilon)
        )
        return (plans.to(costs.dtype).view_as(costs) * costs).sum() / len(flat)


def ground_costs(visible: Tensor, infrared: Tensor, ground: Ground) -> Tensor:
    """Return what each pair costs, (..., V, T) of (..., V, D) and (..., T, D)."""
    if ground == "cosine":
        return 1 - F.normalize(visible, dim=-1) @ F.normalize(infrared, dim=-1).transpose(-1, -2)
    # differences themselves: the product form loses the small distances that matter most here
    squares = (visible[..., :, None, :] - infrared[..., None, :, :]).square().sum(-1)
    return squares if ground == "squared" else (squares + SMALLEST_SQUARE).sqrt()


def exact_plans(costs: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Find the cheapest plan of every block, each image of a side weighing the same.

    Args:
        costs: (N, V, T).
        visible: which rows of a block there are, those that are first, (N, V).
        infrared: which columns, (N, T).

    Returns:
        Plans, zero where there is nothing, float64, (N, V, T).
    """
    from scipy.optimize import linear_sum_assignment

    cost = costs.detach().double().cpu().numpy()
    plans = np.zeros_like(cost)
    for plan, block, rows, columns in zip(plans, cost, _counts(visible), _counts(infrared), strict=True):
        if rows == columns:
            plan[linear_sum_assignment(block[:rows, :columns])] = 1 / rows
        else:
            plan[:rows, :columns] = transport.exact(transport.Problem(block[:rows, :columns])).numpy()
    return torch.from_numpy(plans).to(costs.device)


def sinkhorn_plans(
    costs: Tensor, visible: Tensor, infrared: Tensor, epsilon: float, tolerance: float = 1e-6
) -> Tensor:
    """Find the plan with entropy of every block, all blocks at once, in the log domain and double precision.

    The weight of the entropy is halved down to epsilon and potentials are handed on: begun at a small weight, the
    iteration would need passes in inverse proportion to the error wherever an image is as far from two others. What the
    last pass leaves is rounded to the marginals (Altschuler et al., Near-linear Time Approximation Algorithms for Optimal
    Transport via Sinkhorn Iteration, NeurIPS 2017, algorithm 2).

    Args:
        costs: (N, V, T).
        visible: which rows of a block there are, (N, V).
        infrared: which columns, (N, T).
        epsilon: weight of the entropy.
        tolerance: by which a row's sum may deviate from its share before rounding, relative; the iteration also ends
            after 1000 passes at this epsilon.

    Returns:
        Plans, zero where there is nothing, float64, (N, V, T).
    """
    cost = costs.detach().double()
    rows, columns = (
        torch.where(side, -side.sum(1, keepdim=True).log(), -torch.inf) for side in (visible, infrared)
    )
    rows, columns = rows.double(), columns.double()
    at = max(float(cost.max()), epsilon)
    v = torch.where(infrared, 0.0, -torch.inf).double()
    while True:
        kernel = cost / -at
        for turn in range(PASSES if at == epsilon else COARSE_PASSES):
            u = rows - (kernel + v[:, None]).logsumexp(2)
            v = columns - (kernel + u[:, :, None]).logsumexp(1)
            if turn % LOOK == LOOK - 1 and at == epsilon:
                sums = (kernel + v[:, None]).logsumexp(2) + u
                if float((sums - rows)[visible].expm1().abs().max()) <= tolerance:
                    break
        if at == epsilon:
            return _rounded((kernel + u[:, :, None] + v[:, None]).exp(), rows.exp(), columns.exp())
        finer = max(at / 2, epsilon)
        v, at = v * (at / finer), finer


@dataclass(frozen=True, slots=True)
class _Side:
    """Where the images of one modality stand.

    Attributes:
        index: rows of the batch, an identity a row, filled up with any, (P, K).
        there: which of them are meant, those that are first, (P, K).
    """

    index: Tensor
    there: Tensor


def _sides(labels: Tensor, modality: Tensor) -> tuple[_Side, _Side] | None:
    """Find the images of each identity that has both modalities; None if there is none."""
    names, place = torch.unique(labels, return_inverse=True)
    kinds = (modality == 0, modality == 1)
    shown = torch.stack([place[kind].bincount(minlength=len(names)) for kind in kinds]) > 0
    both = shown.all(0)
    if not both.any():
        return None
    place, meant = both.cumsum(0)[place] - 1, both[place]
    visible, infrared = (_side(place, kind & meant) for kind in kinds)
    return visible, infrared


def _side(place: Tensor, mine: Tensor) -> _Side:
    rows = mine.nonzero()[:, 0]
    rows = rows[place[rows].argsort(stable=True)]
    counts = place[rows].bincount()
    before = (counts.cumsum(0) - counts).repeat_interleave(counts)
    at = place[rows], torch.arange(len(rows), device=rows.device) - before
    index = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=rows.device)
    there = torch.zeros_like(index, dtype=torch.bool)
    index[at], there[at] = rows, True
    return _Side(index, there)


def _rounded(plans: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Take from rows and columns what is too much, and spread what is then missing."""
    for dim, wanted in ((2, rows), (1, columns)):
        sums = plans.sum(dim)
        plans = plans * torch.where(sums > wanted, wanted / sums, 1.0).unsqueeze(dim)
    short, wanting = (rows - plans.sum(2)).clamp(min=0), (columns - plans.sum(1)).clamp(min=0)
    total = short.sum(1).clamp(min=torch.finfo(plans.dtype).tiny)
    return plans + short[:, :, None] * wanting[:, None] / total[:, None, None]


def _counts(there: Tensor) -> list[int]:
    return [int(count) for count in there.sum(1).tolist()]
