"""MIOT's matching of clusters across modalities, from their prototypes alone (optimal-transport prototype assignment).

Zhang et al., Mutual Information Guided Optimal Transport for Unsupervised Visible-Infrared Person Re-identification
(arXiv 2407.12758), figures 2, 3 and 5: infrared prototypes are supplied and visible ones demanded, by similarities brought to
0..1 and with a uniform prior; visible prototypes that none chose choose by an opposite transport. That of a plan that has
converged is its transpose. Knows no network and no losses.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from training.method_settings.miot import MatchingSettings
from training.transport import Plan, Problem, assign, solve
from vireid.arrays import Float32Array, Int64Array
from vireid.types import Modality

log = logging.getLogger(__name__)

LEAST = 1e-6  # similarity at which the logarithm of an opposite direction ends
NONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which clusters of two modalities are taken for one person.

    Attributes:
        pairs: an infrared and a visible cluster each, (M, 2).
        cross: by modality, the cross class of each of its clusters, from 0, -1 for those that match none.
        partner: by modality, the cluster of the other that each matches best, -1 for none.
        told: what is worth telling.
    """

    pairs: Int64Array
    cross: Mapping[Modality, Int64Array]
    partner: Mapping[Modality, Int64Array]
    told: Mapping[str, float]

    @property
    def classes(self) -> int:
        """How many cross classes there are."""
        return int(self.cross[Modality.VISIBLE].max(initial=NONE)) + 1


def match(visible: Float32Array, infrared: Float32Array, wanted: MatchingSettings) -> Matching:
    """Match clusters by their prototypes.

    Args:
        visible: unit rows, (V, D).
        infrared: unit rows, (R, D).
        wanted: how; not ``off``.
    """
    similarity = torch.from_numpy(infrared).double() @ torch.from_numpy(visible).double().T
    plan = _plan(Problem(-((similarity + 1) / 2).clamp(min=LEAST).log(), delta=wanted.delta), wanted)
    chosen = assign(plan, "bidirectional" if wanted.opposite else "row")
    mass = plan.matrix().numpy()
    pairs = chosen.pairs.numpy()
    if wanted.min_mass:
        most = min(1 / len(infrared), 1 / len(visible))
        pairs = pairs[mass[pairs[:, 0], pairs[:, 1]] / most >= wanted.min_mass]
    if wanted.cross == "demand":
        forward = chosen.rows.numpy()
        joined = pairs[forward[pairs[:, 0]] == pairs[:, 1]]
    else:
        joined = pairs
    cross = _groups(joined, (len(infrared), len(visible)))
    partner = {
        Modality.INFRARED: _best(pairs[:, 0], pairs[:, 1], mass, len(infrared)),
        Modality.VISIBLE: _best(pairs[:, 1], pairs[:, 0], mass.T, len(visible)),
    }
    found = {"cross_classes": float(int(cross[Modality.VISIBLE].max(initial=NONE)) + 1)}
    matched = {f"matched_{kind.word}": float((of >= 0).mean()) for kind, of in cross.items()}
    solved = {"iterations": float(plan.iterations), "error": plan.error} if wanted.way == "transport" else {}
    return Matching(pairs, cross, partner, found | matched | solved)


def _plan(problem: Problem, wanted: MatchingSettings) -> Plan:
    if wanted.way == "transport":
        plan = solve(problem, max_iterations=wanted.max_iterations, tolerance=wanted.tolerance)
        if not plan.converged:
            log.warning(
                "matching stopped after %d iterations at a marginal error of %.1e, wanted %.1e; raise "
                "method.matching.max_iterations",
                plan.iterations,
                plan.error,
                wanted.tolerance,
            )
        return plan
    u, v = (torch.zeros(length, dtype=torch.float64) for length in problem.shape)
    return Plan(problem, u, v, row_error=np.inf, column_error=np.inf, converged=False, iterations=0)


def _best(own: Int64Array, other: Int64Array, mass: np.ndarray, count: int) -> Int64Array:
    """Return, of each cluster's matches, the one with the greatest mass; the lower one wins a tie."""
    best = np.full(count, NONE, np.int64)
    order = np.lexsort((other, -mass[own, other]))[::-1]
    best[own[order]] = other[order]  # the last one written stays: the greatest
    return best


def _groups(pairs: Int64Array, shape: tuple[int, int]) -> dict[Modality, Int64Array]:
    """Number what hangs together, by its first infrared cluster; -1 for what hangs on nothing."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = pairs.T
    size = sum(shape)
    edges = coo_array((np.ones(len(pairs)), (rows, columns + shape[0])), shape=(size, size))
    group = connected_components(edges, directed=False)[1].astype(np.int64)
    joined = np.zeros(size, np.bool_)
    joined[np.concatenate([rows, columns + shape[0]])] = True
    made = np.full(size, NONE, np.int64)
    made[joined] = np.unique(group[joined], return_inverse=True)[1]
    return {Modality.INFRARED: made[: shape[0]], Modality.VISIBLE: made[shape[0] :]}
