"""Untrusted bytes to 8-bit RGB pixels: three formats, caps read from the header, written rules.

Pillow is the reference. simplejpeg decodes JPEG, where it is bit-identical; whatever it refuses gets Pillow's verdict.
The rules for unusual pixels stand in docs/images.md. Knows no model. Safe to call from several threads.
"""

import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (  # the codecs are loaded here, so that a first WebP does not load forty others
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from vireid.arrays import UInt8Array
from vireid.errors import FormatNotAllowed, ImageError, ImageTooLarge, ImageTruncated, TooManyPixels
from vireid.images import header as headers
from vireid.images.header import FORMATS, Header

__all__ = ["FORMATS", "Decoded", "Limits", "decode"]

BACKGROUND = 128
DEEP_LEVELS = 65536
LOW_PER_MILLE, HIGH_PER_MILLE = 1, 999
ROWS_AT_ONCE = 256
SINGLE_CHANNEL = {"1", "L", "LA", "I", "I;16", "I;16B"}
DEEP = {"I", "I;16", "I;16B"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before anything is decoded.

    Attributes:
        max_bytes: encoded size.
        max_pixels: width times height, read from the header.
        max_side: pixels of the longer side.
    """

    max_bytes: int = 8 * 1024 * 1024
    max_pixels: int = 25_000_000
    max_side: int = 8192


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as pixels.

    Attributes:
        rgb: upright 8-bit RGB, (H, W, 3).
        format: ``JPEG``, ``PNG`` or ``WEBP``.
        mode: the pixel mode found, in Pillow's words (``RGB``, ``L``, ``I;16`` ...).
        single_channel: whether the file held one channel of light only (its alpha aside).
    """

    rgb: UInt8Array
    format: str
    mode: str
    single_channel: bool


def decode(data: bytes, limits: Limits = Limits()) -> Decoded:
    """Decode an encoded image.

    Args:
        data: the whole file.
        limits: what is refused.

    Raises:
        ImageTooLarge: more bytes than allowed.
        NotAnImage: no image.
        FormatNotAllowed: an image of another format, or a kind of JPEG that is not taken, CMYK among them.
        TooManyPixels: more pixels than allowed; nothing was decoded.
        ImageTruncated: the data ends early or is damaged.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are taken: send a crop",
            metadata={"limit": str(limits.max_bytes), "actual": str(len(data))},
        )
    header = headers.read(data)
    _check_size(header, limits)
    rgb = _fast_jpeg(header) if header.format == "JPEG" else None
    mode = "L" if header.channels == 1 else "RGB"
    if rgb is None:
        rgb, mode = _by_pillow(header)
    return Decoded(_upright(rgb, header.orientation), header.format, mode, mode in SINGLE_CHANNEL)


def _check_size(header: Header, limits: Limits) -> None:
    width, height = header.width, header.height
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise TooManyPixels(
            f"the image is {width} x {height} pixels; at most {limits.max_pixels:,} pixels and "
            f"{limits.max_side} a side are taken: send a crop",
            metadata={"width": str(width), "height": str(height), "limit": str(limits.max_pixels)},
        )


def _fast_jpeg(header: Header) -> UInt8Array | None:
    """Decode a sound JPEG; None where Pillow has to judge."""
    try:
        rgb = simplejpeg.decode_jpeg(header.picture, colorspace="RGB", strict=True)
    except (ValueError, RuntimeError):
        return None
    pixels: UInt8Array = np.asarray(rgb)
    return pixels if pixels.shape == (header.height, header.width, 3) else None


def _by_pillow(header: Header) -> tuple[UInt8Array, str]:
    try:
        with Image.open(io.BytesIO(header.picture), formats=[header.format]) as image:
            _check_claim(header, image.size)
            image.load()
            return _to_rgb(image), image.mode
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a codec makes of foreign bytes is the image's fault
        raise ImageTruncated(
            f"the {header.format} data ends early or is damaged ({error}); send the file again"
        ) from None


def _check_claim(header: Header, size: tuple[int, int]) -> None:
    """Refuse to decode what is larger than the header that was checked."""
    if size != (header.width, header.height):
        raise ImageTruncated(
            f"the {header.format} contradicts itself: {header.width} x {header.height} pixels in one place, "
            f"{size[0]} x {size[1]} in another"
        )


def _to_rgb(image: Image.Image) -> UInt8Array:
    if image.mode in DEEP:
        return np.repeat(_eight_bit(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        raise FormatNotAllowed(
            "found CMYK, the colours of print; convert it to RGB", metadata={"found": "CMYK"}
        )
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        over = image.convert("RGBA")
        under = Image.new("RGBA", over.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        return np.array(Image.alpha_composite(under, over).convert("RGB"))
    return np.array(image.convert("RGB"))


def _eight_bit(deep: NDArray[np.generic]) -> UInt8Array:
    """Stretch 16-bit grey values between their own 0.1 and 99.9 percentiles to 0..255.

    A night camera's 12 or 14 bits sit in a narrow band of the 16; dropping the low byte would leave
    a few grey levels of the person.
    """
    values = deep.astype(np.uint16, copy=False)
    counts = np.zeros(DEEP_LEVELS, dtype=np.int64)
    for start in range(0, len(values), ROWS_AT_ONCE):  # in strips: bincount widens to 8 bytes a pixel
        counts += np.bincount(values[start : start + ROWS_AT_ONCE].ravel(), minlength=DEEP_LEVELS)
    reached = np.cumsum(counts)
    low, high = (
        int(np.searchsorted(reached, -(-values.size * share // 1000)))  # whole numbers: the same everywhere
        for share in (LOW_PER_MILLE, HIGH_PER_MILLE)
    )
    if high <= low:
        return np.full(values.shape, BACKGROUND, dtype=np.uint8)
    levels = np.clip((np.arange(DEEP_LEVELS) - low) / (high - low), 0.0, 1.0)
    stretched: UInt8Array = np.rint(levels * 255.0).astype(np.uint8)[values]
    return stretched


def _upright(rgb: UInt8Array, orientation: int) -> UInt8Array:
    """Undo the way the camera was held (EXIF 4.6.5, tag 0x0112)."""
    turned = rgb
    if orientation in {5, 6, 7, 8}:
        turned = turned.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        turned = turned[::-1]
    if orientation in {2, 3, 6, 7}:
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
