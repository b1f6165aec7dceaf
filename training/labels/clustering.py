"""Clusters of images by density, from the graph of their close distances. Knows neither features nor persons.

Several radii come out of one graph, as the distances are the same. Too few clusters to train on are an error that
shows the distances and says which radius would have done better.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from training.labels.jaccard import RadiusGraph
from training.labels.outliers import OUTLIER
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError

BINS = 10
BAR = 40  # characters of the longest bar of a histogram
LEAST_CLUSTERS = 2


def cluster(graph: RadiusGraph, eps: float, min_samples: int = 4) -> Int64Array:
    """Cluster images by DBSCAN.

    Args:
        graph: distances up to some radius of N images.
        eps: images at most this far apart are neighbours; no more than the graph's radius.
        min_samples: neighbours that make an image a core one, itself included.

    Returns:
        Cluster of each image, from 0 in order of their first core images, -1 for outliers, (N,).

    Raises:
        TrainingError: ``eps`` is not above 0 or beyond the graph, or ``min_samples`` below 1.
    """
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import sort_graph_by_row_values

    if eps <= 0 or min_samples < 1:
        raise TrainingError(f"eps is {eps} and min_samples {min_samples}; expected above 0 and at least 1")
    if eps > graph.radius:
        raise TrainingError(
            f"eps is {eps:g}, the graph holds distances up to {graph.radius:g}; make the graph with the greatest eps"
        )
    ordered = sort_graph_by_row_values(graph.table, copy=True, warn_when_not_sorted=False)
    found = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(ordered)
    return np.asarray(found.labels_, dtype=np.int64)


def cluster_at(
    graph: RadiusGraph, radii: Sequence[float], min_samples: int = 4
) -> Mapping[float, Int64Array]:
    """Cluster the same images at several radii; by radius, labels as ``cluster`` returns them."""
    return {eps: cluster(graph, eps, min_samples) for eps in radii}


def count(labels: Int64Array) -> int:
    """Return how many clusters there are, outliers aside."""
    return len(np.unique(labels[labels != OUTLIER]))


def demand(labels: Int64Array, graph: RadiusGraph, eps: float, min_samples: int = 4, whose: str = "") -> None:
    """Demand at least two clusters.

    Args:
        labels: as ``cluster`` returned them, (N,).
        graph: what they were made of.
        eps: the radius they were made with.
        min_samples: and the neighbours.
        whose: the images' modality, if they are of one.

    Raises:
        TrainingError: none or one; shows how far images are from the neighbour that would make them core ones.
    """
    clusters = count(labels)
    if clusters >= LEAST_CLUSTERS:
        return
    reach = core_distances(graph, min_samples)
    raise TrainingError(
        f"clustering {len(labels)} {f'{whose} images' if whose else 'images'} with eps {eps:g} and "
        f"min_samples {min_samples} made {'one cluster alone' if clusters else 'no cluster'} "
        f"({int((labels == OUTLIER).sum())} outliers); "
        f"expected at least {LEAST_CLUSTERS}.\n"
        f"Distance at which each image has {min_samples} neighbours, itself counted:\n"
        f"{histogram(reach, eps)}\n"
        f"What to do: {_advice(labels, reach, graph.radius)}; if almost all lie near 0 or near 1, the features "
        f"tell nothing apart: look at the network and its learning rate"
    )


def _advice(labels: Int64Array, reach: Float32Array, radius: float) -> str:
    """Say which way to move eps: one cluster of nearly all images asks for less, one of a few for more."""
    if 2 * int((labels != OUTLIER).sum()) > len(labels):
        return "lower eps to below where most images lie, or raise min_samples"
    middle = float(np.median(reach))
    if np.isfinite(middle):
        return f"raise eps to {middle:.2g}, where half of the images have enough neighbours, or lower min_samples"
    return f"raise eps beyond {radius:g}, where the graph ends, or lower min_samples"


def core_distances(graph: RadiusGraph, min_samples: int) -> Float32Array:
    """Return the least radius that makes each image a core one, infinite where the graph ends before it, (N,)."""
    table = graph.table
    reach = np.full(table.shape[0], np.inf, dtype=np.float32)
    for row in np.flatnonzero(np.diff(table.indptr) >= min_samples):
        held = table.data[table.indptr[row] : table.indptr[row + 1]]
        reach[row] = np.partition(held, min_samples - 1)[min_samples - 1]
    return reach


def histogram(values: Float32Array, mark: float) -> str:
    """Draw values from 0 to 1 as lines of text; the bin of ``mark`` is marked, infinite ones come last."""
    inside = values[np.isfinite(values)]
    sizes, edges = np.histogram(inside, bins=BINS, range=(0.0, 1.0))
    beyond = len(values) - len(inside)
    longest = max(int(sizes.max()), beyond, 1)
    place = min(int(mark * BINS), BINS - 1)
    lines = [
        _line(f"{low:.1f} to {high:.1f}", int(size), longest, "  <- eps" if bin_ == place else "")
        for bin_, (low, high, size) in enumerate(zip(edges[:-1], edges[1:], sizes, strict=True))
    ]
    if beyond:
        lines.append(_line("farther", beyond, longest, ""))
    return "\n".join(lines)


def _line(name: str, size: int, longest: int, note: str) -> str:
    bar = "#" * max(round(BAR * size / longest), 1 if size else 0)
    return f"  {name:<10} {size:>7} {bar}{note}".rstrip()
