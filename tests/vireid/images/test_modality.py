"""Telling night from day on real crops, and on what cameras and encoders do to them."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vireid.images.modality import colour_variation, detect
from vireid.types import Modality

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def crops(repository: Path) -> list[np.ndarray]:
    """Real people by day, many of them dressed in grey and black."""
    files = sorted((repository / "tests/data/vtest").glob("*.png"))
    assert len(files) == 225
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def whole(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def jpeg(quality: int) -> Change:
    def change(rgb: np.ndarray) -> np.ndarray:
        out = io.BytesIO()
        Image.fromarray(rgb).save(out, "JPEG", quality=quality)
        return np.asarray(Image.open(out).convert("RGB"))

    return change


def grey(rgb: np.ndarray) -> np.ndarray:
    one = np.asarray(Image.fromarray(rgb).convert("L"))
    return np.repeat(one[:, :, None], 3, axis=2)


def tinted(gains: tuple[float, float, float], offsets: tuple[int, int, int] = (0, 0, 0)) -> Change:
    return lambda rgb: whole(grey(rgb) * np.array(gains) + np.array(offsets))


def noisy_grey(sigma: float, then: Change = lambda rgb: rgb) -> Change:
    random = np.random.default_rng(1)
    return lambda rgb: then(whole(grey(rgb) + random.normal(0, sigma, rgb.shape)))


def weaker(share: float) -> Change:
    return lambda rgb: whole(grey(rgb) + (rgb.astype(float) - grey(rgb)) * share)


def enlarged(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).resize((144, 288)))


def core(rgb: np.ndarray) -> np.ndarray:
    """Only the body: no ground, no sky."""
    height, width = rgb.shape[:2]
    return rgb[height // 5 : -height // 6, width // 4 : -width // 4]


@pytest.mark.parametrize(
    ("change", "share"),
    [
        pytest.param(lambda rgb: rgb, 1.0, id="as-is"),
        pytest.param(jpeg(75), 1.0, id="jpeg-75"),
        pytest.param(jpeg(30), 0.99, id="jpeg-30"),
        pytest.param(lambda rgb: whole(rgb * 0.4), 0.99, id="dusk"),
        pytest.param(enlarged, 1.0, id="enlarged"),
        pytest.param(core, 0.99, id="body-only"),
        pytest.param(weaker(0.6), 0.95, id="pale"),
        pytest.param(weaker(0.4), 0.9, id="very-pale"),
    ],
)
def test_day(crops: list[np.ndarray], change: Change, share: float) -> None:
    told = [detect(change(rgb))[0] is Modality.VISIBLE for rgb in crops]
    assert np.mean(told) >= share


@pytest.mark.parametrize(
    ("change", "share"),
    [
        pytest.param(grey, 1.0, id="grey"),
        pytest.param(lambda rgb: jpeg(50)(grey(rgb)), 1.0, id="jpeg-50"),
        pytest.param(tinted((1, 1, 1), (20, 0, 12)), 1.0, id="cast"),
        pytest.param(tinted((1.05, 0.97, 1.05)), 1.0, id="tint"),
        pytest.param(tinted((1.1, 0.98, 1.06), (0, 0, 0)), 0.8, id="strong-tint"),
        pytest.param(noisy_grey(3), 1.0, id="colour-noise"),
        pytest.param(noisy_grey(6, jpeg(60)), 0.96, id="colour-noise-jpeg"),
        pytest.param(lambda rgb: noisy_grey(4, jpeg(60))(whole(grey(rgb) * 0.3)), 0.99, id="dark-noise"),
        pytest.param(weaker(0.06), 0.97, id="leftover-colour"),
    ],
)
def test_night(crops: list[np.ndarray], change: Change, share: float) -> None:
    told = [detect(change(rgb))[0] is Modality.INFRARED for rgb in crops]
    assert np.mean(told) >= share


def test_confidence_says_how_clear_it_is(crops: list[np.ndarray]) -> None:
    assert detect(grey(crops[0])) == (Modality.INFRARED, pytest.approx(1.0, abs=1e-3))
    for rgb in crops[::10]:
        values = [colour_variation(weaker(share)(rgb)) for share in (0.0, 0.2, 0.5, 1.0)]
        assert values == sorted(values)
        assert 0.5 <= detect(rgb)[1] <= 1.0


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (300, 1, 3), (2, 2, 3), (4000, 2000, 3)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    assert detect(np.full(shape, 90, np.uint8)) == (Modality.INFRARED, pytest.approx(1.0, abs=1e-3))


def test_flat_black_and_white() -> None:
    for level in (0, 255):
        assert detect(np.full((40, 20, 3), level, np.uint8))[0] is Modality.INFRARED


def test_a_crop_takes_well_under_a_millisecond(crops: list[np.ndarray]) -> None:
    rgb = enlarged(crops[0])
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        detect(rgb)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.0006  # 0.1 ms where it was written
