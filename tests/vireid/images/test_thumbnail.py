"""Thumbnails keep proportions, never enlarge, and are small JPEGs without metadata."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vireid.images.thumbnail import thumbnail


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 500), width=st.integers(1, 500), side=st.integers(1, 250))
def test_fits_and_keeps_proportions(height: int, width: int, side: int) -> None:
    small = opened(thumbnail(np.zeros((height, width, 3), np.uint8), side))
    assert max(small.size) == min(side, max(height, width))
    shrunk = max(small.size) / max(height, width)
    assert small.height == pytest.approx(max(1, height * shrunk), abs=1)
    assert small.width == pytest.approx(max(1, width * shrunk), abs=1)


def test_looks_like_the_picture() -> None:
    rgb = np.zeros((384, 192, 3), np.uint8)
    rgb[:192], rgb[192:] = (200, 40, 40), (20, 30, 180)
    data = thumbnail(rgb)
    small = np.asarray(opened(data)).astype(int)
    assert small.shape == (192, 96, 3)
    assert np.abs(small[10:80] - (200, 40, 40)).max() < 6
    assert np.abs(small[110:180] - (20, 30, 180)).max() < 6
    assert len(data) < 4000
    assert not opened(data).getexif()
