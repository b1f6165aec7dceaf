"""Embeddings in the plane: against scikit-learn's PCA, by worked values, and the same each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from training.report import projection
from vireid.arrays import Float32Array


def rows(n: int, d: int, seed: int = 0) -> Float32Array:
    made = np.random.default_rng(seed).standard_normal((n, d))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(40, 7), (7, 40)])
def test_pca_is_scikit_learns_up_to_the_sign(n: int, d: int) -> None:
    found = projection.project(rows(n, d), np.arange(n) % 2)
    other = PCA(2).fit(rows(n, d).astype(np.float64))
    places = other.transform(rows(n, d).astype(np.float64))
    assert np.abs(found.pca) == pytest.approx(np.abs(places), abs=1e-9)
    assert found.explained == pytest.approx(other.explained_variance_ratio_, abs=1e-9)


def test_a_turned_sign_of_all_vectors_turns_the_picture_and_no_more() -> None:
    one, other = (projection.project(sign * rows(30, 5), np.arange(30) % 2) for sign in (1, -1))
    assert one.pca == pytest.approx(-other.pca, abs=1e-9)


def test_how_far_modalities_lie_apart() -> None:
    # two by two points: the means are 2 apart in x, each modality spreads by 1 in y
    vectors = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=np.float32)
    apart = projection.project(vectors, np.array([0, 0, 1, 1]))
    assert apart.apart == pytest.approx(0.5)
    mixed = projection.project(vectors, np.array([0, 1, 1, 0]))
    assert mixed.apart == pytest.approx(0.0)
    # with four images everybody is near: two of the three others are of the other modality
    assert apart.foreign == pytest.approx(2 / 3)
    assert apart.foreign_mixed == pytest.approx(2 / 3)


def test_neighbours_tell_separated_modalities_from_mixed_ones() -> None:
    modality = np.repeat([0, 1], 20)
    near = rows(40, 6)
    far = near + 9 * (modality[:, None] == np.array([0, 1, -1, -1, -1, -1]))
    far = (far / np.linalg.norm(far, axis=1, keepdims=True)).astype(np.float32)
    assert projection.project(far, modality).foreign == 0.0
    assert projection.project(near, modality).foreign > 0.3
    # ten neighbours, counted one by one
    expected = 0.0
    for place in range(40):
        others = sorted(
            (other for other in range(40) if other != place), key=lambda o: -near[place] @ near[o]
        )
        expected += sum(modality[other] != modality[place] for other in others[:10]) / 10
    assert projection.project(near, modality).foreign == pytest.approx(expected / 40)


def test_t_sne_keeps_groups_together_and_is_the_same_each_time() -> None:
    centres = np.eye(4)[np.arange(80) % 4]
    vectors = (centres + 0.05 * rows(80, 4)).astype(np.float32)
    with threadpool_limits(2):
        one = projection.project(vectors, np.arange(80) % 2).tsne
    other = projection.project(vectors, np.arange(80) % 2).tsne
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other)
    distance = np.linalg.norm(one[:, None] - one[None], axis=2) + 1e9 * np.eye(80)
    nearest = distance.argmin(axis=1)
    assert (nearest % 4 == np.arange(80) % 4).all()


def test_few_or_equal_points_are_no_trouble() -> None:
    assert projection.project(rows(9, 3), np.arange(9) % 2).tsne is None
    alike = projection.project(np.ones((12, 3), np.float32), np.arange(12) % 2)
    assert np.isfinite(alike.pca).all()
    assert alike.tsne is not None
    assert np.isfinite(alike.tsne).all()
    assert alike.apart == 0.0
    flat = projection.project(rows(12, 1), np.arange(12) % 2)
    assert flat.pca[:, 1].tolist() == [0.0] * 12
    assert flat.explained == pytest.approx((1.0, 0.0))


@given(
    people=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=60),
    most=st.integers(1, 30),
    seed=st.integers(0, 3),
)
def test_images_are_chosen_evenly(people: list[tuple[int, int]], most: int, seed: int) -> None:
    person, modality = (np.array(column) for column in zip(*people, strict=True))
    taken = projection.choose(person, modality, seed, most)
    assert len(taken) == min(most, len(people))
    assert (np.diff(taken) > 0).all()
    groups = sorted(set(people))
    size = {g: people.count(g) for g in groups}
    chosen = {g: sum(people[place] == g for place in taken) for g in groups}
    highest = max(chosen.values())
    # nobody stands back for somebody else who is shown more than once more
    assert all(chosen[g] >= min(size[g], highest - 1) for g in groups)
    assert taken.tolist() == projection.choose(person, modality, seed, most).tolist()


def test_persons_with_a_colour_are_seen_in_both_modalities() -> None:
    person = np.array([1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4])
    modality = np.array([0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1])
    assert projection.persons(person, modality, 1).tolist() == [3]
    assert projection.persons(person, modality, 2).tolist() == [2, 3]
    assert projection.persons(person, modality, 9).tolist() == [1, 2, 3, 4]
