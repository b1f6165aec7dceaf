"""A dataset's image files as pixels: the formats of the service, and the bitmaps of RegDB.

Knows no labels and no model.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vireid.arrays import UInt8Array
from vireid.errors import DatasetError, ImageError, ImageTruncated, NotAnImage, TooManyPixels
from vireid.images.decode import Limits, decode


def read(path: Path) -> UInt8Array:
    """Read a dataset image as RGB, (H, W, 3).

    Raises:
        DatasetError: the file is missing or is no readable image.
    """
    try:
        data = path.read_bytes()
        return bitmap(data) if is_bitmap(path) else decode(data).rgb
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}; copy it again") from error
    except ImageError as error:
        raise DatasetError(f"{path} cannot be read: {error.message}; copy it again") from error


def is_bitmap(path: Path) -> bool:
    """Whether a file is a bitmap by its name."""
    return path.suffix.lower() == ".bmp"


def bitmap(data: bytes) -> UInt8Array:
    """Decode a bitmap as RGB, (H, W, 3).

    Raises:
        NotAnImage: it is none.
        TooManyPixels: more than the service takes of any image.
        ImageTruncated: the data ends early or is damaged.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("BMP",))
    except (OSError, ValueError, Image.DecompressionBombError):
        raise NotAnImage("it is no bitmap") from None
    if image.width * image.height > Limits().max_pixels:
        raise TooManyPixels(
            f"the bitmap is {image.width} x {image.height} pixels; expected a picture of one person"
        )
    try:
        with image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise ImageTruncated(f"the bitmap ends early or is damaged ({error})") from None
