"""Which images to trust in their cluster: those it keeps when clusters are made tighter or looser.

An image is compact as far as a tighter clustering leaves its cluster alike, independent as far as a looser one does.
Both are kept here as one minus the intersection over union, so smaller is better; sizes of intersections come from
counting pairs of labels, never from comparing images pairwise. Knows no distances.

Ge et al., Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID, NeurIPS 2020,
equations 5 and 6 and section 3.3; the threshold and the rule for members as its code has them.
"""

from dataclasses import dataclass

import numpy as np

from training.labels.outliers import OUTLIER
from vireid.arrays import BoolArray, Float64Array, Int64Array
from vireid.errors import TrainingError

SHARE = 0.9  # of the clusters pass the threshold when it is set


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How far each image and cluster can be trusted.

    Attributes:
        labels: the clusters that are judged, -1 for outliers, (N,).
        compactness: one minus the overlap of the image's cluster with its tighter one, (N,).
        independence: the same with its looser one, (N,).
    """

    labels: Int64Array
    compactness: Float64Array
    independence: Float64Array

    def threshold(self, share: float = SHARE) -> float:
        """Return the independence that about a share of the clusters reach; keep it for the epochs after.

        Raises:
            TrainingError: no cluster has more than one image.
        """
        inside = self.labels != OUTLIER
        sizes = np.unique(self.labels[inside], return_counts=True)[1]
        values = np.sort(_best(self.independence[inside], self.labels[inside])[sizes > 1])
        if not len(values):
            raise TrainingError(
                f"none of {len(self.labels)} images shares a cluster with another, so there is no threshold of "
                f"independence to set; raise eps"
            )
        return float(values[min(len(values) - 1, round(share * len(values)))])

    def kept(self, threshold: float, *, spare_last: bool = False) -> BoolArray:
        """Decide which images stay in their cluster.

        An image stays if its cluster's best member is independent enough and itself is as compact as the
        cluster's best member.

        Args:
            threshold: the greatest independence that passes, as ``threshold`` returned it once.
            spare_last: leave each cluster its last image, as later re-implementations do.

        Returns:
            Whether each image stays, (N,); of an outlier it decides nothing, as that has nothing to leave.
        """
        group = _classes(self.labels)
        cluster_independence = _best(self.independence, group)[group]
        cluster_compactness = _best(self.compactness, group)[group]
        stays = (cluster_independence <= threshold) & (self.compactness <= cluster_compactness)
        if spare_last:
            survivors = np.bincount(group, weights=stays)
            last = np.zeros(len(survivors), dtype=np.int64)
            last[group] = np.arange(len(group))  # the last write of each class stands
            stays[last[survivors == 0]] = True
        return stays

    def filtered(self, threshold: float, *, spare_last: bool = False) -> Int64Array:
        """Return the labels with -1 for every image that does not stay, (N,)."""
        return np.where(self.kept(threshold, spare_last=spare_last), self.labels, OUTLIER)


def judge(middle: Int64Array, tight: Int64Array, loose: Int64Array) -> Reliability:
    """Judge a clustering by a tighter and a looser one of the same images; an outlier is a class of its own.

    Args:
        middle: the clusters to judge, -1 for outliers, (N,).
        tight: the same images with a smaller radius, (N,).
        loose: with a greater one, (N,).

    Raises:
        TrainingError: the three are not of one length.
    """
    if not len(middle) == len(tight) == len(loose):
        raise TrainingError(
            f"clusterings of {len(middle)}, {len(tight)} and {len(loose)} images; expected the same images"
        )
    return Reliability(middle, _distance(middle, tight), _distance(middle, loose))


def _distance(one: Int64Array, other: Int64Array) -> Float64Array:
    """Return one minus intersection over union of each image's two classes, (N,)."""
    mine, its = _classes(one), _classes(other)
    pair = np.unique(mine * (len(its) + 1) + its, return_inverse=True)[1]
    both = np.bincount(pair)[pair]
    either = np.bincount(mine)[mine] + np.bincount(its)[its] - both
    distance: Float64Array = 1.0 - both / either
    return distance


def _classes(labels: Int64Array) -> Int64Array:
    """Number classes from 0, each outlier one of its own."""
    alone = labels == OUTLIER
    own = np.where(alone, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def _best(values: Float64Array, group: Int64Array) -> Float64Array:
    """Return the least value of each class, in ascending order of classes."""
    number = np.unique(group, return_inverse=True)[1]
    best = np.full(number.max(initial=-1) + 1, np.inf)
    np.minimum.at(best, number, values)
    return best
