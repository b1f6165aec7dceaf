"""Untrusted bytes to 8-bit RGB pixels: three formats, caps read from the header, written rules.

Pillow is the reference. simplejpeg decodes plain 8-bit grey and YCbCr JPEG, where it is bit-identical; whatever it
refuses gets Pillow's verdict. The rules for unusual pixels stand in docs/images.md. Knows no model.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from vireid.arrays import UInt8Array
from vireid.errors import (
    FormatNotAllowed,
    ImageError,
    ImageTooLarge,
    ImageTruncated,
    NotAnImage,
    TooManyPixels,
)

FORMATS = ("JPEG", "PNG", "WEBP")
ORIENTATION_TAG = 0x0112
BACKGROUND = 128
LOW_PERCENTILE, HIGH_PERCENTILE = 0.1, 99.9

# What other files are by their first bytes, so that the refusal can name them.
_OTHER_FORMATS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"%!PS": "EPS",
    b"%PDF": "PDF",
    b"SIMPLE": "FITS",
    b"8BPS": "PSD",
    b"\x00\x00\x01\x00": "ICO",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"PK\x03\x04": "ZIP",
    b"<svg": "SVG",
}


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
        single_channel: whether the file held one channel only.
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
        FormatNotAllowed: an image of another format, or CMYK.
        TooManyPixels: more pixels than allowed; nothing was decoded.
        ImageTruncated: the data ends early or is damaged.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are taken: send a crop",
            metadata={"limit": str(limits.max_bytes), "actual": str(len(data))},
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data)
        _check_size(image, limits)
        try:
            return _pixels(image, data)
        except ImageError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a codec on foreign bytes is the image's fault
            raise ImageTruncated(
                f"the {image.format} data ends early or is damaged ({error}); send the file again"
            ) from None


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooManyPixels("the image's header claims more pixels than are taken") from None
    except Exception:  # noqa: BLE001 - Pillow raises many kinds on a broken header
        raise _verdict(data) from None


def _verdict(data: bytes) -> ImageError:
    """Say why bytes that did not open are refused."""
    for start, name in _OTHER_FORMATS.items():
        if data.startswith(start):
            return FormatNotAllowed(
                f"found {name}; JPEG, PNG and WebP are taken: convert it", metadata={"found": name}
            )
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    ):
        return ImageTruncated("the image's header ends early or is damaged; send the file again")
    found = "no bytes" if not data else f"{len(data):,} bytes that begin with {data[:8].hex(' ')}"
    return NotAnImage(f"found {found}; expected a JPEG, PNG or WebP image")


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise TooManyPixels(
            f"the image is {width} x {height} pixels; at most {limits.max_pixels:,} pixels and "
            f"{limits.max_side} a side are taken: send a crop",
            metadata={"width": str(width), "height": str(height), "limit": str(limits.max_pixels)},
        )


def _pixels(image: Image.Image, data: bytes) -> Decoded:
    mode, format_ = image.mode, str(image.format)
    if mode == "CMYK":
        raise FormatNotAllowed(
            "found CMYK, the colours of print, which have no one meaning on a screen; convert it to RGB",
            metadata={"found": "CMYK"},
        )
    orientation = (
        int(image.getexif().get(ORIENTATION_TAG, 1)) if format_ != "PNG" or image.info.get("exif") else 1
    )
    single = mode in {"1", "L", "I", "I;16", "I;16B", "F", "LA"}
    if format_ == "JPEG" and orientation == 1:
        fast = _fast_jpeg(data, image.size)
        if fast is not None:
            return Decoded(fast, format_, mode, single)
    image.load()
    upright = image if orientation == 1 else ImageOps.exif_transpose(image)
    return Decoded(_to_rgb(upright), format_, mode, single)


def _fast_jpeg(data: bytes, size: tuple[int, int]) -> UInt8Array | None:
    """Decode a plain JPEG; None where Pillow has to judge."""
    try:
        rgb = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except (ValueError, RuntimeError):
        return None
    pixels: UInt8Array = np.asarray(rgb)
    return pixels if pixels.shape == (size[1], size[0], 3) else None


def _to_rgb(image: Image.Image) -> UInt8Array:
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_eight_bit(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        over = image.convert("RGBA")
        under = Image.new("RGBA", over.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        return np.asarray(Image.alpha_composite(under, over).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _eight_bit(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> UInt8Array:
    """Stretch deep grey values between their own 0.1 and 99.9 percentiles to 0..255.

    A night camera's 12 or 14 bits sit in a narrow band of the 16; dropping the low byte would leave
    a few grey levels of the person.
    """
    deep = values.astype(np.float64)
    low, high = np.percentile(deep, [LOW_PERCENTILE, HIGH_PERCENTILE])
    if high <= low:
        return np.full(deep.shape, BACKGROUND, dtype=np.uint8)
    stretched: UInt8Array = np.rint(np.clip((deep - low) / (high - low), 0.0, 1.0) * 255.0).astype(np.uint8)
    return stretched
