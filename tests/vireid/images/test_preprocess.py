"""The resize every embedding rests on: Pillow's, checked against a slow one written from its definition."""

import hashlib
import math

import numpy as np
import pytest

from vireid.images.preprocess import Preprocess


def triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5.0) * x + 8.0) * x - 4.0) * a if x < 2.0 else 0.0


def weights(length: int, wanted: int, name: str) -> np.ndarray:
    """The (wanted, length) matrix of a filter that widens when shrinking."""
    kernel, support = (triangle, 1.0) if name == "bilinear" else (cubic, 2.0)
    scale = length / wanted
    widening = max(scale, 1.0)
    matrix = np.zeros((wanted, length))
    for row in range(wanted):
        centre = (row + 0.5) * scale
        first = max(0, math.floor(centre - support * widening + 0.5))
        last = min(length, math.floor(centre + support * widening + 0.5))
        for column in range(first, last):
            matrix[row, column] = kernel((column - centre + 0.5) / widening)
    return matrix / matrix.sum(axis=1, keepdims=True)


def along(pixels: np.ndarray, axis: int, wanted: int, name: str) -> np.ndarray:
    """Resize one axis and round to whole levels, halves upwards."""
    mixed = np.tensordot(weights(pixels.shape[axis], wanted, name), pixels.astype(float), (1, axis))
    return np.clip(np.floor(np.moveaxis(mixed, 0, axis) + 0.5), 0, 255)


def slow(rgb: np.ndarray, height: int, width: int, name: str) -> list[np.ndarray]:
    """Both orders of the two passes: Pillow chooses the cheaper, and rounds between them."""
    return [
        along(along(rgb, 1, width, name), 0, height, name),
        along(along(rgb, 0, height, name), 1, width, name),
    ]


def ramp(height: int, width: int) -> np.ndarray:
    """A picture from whole-number arithmetic alone: the same on every machine."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(7 * x + 3 * y) % 256, (x * y) % 251, (255 - 5 * x + y) % 256], axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "size", [(40, 20), (300, 150), (64, 200), (200, 64), (1, 1), (96, 33)], ids=lambda s: f"{s[0]}x{s[1]}"
)
def test_resize_is_the_written_filter(name: str, size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    fast = Preprocess(96, 48, name).apply(rgb)
    assert fast.shape == (96, 48, 3)
    assert fast.dtype == np.uint8
    # Pillow weighs in 22-bit whole numbers: an exact half may fall to the other side
    differences = [np.abs(fast - reference) for reference in slow(rgb, 96, 48, name)]
    nearest = min(differences, key=np.mean)
    assert nearest.max() <= 1
    assert nearest.mean() < (0.1 if name == "bilinear" else 0.002)


@pytest.mark.parametrize(
    ("name", "size", "digest"),
    [
        ("bilinear", (50, 30), "092c5870abc49d62"),
        ("bilinear", (400, 210), "c2afcc18e3ce9e04"),
        ("bicubic", (50, 30), "7527e7823acb412e"),
        ("bicubic", (400, 210), "a0d9533dd27ac72e"),
    ],
)
def test_pixels_do_not_drift_between_versions(name: str, size: tuple[int, int], digest: str) -> None:
    resized = Preprocess(256, 128, name).apply(ramp(*size))
    assert hashlib.sha256(resized.tobytes()).hexdigest()[:16] == digest


def test_the_right_size_stays_as_it_is() -> None:
    rgb = ramp(32, 16)
    np.testing.assert_array_equal(Preprocess(32, 16).apply(rgb), rgb)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((512, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = Preprocess(64, 32).apply(stripes)[:, 2:-2].astype(int)
    assert np.abs(inner - 128).max() <= 2


def test_turned_and_strided_pictures_are_read_right() -> None:
    rgb = ramp(60, 90)
    turned = rgb.transpose(1, 0, 2)[::-1]
    expected = Preprocess(32, 16).apply(np.ascontiguousarray(turned))
    np.testing.assert_array_equal(Preprocess(32, 16).apply(turned), expected)


@pytest.mark.parametrize("arguments", [(0, 10), (10, 0), (-1, 5), (10, 10, "nearest"), (10, 10, "")])
def test_impossible_sizes_and_filters_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be positive|is one of"):
        Preprocess(*arguments)
