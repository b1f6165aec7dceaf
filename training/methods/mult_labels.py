"""MULT's labels: every image of both modalities in the label space of either, made of clusters, affinities and transport.

He et al., Exploring Homogeneous and Heterogeneous Consistent Label Associations for Unsupervised Visible-Infrared Person
ReID, arXiv 2402.00672, 2024. Outliers of the clustering get labels as all others do. Knows no network and no losses.
"""

import logging
from dataclasses import dataclass

import numpy as np

from training.labels import affinity, transfer
from training.labels.affinity import Heterogeneous, Homogeneous
from training.labels.by_modality import Clustered, centres
from training.labels.pseudo import PseudoLabels
from training.labels.transfer import Recursion, Side, Transferred
from training.method_settings import MultSettings
from training.transport import Plan, Problem, assign, solve
from vireid.arrays import Float32Array, Int64Array
from vireid.types import Modality

PUBLISHED_STEPS = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The labels of all images in one label space, rows in the order of all images.

    Attributes:
        soft: probabilities of the space's classes, the greatest one raised, (N, C).
        hard: the greatest, (N,).
        told: how they were made, by name.
    """

    soft: Float32Array
    hard: Int64Array
    told: dict[str, float]

    def both(self, modality: Int64Array) -> Int64Array:
        """Return the classes that have images of both modalities, ascending."""
        visible, infrared = (self.hard[modality == kind] for kind in Modality)
        found: Int64Array = np.intersect1d(visible, infrared)
        return found

    def pseudo_labels(self, made: dict[str, object]) -> PseudoLabels:
        """Return the hard ones; no image is an outlier.

        Args:
            made: how, beside ``told``.
        """
        sure = self.soft[np.arange(len(self.hard)), self.hard].clip(0, 1)
        return PseudoLabels(self.hard, sure, np.zeros(len(self.hard), np.bool_), {**made, **self.told})


def transferred(features: Float32Array, clustered: Clustered, wanted: MultSettings) -> dict[Modality, Space]:
    """Label every image in the label space of each modality.

    Args:
        features: unit rows, (N, D).
        clustered: of these.
        wanted: how.

    Returns:
        By the modality whose clusters are the classes.
    """
    index = {kind: clustered.index(kind) for kind in Modality}
    rows = {kind: features[places] for kind, places in index.items()}
    distances = affinity.squared_distances(rows[Modality.VISIBLE], rows[Modality.INFRARED])
    plan = _solved(Problem(distances, delta=wanted.delta), wanted)
    across = Heterogeneous(plan)
    take = {Modality.VISIBLE: across.to_rows, Modality.INFRARED: across.to_columns}
    smooth = {kind: Homogeneous.of(clustered.encoded[kind]).smooth for kind in Modality}
    recursion = Recursion(
        alpha=wanted.alpha,
        symmetric=wanted.transfer == "symmetric",
        stop="published" if wanted.compat.stopping else "change",
        tolerance=wanted.change,
        max_sweeps=wanted.max_sweeps,
    )
    made = {}
    for owner, guest in ((Modality.VISIBLE, Modality.INFRARED), (Modality.INFRARED, Modality.VISIBLE)):
        means = centres(features, clustered.of(owner), clustered.count(owner), normalise=False)
        sides = (
            Side(likely(rows[owner], means, wanted.temperature), take[owner], smooth[owner]),
            Side(shared_out(rows[guest], means, wanted), take[guest], smooth[guest]),
        )
        found = transfer.transfer(*sides, recursion)
        told = {
            f"iterations_{owner.word}": float(plan.iterations),
            f"sweeps_{owner.word}": float(found.sweeps),
        }
        made[owner] = _space(found, (index[owner], index[guest]), wanted.beta, told)
    return made


def likely(rows: Float32Array, means: Float32Array, temperature: float) -> Float32Array:
    """Label images by how alike they are to their own modality's clusters, softly.

    Args:
        rows: unit rows, (N, D).
        means: of the clusters, not brought to length one, (C, D).
        temperature: similarities are divided by it.

    Returns:
        Probabilities, (N, C).
    """
    logits: Float32Array = rows @ means.T
    logits /= np.float32(temperature)
    logits -= logits.max(1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(1, keepdims=True)
    return logits


def shared_out(rows: Float32Array, means: Float32Array, wanted: MultSettings) -> Float32Array:
    """Label images by transport to the other modality's clusters, each of which gets as many, hard.

    Args:
        rows: unit rows, (N, D).
        means: of the clusters, not brought to length one, (C, D).
        wanted: of the plan.

    Returns:
        Rows of zeros and a one, (N, C).
    """
    cost = (means * means).sum(1) + 1 - 2 * rows @ means.T
    plan = _solved(Problem(cost, delta=wanted.delta), wanted)
    made = np.zeros(plan.problem.shape, np.float32)
    made[np.arange(len(rows)), assign(plan, "row").rows.numpy()] = 1
    return made


def _space(
    found: Transferred, index: tuple[Int64Array, Int64Array], beta: float, told: dict[str, float]
) -> Space:
    soft = np.empty((sum(map(len, index)), found.owner.shape[1]), np.float32)
    for labels, places in zip((found.owner, found.guest), index, strict=True):
        soft[places] = transfer.sharpened(labels, beta)
    return Space(soft, transfer.hard(soft), told)


def _solved(problem: Problem, wanted: MultSettings) -> Plan:
    published = wanted.compat.stopping
    plan = solve(
        problem,
        stop="published" if published else "marginal",
        max_iterations=PUBLISHED_STEPS if published else wanted.max_iterations,
        tolerance=wanted.tolerance,
    )
    if not plan.converged:
        log.warning(
            "the transport of %d images to %d others or their clusters stopped after %d iterations at a marginal error of %.2g",
            *problem.shape,
            plan.iterations,
            plan.error,
        )
    return plan
