"""Clusters of each modality: what stays apart, what is counted, and what a mean is."""

import numpy as np
import pytest

from training.labels.balanced import balanced
from training.labels.by_modality import Clustered, centres, cluster_each
from training.labels.clustering import cluster
from training.labels.jaccard import Neighbourhood, distances, encode, radius_graph
from training.method_settings.clusters import ClusterSettings
from vireid.errors import TrainingError
from vireid.types import Modality

WANTED = ClusterSettings(k1=6, k2=2, eps=0.6, min_samples=3)
VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED


def people(
    visible: int = 4, infrared: int = 4, each: int = 6, gap: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Images of some people in each modality, the same ones as far as both go; infrared ones are moved by a gap."""
    chance = np.random.default_rng(0)
    who = chance.normal(size=(max(visible, infrared), 16))
    drawn = [
        np.repeat(who[:count], each, 0) + 0.1 * chance.normal(size=(count * each, 16)) + shift
        for count, shift in ((visible, 0.0), (infrared, gap))
    ]
    features = np.concatenate(drawn).astype(np.float32)
    modality = np.repeat([0, 1], [visible * each, infrared * each])
    mixed = chance.permutation(len(features))
    return (features / np.linalg.norm(features, axis=1, keepdims=True))[mixed], modality[mixed]


@pytest.mark.parametrize("neighbours", ["own", "balanced"])
@pytest.mark.parametrize(("visible", "infrared"), [(4, 4), (6, 3), (10, 2), (2, 6)])
def test_every_person_of_each_modality_is_a_cluster(neighbours: str, visible: int, infrared: int) -> None:
    features, modality = people(visible, infrared)
    made = cluster_each(features, modality, WANTED.model_copy(update={"neighbours": neighbours}))
    if neighbours == "own":
        assert (made.count(VISIBLE), made.count(INFRARED)) == (visible, infrared)
        assert made.told() == {"clusters_visible": visible, "clusters_infrared": infrared,
                               "outliers_visible": 0.0, "outliers_infrared": 0.0}  # fmt: skip
    for kind in Modality:
        assert (made.of(kind)[modality != kind] == -1).all()
        assert sorted(set(made.of(kind)) - {-1}) == list(range(made.count(kind)))
        assert made.encoded[kind].shape[0] == len(made.index(kind)) == (modality == kind).sum()


def test_the_other_modality_changes_nothing_of_ones_own() -> None:
    features, modality = people()
    made = cluster_each(features, modality, WANTED)
    for kind in Modality:
        own = features[made.index(kind)]
        encoded = encode(own, Neighbourhood(6, 2))
        assert (made.encoded[kind] != encoded).nnz == 0
        np.testing.assert_array_equal(
            made.labels[made.index(kind)], cluster(radius_graph(encoded, 0.6), 0.6, 3)
        )


def test_too_few_clusters_name_the_modality_and_the_radius() -> None:
    features, modality = people(visible=4, infrared=1)
    with pytest.raises(
        TrainingError, match=r"clustering 6 infrared images with eps 0\.6 .* one cluster alone"
    ):
        cluster_each(features, modality, WANTED)
    with pytest.raises(TrainingError, match="min_samples 7 made no cluster"):
        # of everybody there are six images of a modality
        cluster_each(features, modality, WANTED.model_copy(update={"min_samples": 7}))
    with pytest.raises(TrainingError, match="there are no infrared images to cluster"):
        cluster_each(features[modality == 0], modality[modality == 0], WANTED)


def test_pseudo_labels_of_two_modalities_share_no_class() -> None:
    labels, modality = np.array([0, 0, 1, -1, 2, 0, 1]), np.array([0, 1, 0, 1, 1, 1, 1])
    made = Clustered(labels, modality, {}).pseudo_labels({"by": "clusters"})
    assert made.labels.tolist() == [0, 2, 1, -1, 4, 2, 3]
    assert made.outlier.tolist() == [False, False, False, True, False, False, False]
    assert made.confidence.tolist() == [1, 1, 1, 0, 1, 1, 1]
    assert made.made["clusters_infrared"] == 3
    assert made.made["outliers_infrared"] == pytest.approx(0.2)


def test_centres_are_means_and_outliers_have_no_part_in_them() -> None:
    features = np.array([[1, 0], [0, 1], [-1, 0], [0, 5], [9, 9]], np.float32)
    labels = np.array([0, 0, 1, 1, -1])
    np.testing.assert_allclose(centres(features, labels, 2, normalise=False), [[0.5, 0.5], [-0.5, 2.5]])
    made = centres(features, labels, 2, normalise=True)
    np.testing.assert_allclose(made, [[0.5**0.5] * 2, np.array([-0.5, 2.5]) / 6.5**0.5], rtol=1e-6)
    with pytest.raises(TrainingError, match=r"\[2, 2, 0\] images; expected 3"):
        centres(features, labels, 3, normalise=False)
    with pytest.raises(TrainingError, match="expected 1 with some each"):
        centres(features, labels, 1, normalise=False)
    with pytest.raises(TrainingError, match="cancel out"):
        centres(np.array([[1, 0], [-1, 0]], np.float32), np.array([0, 0]), 1, normalise=True)


def test_more_neighbours_averaged_than_there_are() -> None:
    with pytest.raises(ValueError, match="k2 <= k1"):
        ClusterSettings(k1=3, k2=4)


def test_distances_of_one_modality_over_neighbours_of_both() -> None:
    """Rows of an encoding over all images are as far apart as they are among all rows."""
    features, modality = people()
    made = cluster_each(features, modality, WANTED.model_copy(update={"neighbours": "balanced", "eps": 0.9}))
    assert made.encoded[VISIBLE].shape == (24, 48)
    whole = distances(encode(features, Neighbourhood(6, 2), ranking=balanced(features, modality, 6)))
    index = made.index(VISIBLE)
    np.testing.assert_allclose(distances(made.encoded[VISIBLE]), whole[np.ix_(index, index)], atol=1e-7)
