"""What only the fake engine promises: rows that follow the picture's layout, sizes that fit its grid."""

import numpy as np
import pytest

from vireid.engines.fake import FakeEngine


def figure(top: int, bottom: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = np.full((256, 128, 3), 90, dtype=np.float64)
    image[60:140, 40:90] = top
    image[140:240, 45:85] = bottom
    return np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def test_alike_pictures_are_found_again() -> None:
    engine = FakeEngine()
    looks = [(20, 200), (200, 20), (220, 230), (20, 30), (140, 200)]
    gallery = engine.embed(np.stack([figure(*look, seed=1) for look in looks]), np.zeros(5, np.int64))
    night = engine.embed(np.stack([figure(*look, seed=2) for look in looks]), np.ones(5, np.int64))
    assert (night @ gallery.T).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_colour_does_not_count() -> None:
    engine = FakeEngine()
    red, blue = (np.zeros((1, 256, 128, 3), np.uint8) for _ in range(2))
    red[:, 50:, :, 0], blue[:, 50:, :, 2] = 210, 210
    kind = np.zeros(1, np.int64)
    np.testing.assert_array_equal(engine.embed(red, kind), engine.embed(blue, kind))


def test_spaces_of_other_sizes_differ() -> None:
    spaces = {FakeEngine(*size).space_id for size in [(256, 128, 64), (128, 64, 64), (256, 128, 32)]}
    assert len(spaces) == 3


@pytest.mark.parametrize("size", [(250, 128), (256, 100)])
def test_sizes_off_the_grid_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiple of 16 x 8"):
        FakeEngine(*size)
