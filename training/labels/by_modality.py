"""Clusters of each modality by itself, by density of their Jaccard distances. Knows no network and no method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.labels import clustering
from training.labels.balanced import balanced
from training.labels.jaccard import Neighbourhood, encode, radius_graph
from training.labels.outliers import OUTLIER
from training.labels.pseudo import PseudoLabels
from training.method_settings.clusters import ClusterSettings
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError
from vireid.types import Modality


@dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """Clusters of both modalities; those of one have nothing to do with those of the other.

    Attributes:
        labels: cluster of each image, from 0 in each modality, -1 for outliers, (N,).
        modality: of each image, (N,).
        encoded: by modality, whom its images share neighbourhoods with, in the order of ``index``: a SciPy CSR array
            with a row for each. Its columns are those same images, or all N where neighbours are sought in both.
    """

    labels: Int64Array
    modality: Int64Array
    encoded: Mapping[Modality, Any]

    def index(self, kind: Modality) -> Int64Array:
        """Return the places of a modality's images, ascending."""
        return np.flatnonzero(self.modality == kind)

    def of(self, kind: Modality) -> Int64Array:
        """Return the clusters of a modality's images, -1 for outliers and for all others, (N,)."""
        return np.where(self.modality == kind, self.labels, OUTLIER)

    def count(self, kind: Modality) -> int:
        """Return how many clusters a modality has."""
        return int(self.of(kind).max(initial=OUTLIER)) + 1

    def told(self) -> dict[str, float]:
        """Tell how many clusters each modality has, and the share of its images that are outliers."""
        clusters = {f"clusters_{kind.word}": float(self.count(kind)) for kind in Modality}
        outliers = {
            f"outliers_{kind.word}": float((self.labels[self.index(kind)] == OUTLIER).mean())
            for kind in Modality
        }
        return clusters | outliers

    def pseudo_labels(self, made: Mapping[str, Any]) -> PseudoLabels:
        """Return the clusters as labels that no image of another modality shares: infrared ones count on.

        Args:
            made: how they were made, beside ``told``.
        """
        inside = self.labels >= 0
        shift = np.where(self.modality == Modality.INFRARED, self.count(Modality.VISIBLE), 0)
        labels = np.where(inside, self.labels + shift, OUTLIER)
        return PseudoLabels(labels, inside.astype(np.float32), ~inside, {**made, **self.told()})


def cluster_each(features: Float32Array, modality: Int64Array, wanted: ClusterSettings) -> Clustered:
    """Cluster the images of each modality.

    Args:
        features: one row an image, (N, D).
        modality: 0 visible, 1 infrared, (N,).
        wanted: neighbours and radius.

    Raises:
        TrainingError: a modality has no images, or fewer than two clusters; a histogram of distances says which
            radius would do better.
    """
    around = Neighbourhood(wanted.k1, wanted.k2)
    places = {kind: np.flatnonzero(modality == kind) for kind in Modality}
    for kind, index in places.items():
        if not len(index):
            raise TrainingError(
                f"there are no {kind.word} images to cluster; expected some of both modalities"
            )
    if wanted.neighbours == "balanced":
        whole = encode(features, around, ranking=balanced(features, modality, around.entries))
        encoded = {kind: whole[index] for kind, index in places.items()}
    else:
        encoded = {kind: encode(features[index], around) for kind, index in places.items()}
    labels = np.full(len(modality), OUTLIER, np.int64)
    for kind, index in places.items():
        graph = radius_graph(encoded[kind], wanted.eps)
        found = clustering.cluster(graph, wanted.eps, wanted.min_samples)
        clustering.demand(found, graph, wanted.eps, wanted.min_samples, kind.word)
        labels[index] = found
    return Clustered(labels, modality, encoded)


def centres(features: Float32Array, labels: Int64Array, count: int, *, normalise: bool) -> Float32Array:
    """Return the mean of each class's rows.

    Args:
        features: one row an image, (N, D).
        labels: class of each, below 0 for none, (N,).
        count: of classes, C; each must have an image.
        normalise: bring the means to length one.

    Returns:
        (C, D).

    Raises:
        TrainingError: a class without images, or whose images cancel out where a length of one is wanted.
    """
    inside = labels >= 0
    sizes = np.bincount(labels[inside], minlength=count)
    if len(sizes) > count or not sizes.all():
        raise TrainingError(
            f"{len(sizes)} classes have {sizes.tolist()} images; expected {count} with some each"
        )
    sums = np.zeros((count, features.shape[1]), np.float64)
    np.add.at(sums, labels[inside], features[inside])
    means = sums / sizes[:, None]
    if normalise:
        length = np.linalg.norm(means, axis=1, keepdims=True)
        if not (length > 0).all():
            raise TrainingError(
                "the images of a class cancel out: its mean has no direction; look at the features"
            )
        means /= length
    return means.astype(np.float32)
