"""A dataset's image files as pixels: the formats of the service, and the bitmaps of RegDB.

Knows no labels and no model.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vireid.arrays import UInt8Array
from vireid.errors import DatasetError, ImageError
from vireid.images.decode import decode


def read(path: Path) -> UInt8Array:
    """Read a dataset image as RGB, (H, W, 3).

    Raises:
        DatasetError: the file is missing or is no readable image.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".bmp":
            with Image.open(io.BytesIO(data), formats=("BMP",)) as image:
                return np.asarray(image.convert("RGB"))
        return decode(data).rgb
    except OSError as error:
        reason = "it is no bitmap" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DatasetError(f"{path} cannot be read: {reason}; copy it again") from error
    except ImageError as error:
        raise DatasetError(f"{path} cannot be read: {error.message}; copy it again") from error
