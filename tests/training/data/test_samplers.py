"""The laws of P x K sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.places import OUTLIER
from training.data.samplers import Draw, IdentitySampler, Part, two_modalities
from vireid.errors import TrainingError


@st.composite
def datasets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    seed, people = draw(st.integers(0, 9999)), draw(st.integers(4, 12))
    random = np.random.default_rng(seed)
    labels, modality = [], []
    for person in range(people):
        for kind in (0, 1):
            count = int(random.integers(1, 6))
            labels += [person] * count
            modality += [kind] * count
    outliers = int(random.integers(0, 5))
    labels += [OUTLIER] * outliers
    modality += random.integers(0, 2, outliers).tolist()
    order = random.permutation(len(labels))
    return np.array(labels, np.int64)[order], np.array(modality, np.int64)[order]


@given(datasets(), st.integers(2, 4), st.integers(2, 5), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_every_batch_is_p_by_k_by_two(
    data: tuple[np.ndarray, np.ndarray], p: int, k: int, epoch: int
) -> None:
    labels, modality = data
    sampler = IdentitySampler(two_modalities(labels, modality), persons=p, images=k, iterations=5, seed=3)
    for batch in sampler.epoch(epoch):
        assert len(batch) == 2 * p * k
        assert modality[batch[: p * k]].tolist() == [0] * (p * k)
        assert modality[batch[p * k :]].tolist() == [1] * (p * k)
        visible, infrared = labels[batch[: p * k]].reshape(p, k), labels[batch[p * k :]].reshape(p, k)
        assert (visible == visible[:, :1]).all()
        assert (visible == infrared).all()
        assert len(set(visible[:, 0].tolist())) == p
        assert OUTLIER not in visible


@given(datasets(), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_an_epoch_is_a_function_of_its_number(data: tuple[np.ndarray, np.ndarray], epoch: int) -> None:
    def drawn(number: int) -> list[list[int]]:
        sampler = IdentitySampler(two_modalities(*data), persons=3, images=2, iterations=4, seed=7)
        return [batch.tolist() for batch in sampler.epoch(number)]

    assert drawn(epoch) == drawn(epoch)
    assert drawn(epoch) != drawn(epoch + 1)


@given(datasets())
@settings(max_examples=30, deadline=None)
def test_everybody_comes_before_anybody_comes_again(data: tuple[np.ndarray, np.ndarray]) -> None:
    labels, modality = data
    people = len(set(labels.tolist()) - {OUTLIER})
    sampler = IdentitySampler(
        two_modalities(labels, modality), persons=2, images=2, iterations=people // 2, seed=1
    )
    shown = [person for batch in sampler.epoch(0) for person in set(labels[batch].tolist())]
    assert len(shown) == len(set(shown))


def test_few_images_are_repeated_and_all_of_them_used() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1], np.int64)
    modality = np.array([0, 0, 0, 0, 1, 1], np.int64)
    sampler = IdentitySampler(two_modalities(labels, modality), persons=2, images=4, iterations=1, seed=0)
    (batch,) = sampler.epoch(0)
    assert set(batch.tolist()) == {0, 1, 2, 3, 4, 5}


def test_too_few_people_with_both_modalities() -> None:
    labels, modality = np.array([0, 0, 1, 2], np.int64), np.array([0, 1, 0, 1], np.int64)
    with pytest.raises(TrainingError, match="1 identities have visible and infrared images, a batch needs 2"):
        IdentitySampler(two_modalities(labels, modality), persons=2, images=2, iterations=1, seed=0)


@given(datasets(), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_parts_of_their_own_show_their_own_labels(data: tuple[np.ndarray, np.ndarray], epoch: int) -> None:
    labels, modality = data
    parts = tuple(Part(np.where(modality == kind, labels + 100 * kind, OUTLIER)) for kind in (0, 1))
    outliers = labels == OUTLIER
    parts = tuple(Part(np.where(outliers, OUTLIER, part.labels)) for part in parts)
    sampler = IdentitySampler(Draw(parts, paired=False), persons=3, images=2, iterations=3, seed=1)
    for batch in sampler.epoch(epoch):
        visible, infrared = batch[:6], batch[6:]
        assert (modality[visible] == 0).all()
        assert (modality[infrared] == 1).all()
        for rows in (visible, infrared):
            by_label = labels[rows].reshape(3, 2)
            assert (by_label == by_label[:, :1]).all()
            assert len(set(by_label[:, 0].tolist())) == 3


def test_a_part_without_groups_shows_every_image_before_any_again() -> None:
    labels = np.array([0, 0, 1, 1, -1, -1, -1, -1, -1, -1, -1], np.int64)
    free = np.where(np.arange(11) >= 4, 0, OUTLIER)
    draw = Draw((Part(labels), Part(free, grouped=False)))
    batches = list(IdentitySampler(draw, persons=2, images=2, iterations=7, seed=0).epoch(0))
    shown = np.concatenate([batch[4:] for batch in batches])
    counts = np.bincount(shown, minlength=11)
    assert counts[:4].sum() == 0
    assert counts[4:].tolist() == [4] * 7
    assert all(set(batch[:4].tolist()) == {0, 1, 2, 3} for batch in batches)


def test_images_of_a_label_come_from_as_many_cameras_as_it_has() -> None:
    cameras = np.array([1] * 6 + [2] * 2 + [3] + [1, 1], np.int64)
    labels = np.array([0] * 9 + [1] * 2, np.int64)
    draw = Draw((Part(labels, cameras=cameras),))
    for batch in IdentitySampler(draw, persons=2, images=3, iterations=20, seed=0).epoch(0):
        for rows in np.split(batch, 2):
            wanted = {1, 2, 3} if labels[rows[0]] == 0 else {1}
            assert set(cameras[rows].tolist()) == wanted


def test_few_pseudo_identities_make_a_smaller_batch_and_one_makes_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels, modality = np.array([0, 0, 1, 1], np.int64), np.array([0, 1, 0, 1], np.int64)
    draw = two_modalities(labels, modality, shrink=True)
    (batch,) = IdentitySampler(draw, persons=4, images=2, iterations=1, seed=0).epoch(0)
    assert len(batch) == 2 * 2 * 2
    assert "2 identities instead of 4" in caplog.text
    alone = two_modalities(np.zeros(4, np.int64), modality, shrink=True)
    with pytest.raises(TrainingError, match="1 identities have visible and infrared images"):
        IdentitySampler(alone, persons=4, images=2, iterations=1, seed=0)


@given(datasets(), st.integers(1, 3), st.integers(2, 4), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_label_spaces_share_a_batch(
    data: tuple[np.ndarray, np.ndarray], half: int, k: int, epoch: int
) -> None:
    labels, modality = data
    other = (max(labels) - labels) // 2  # another space: fewer classes, other names
    spaces = (two_modalities(labels, modality), two_modalities(np.where(labels < 0, -1, other), modality))
    if len(set(other[labels >= 0].tolist())) < half:
        return
    draw = Draw(tuple(part for each in spaces for part in each.parts), spaces=2)
    sampler = IdentitySampler(draw, persons=2 * half, images=k, iterations=4, seed=3)
    for batch in sampler.epoch(epoch):
        parts = np.split(batch, 4)
        assert [set(modality[part].tolist()) for part in parts] == [{0}, {1}, {0}, {1}]
        for first, second, named in ((*parts[:2], labels), (*parts[2:], other)):
            slots = named[first].reshape(half, k)
            assert (slots == slots[:, :1]).all()
            assert (slots == named[second].reshape(half, k)).all()
            assert len(set(slots[:, 0].tolist())) == half
            assert (labels[first] >= 0).all()


def test_a_label_space_with_few_classes_shrinks_all_and_an_odd_share_is_refused() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2], np.int64)
    few, modality = np.where(labels > 0, 1, 0), np.array([0, 1] * 3, np.int64)
    parts = (*two_modalities(labels, modality).parts, *two_modalities(few, modality).parts)
    draw = Draw(parts, spaces=2, shrink=True)
    (batch,) = IdentitySampler(draw, persons=6, images=2, iterations=1, seed=0).epoch(0)
    assert len(batch) == 4 * 2 * 2
    with pytest.raises(TrainingError, match="3 identities of a batch cannot be shared by 2 label spaces"):
        IdentitySampler(draw, persons=3, images=2, iterations=1, seed=0)


def test_a_part_without_images() -> None:
    draw = Draw((Part(np.array([0, 0, 1, 1])), Part(np.full(4, OUTLIER), grouped=False)))
    with pytest.raises(TrainingError, match="no images to draw from"):
        IdentitySampler(draw, persons=2, images=1, iterations=1, seed=0)


def test_single_images_stand_once_and_leave_room_for_others() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, OUTLIER])
    draw = Draw((Part(labels, fill=True),), paired=False)
    seen: set[int] = set()
    for batch in IdentitySampler(draw, persons=2, images=3, iterations=6, seed=0).epoch(0):
        assert len(batch) == len(set(batch.tolist())) == 6
        assert np.unique(labels[batch], return_counts=True)[1].max() <= 3
        seen |= set(labels[batch].tolist())
    assert seen == set(range(7))


def test_a_filled_part_stands_beside_one_that_is_not() -> None:
    labels = np.array([0, 0, 1, 1, OUTLIER, OUTLIER, OUTLIER, OUTLIER])
    other = np.array([OUTLIER, OUTLIER, OUTLIER, OUTLIER, 0, 1, 2, 3])
    draw = Draw((Part(labels), Part(other, fill=True)), paired=False)
    for batch in IdentitySampler(draw, persons=2, images=2, iterations=3, seed=0).epoch(0):
        assert sorted(labels[batch[:4]].tolist()) == [0, 0, 1, 1]
        assert sorted(other[batch[4:]].tolist()) == [0, 1, 2, 3]
