"""A walk through the images of labels: everything once before anything comes again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.places import OUTLIER, Places, Walk
from training.data.samplers import Draw, IdentitySampler, Part

LABELS = np.array([0] * 7 + [1] * 3 + [OUTLIER] * 2 + [2], np.int64)


@given(st.integers(0, 999), st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_every_image_comes_once_before_any_comes_again(seed: int, counts: list[int]) -> None:
    walk = Walk(Places(LABELS), np.random.default_rng(seed))
    seen = np.zeros(7, np.int64)
    for count in counts:
        taken = walk.next(0, count)
        assert len(taken) == count
        assert len(set(taken)) == min(count, 7)
        np.add.at(seen, taken, 1)
        assert seen.max() - seen.min() <= 1
    assert walk.count(0) == 7


@given(st.integers(0, 999), st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_cameras_take_turns_and_each_shows_all_it_has(seed: int, counts: list[int]) -> None:
    cameras = np.array([1, 1, 1, 1, 2, 2, 3, *[1] * 6], np.int64)
    walk = Walk(Places(LABELS, cameras), np.random.default_rng(seed))
    seen = np.zeros(7, np.int64)
    for count in counts:
        taken = walk.next(0, count)
        assert len(set(taken)) == min(count, 7)
        assert len(set(cameras[taken].tolist())) == min(count, 3)
        np.add.at(seen, taken, 1)
        for camera in (1, 2, 3):
            of = seen[cameras[:7] == camera]
            assert of.max() - of.min() <= 1


def test_an_epoch_of_batches_walks_through_every_identity() -> None:
    labels = np.repeat(np.arange(3), [8, 6, 2])
    draw = Draw((Part(labels),))
    sampler = IdentitySampler(draw, persons=3, images=2, iterations=4, seed=0)
    for epoch in (0, 1):
        shown = np.bincount(np.concatenate(list(sampler.epoch(epoch))), minlength=16)
        assert shown.tolist() == [1] * 8 + shown[8:14].tolist() + [4] * 2
        assert sorted(shown[8:14].tolist()) == [1] * 4 + [2] * 2
    # chance differs, the law does not
    first, second = (next(sampler.epoch(epoch)).tolist() for epoch in (0, 1))
    assert first != second


def test_what_finds_no_room_in_a_filled_part_is_not_lost() -> None:
    labels = np.repeat(np.arange(2), 6)
    draw = Draw((Part(labels, fill=True),), paired=False)
    sampler = IdentitySampler(draw, persons=2, images=4, iterations=3, seed=1)
    shown = np.bincount(np.concatenate(list(sampler.epoch(0))), minlength=12)
    assert shown.tolist() == [2] * 12
    alone = np.array([0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6], np.int64)
    uneven = IdentitySampler(
        Draw((Part(alone, fill=True),), paired=False), persons=2, images=2, iterations=9, seed=1
    )
    shown = np.bincount(np.concatenate(list(uneven.epoch(0))), minlength=11)
    assert shown[:5].max() - shown[:5].min() <= 1
