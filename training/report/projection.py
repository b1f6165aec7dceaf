"""Which embeddings are drawn, and where in the plane; how far two modalities lie apart. Knows no network."""

from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from vireid.arrays import Float32Array, Float64Array, Int64Array

MOST = 1500  # points
FEWEST = 10  # points from which neighbours are worth drawing
NEIGHBOURS = 10
_PERPLEXITY = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Embeddings in the plane, in two ways.

    Attributes:
        pca: along the two directions of greatest variance, (N, 2).
        explained: share of the variance along each.
        tsne: by t-SNE, (N, 2); None where there are too few points.
        apart: share of the variance that lies between the means of the two modalities.
        foreign: share of each image's nearest neighbours that are of the other modality, as a mean.
        foreign_mixed: what that share would be if modalities were mixed at random.
    """

    pca: Float64Array
    explained: tuple[float, float]
    tsne: Float64Array | None
    apart: float
    foreign: float
    foreign_mixed: float


def choose(person: Int64Array, modality: Int64Array, seed: int, most: int = MOST) -> Int64Array:
    """Choose images of all persons and both modalities alike.

    Args:
        person: of each image, (N,).
        modality: of each, (N,).
        seed: of the order within a person's images.
        most: as many at most.

    Returns:
        Places, ascending: an image of each person and modality, then a second of each, and so on.
    """
    order = np.random.default_rng(seed).permutation(len(person))
    group = np.unique(np.stack([person, modality])[:, order], axis=1, return_inverse=True)[1].ravel()
    by_group = np.argsort(group, kind="stable")
    begins = np.searchsorted(group[by_group], np.arange(group.max(initial=-1) + 1))
    turn = np.arange(len(group)) - begins[group[by_group]]
    taken = by_group[np.argsort(turn, kind="stable")][:most]
    return np.sort(order[taken])


def persons(person: Int64Array, modality: Int64Array, most: int) -> Int64Array:
    """Choose the persons with the most drawn images of the modality they have fewer of; by number, ascending."""
    everybody = np.unique(person)
    seen = [np.isin(modality, kind) for kind in np.unique(modality)]
    least = np.min([[(rows & (person == one)).sum() for one in everybody] for rows in seen], axis=0)
    return np.sort(everybody[np.argsort(-least, kind="stable")][:most])


def project(vectors: Float32Array, modality: Int64Array) -> Projection:
    """Lay embeddings out in the plane; the same input gives the same places, whatever the number of threads.

    Args:
        vectors: unit rows, (N, D), at least two.
        modality: of each, (N,).
    """
    rows = vectors.astype(np.float64)
    with threadpool_limits(1):
        pca, explained = _pca(rows)
        tsne = _tsne(rows, pca) if len(rows) >= FEWEST else None
        foreign, mixed = _foreign(rows, modality)
    return Projection(pca, explained, tsne, _apart(rows, modality), foreign, mixed)


def _pca(rows: Float64Array) -> tuple[Float64Array, tuple[float, float]]:
    centred = rows - rows.mean(axis=0)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    strength, directions = np.append(strength, [0.0, 0.0]), directions[:2]
    # a direction may as well point the other way: its largest part decides
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    places = np.zeros((len(rows), 2))
    places[:, : len(directions)] = centred @ directions.T
    shares = strength**2 / max(float((strength**2).sum()), 1e-300)
    return places, (float(shares[0]), float(shares[1]))


def _tsne(rows: Float64Array, pca: Float64Array) -> Float64Array:
    # it begins at the places of the PCA, so nothing is left to chance
    begins = pca / max(float(pca[:, 0].std()), 1e-300) * 1e-4
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    found: Float64Array = (
        TSNE(perplexity=perplexity, init=begins, random_state=0, n_jobs=1)
        .fit_transform(rows)
        .astype(np.float64)
    )
    return found


def _apart(rows: Float64Array, modality: Int64Array) -> float:
    whole = float(((rows - rows.mean(axis=0)) ** 2).sum())
    between = sum(
        float((modality == kind).sum())
        * float(((rows[modality == kind].mean(axis=0) - rows.mean(axis=0)) ** 2).sum())
        for kind in np.unique(modality)
    )
    return between / max(whole, 1e-300)


def _foreign(rows: Float64Array, modality: Int64Array) -> tuple[float, float]:
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    near = np.argsort(-similarity, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
    found = float((modality[near] != modality[:, None]).mean())
    mixed = float((modality[None, :] != modality[:, None]).sum() / (len(rows) * (len(rows) - 1)))
    return found, mixed
