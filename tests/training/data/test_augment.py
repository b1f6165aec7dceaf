"""Augmentation: what each kind does, and to whom."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training import chance
from training.data.augment import ERASED_SHARE, augment
from training.settings import DataSettings

NOTHING = {"flip": 0.0, "pad": 0, "erase": 0.0, "exchange": 0.0, "grey": 0.0}


def pictures(count: int = 6) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(1, 256, (count, 24, 12, 3), generator=random).float()


def varied(images: torch.Tensor, kinds: list[int], seed: int = 0, **wanted: Any) -> torch.Tensor:
    chosen = DataSettings.model_validate({**NOTHING, **wanted})
    return augment(images, torch.tensor(kinds), chosen, chance.of_rows(seed, 0, 0, range(len(images))))


def test_nothing_asked_nothing_done() -> None:
    images = pictures()
    assert torch.equal(varied(images, [0, 1] * 3), images)


def test_mirror() -> None:
    images = pictures()
    assert np.array_equal(varied(images, [0, 1] * 3, flip=1.0).numpy(), images.numpy()[:, :, ::-1])


def test_channel_exchange_and_grey_are_for_visible_images_only() -> None:
    images, kinds = pictures(), [0, 1, 0, 1, 0, 1]
    for name in ("exchange", "grey"):
        made = varied(images, kinds, **{name: 1.0})
        for place, kind in enumerate(kinds):
            if kind == 1:
                assert torch.equal(made[place], images[place])
                continue
            assert (made[place] == made[place, ..., :1]).all()
            if name == "exchange":
                assert any(torch.equal(made[place, ..., 0], images[place, ..., c]) for c in range(3))
            else:
                luma = images[place].numpy() @ np.array([0.299, 0.587, 0.114])
                assert np.allclose(made[place, ..., 0].numpy(), luma, atol=1e-3)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_pad_and_crop_moves_the_picture_by_at_most_the_pad(seed: int) -> None:
    images = pictures(1)
    made = varied(images, [1], seed, pad=3)[0].numpy()
    wide = np.pad(images[0].numpy(), ((3, 3), (3, 3), (0, 0)))
    places = [
        (up, left)
        for up in range(7)
        for left in range(7)
        if np.array_equal(wide[up : up + 24, left : left + 12], made)
    ]
    assert len(places) == 1


@pytest.mark.parametrize("colour", ["own", "mean"])
@given(st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_erasing_fills_one_rectangle_with_a_mean(colour: str, seed: int) -> None:
    image = pictures(1)
    made = varied(image, [1], seed, erase=1.0, erase_with=colour)[0].numpy()
    # 0 after normalisation by the usual mean
    expected = image[0].numpy().mean((0, 1)) if colour == "own" else [123.675, 116.28, 103.53]
    changed = (made != image[0].numpy()).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert changed.sum() == pytest.approx(tall * wide, abs=2)  # a pixel may be the mean by itself
    assert np.allclose(made[changed], expected, atol=1e-2)
    # roundings of both sides aside; a side is never longer than the picture
    assert tall * wide <= ERASED_SHARE[1] * 24 * 12 + tall + wide
    assert np.array_equal(made[~changed], image[0].numpy()[~changed])


def test_chances_are_kept() -> None:
    images = pictures(1).expand(400, -1, -1, -1)
    made = varied(images, [0] * 400, flip=0.3)
    share = float((made != images).flatten(1).any(1).float().mean())
    assert share == pytest.approx(0.3, abs=0.07)
    made = varied(images, [0] * 400, exchange=0.3, grey=0.2)
    assert float((made == made[..., :1]).all(-1).flatten(1).all(1).float().mean()) == pytest.approx(
        0.5, abs=0.08
    )


def test_the_input_is_left_alone_and_a_seed_says_it_all() -> None:
    images = pictures()
    before = images.clone()
    wanted = {"flip": 0.5, "pad": 2, "erase": 0.5, "exchange": 0.3, "grey": 0.3}
    one, again, other = (varied(images, [0, 1] * 3, seed, **wanted) for seed in (4, 4, 5))
    assert torch.equal(images, before)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
