"""Clusters from the radius graph equal those of the whole table; too few of them are explained."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.cluster import DBSCAN

from training.labels import clustering
from training.labels.jaccard import Neighbourhood, RadiusGraph, distances, encode, radius_graph
from vireid.errors import TrainingError


def circle(*degrees: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)


def graph_of(table: np.ndarray, radius: float) -> RadiusGraph:
    row, column = np.nonzero(table <= radius)
    value = table[row, column].astype(np.float32)
    return RadiusGraph(csr_array((value, (row, column)), shape=table.shape), radius)


@pytest.mark.parametrize(("k2", "expected"), [(1, [0, 0, 0, 1, 1, -1]), (2, [0, 0, 0, 1, 1, 1])])
def test_six_points_on_a_circle(k2: int, expected: list[int]) -> None:
    graph = radius_graph(encode(circle(0, 10, 25, 90, 100, 170), Neighbourhood(3, k2)), 0.62)
    assert clustering.cluster(graph, 0.6, 2).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 60),
    people=st.integers(1, 6),
    eps=st.sampled_from([0.2, 0.4, 0.58, 0.6, 0.62]),
    min_samples=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_the_graph_gives_the_clusters_of_the_whole_table(
    count: int, people: int, eps: float, min_samples: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(people, 6))[chance.integers(0, people, count)] + 0.6 * chance.normal(
        size=(count, 6)
    )
    encoded = encode(features.astype(np.float32), Neighbourhood(8, 3))
    whole = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distances(encoded)).labels_
    found = clustering.cluster(radius_graph(encoded, 0.62), eps, min_samples)
    np.testing.assert_array_equal(found, whole)
    assert found.dtype == np.int64


def test_the_radius_counts_and_so_does_the_image_itself() -> None:
    apart = np.array([[0, 0.5, 1], [0.5, 0, 1], [1, 1, 0]], dtype=np.float32)
    graph = graph_of(apart, 0.5)
    assert clustering.cluster(graph, 0.5, 2).tolist() == [0, 0, -1]
    assert clustering.cluster(graph, 0.49, 2).tolist() == [-1, -1, -1]
    assert clustering.cluster(graph, 0.49, 1).tolist() == [0, 1, 2]


def test_twins_at_distance_zero_are_neighbours() -> None:
    encoded = encode(np.repeat(np.eye(3, dtype=np.float32), 4, axis=0), Neighbourhood(4, 1))
    labels = clustering.cluster(radius_graph(encoded, 0.62), 0.6, 4)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_several_radii_of_one_graph() -> None:
    encoded = encode(circle(0, 10, 25, 90, 100, 170), Neighbourhood(3, 2))
    graph = radius_graph(encoded, 0.62)
    found = clustering.cluster_at(graph, (0.6, 0.5), 2)
    assert {eps: labels.tolist() for eps, labels in found.items()} == {
        0.6: [0, 0, 0, 1, 1, 1],
        0.5: [0, 0, 0, 1, 1, -1],
    }
    assert [clustering.count(labels) for labels in found.values()] == [2, 2]


@pytest.mark.parametrize(("eps", "min_samples"), [(0.0, 4), (-0.1, 4), (0.5, 0)])
def test_settings_out_of_range(eps: float, min_samples: int) -> None:
    with pytest.raises(TrainingError, match=r"expected above 0 and at least 1"):
        clustering.cluster(graph_of(np.eye(2) * 0, 0.6), eps, min_samples)


def test_a_radius_beyond_the_graph() -> None:
    with pytest.raises(TrainingError, match=r"eps is 0\.7, the graph holds distances up to 0\.62"):
        clustering.cluster(graph_of(np.zeros((2, 2)), 0.62), 0.7)


def test_core_distances() -> None:
    apart = np.array([[0, 0.1, 0.3, 0.9], [0.1, 0, 0.2, 0.9], [0.3, 0.2, 0, 0.9], [0.9, 0.9, 0.9, 0]])
    graph = graph_of(apart, 0.62)
    np.testing.assert_allclose(clustering.core_distances(graph, 2), [0.1, 0.1, 0.2, np.inf], atol=1e-6)
    np.testing.assert_allclose(clustering.core_distances(graph, 3), [0.3, 0.2, 0.3, np.inf], atol=1e-6)
    for eps in (0.15, 0.25, 0.5):
        core = DBSCAN(eps=eps, min_samples=3, metric="precomputed").fit(apart).core_sample_indices_
        assert np.flatnonzero(clustering.core_distances(graph, 3) <= eps).tolist() == core.tolist()


def test_no_cluster_is_explained() -> None:
    apart = np.where(np.eye(12), 0, 0.45)
    graph = graph_of(apart, 0.62)
    labels = clustering.cluster(graph, 0.3, 4)
    with pytest.raises(TrainingError) as raised:
        clustering.demand(labels, graph, 0.3, 4)
    said = str(raised.value)
    assert "clustering 12 images with eps 0.3 and min_samples 4 made no cluster (12 outliers)" in said
    assert f"  0.4 to 0.5      12 {'#' * 40}\n" in said
    assert "  0.3 to 0.4       0   <- eps\n" in said
    assert "raise eps to 0.45" in said
    assert clustering.count(clustering.cluster(graph, 0.45, 4)) == 1


def test_no_cluster_within_the_graph_is_explained() -> None:
    graph = graph_of(np.where(np.eye(12), 0, 0.9), 0.62)
    with pytest.raises(
        TrainingError, match=r"farther +12 #{40}\n.*raise eps beyond 0\.62, where the graph ends"
    ):
        clustering.demand(np.full(12, -1), graph, 0.6)


def test_one_cluster_is_explained() -> None:
    graph = graph_of(np.where(np.eye(12), 0, 0.05), 0.62)
    labels = clustering.cluster(graph, 0.6, 4)
    with pytest.raises(
        TrainingError, match=r"made one cluster alone \(0 outliers\)(?s:.)*0\.0 to 0\.1 +12 #{40}"
    ):
        clustering.demand(labels, graph, 0.6, 4)


def test_two_clusters_are_enough() -> None:
    clustering.demand(np.array([0, 1, -1]), graph_of(np.zeros((3, 3)), 0.62), 0.6)


def test_one_cluster_of_a_few_asks_for_more() -> None:
    labels = np.r_[np.zeros(4, np.int64), np.full(8, clustering.OUTLIER)]
    graph = graph_of(np.where(np.eye(12), 0, 0.5), 0.62)
    with pytest.raises(TrainingError, match=r"one cluster alone \(8 outliers\)(?s:.)*raise eps to 0\.5"):
        clustering.demand(labels, graph, 0.3, 4)
