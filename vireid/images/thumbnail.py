"""Small JPEG pictures for lists and grids. Never used for recognition."""

import io

from PIL import Image

from vireid.arrays import UInt8Array

QUALITY = 82


def thumbnail(rgb: UInt8Array, max_side: int = 192) -> bytes:
    """Make a small JPEG that keeps the proportions and never enlarges.

    Args:
        rgb: (h, w, 3).
        max_side: pixels of the longer side at most.
    """
    image = Image.fromarray(rgb)
    image.thumbnail((max_side, max_side), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
