"""What an image file says of itself, read without decoding: format, size, orientation.

Walks the containers of JPEG, PNG and WebP, names other formats so that their refusal can, and drops every part that pixels
do not need (EXIF, profiles, comments, animation, further pictures): what reaches a codec is the picture alone. Decodes nothing.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vireid.errors import FormatNotAllowed, ImageError, ImageTruncated, NotAnImage

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SCANS = 32  # of a progressive JPEG: encoders write 10; each one costs a pass over the whole picture

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
ORIENTATION_TAG = 0x0112
UPRIGHT = 1

# JPEG markers
SOF_DECODABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended, progressive; the last two arithmetic
SOF_OTHER = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}  # lossless and hierarchical
SOS, EOI, APP1 = 0xDA, 0xD9, 0xE1
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in compressed data; stuffing and restarts are none
BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}  # no length follows
METADATA = {
    *range(0xE1, 0xEE),
    0xEF,
    0xFE,
}  # all but JFIF (APP0) and Adobe (APP14), which say what the colours mean

# What other files are, by their first bytes
OTHER_FORMATS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "BigTIFF",
    b"MM\x00+": "BigTIFF",
    b"%!PS": "EPS",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"SIMPLE": "FITS",
    b"8BPS": "PSD",
    b"\x00\x00\x01\x00": "ICO",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"P4": "PBM",
    b"P5": "PGM",
    b"P6": "PPM",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"v/1\x01": "OpenEXR",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
    b"<svg": "SVG",
    b"<?xml": "XML",
}
# ISO base media files carry their kind at offset 8
BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
}


@dataclass(frozen=True, slots=True)
class Header:
    """A file's own description; what it claims is not yet true.

    Attributes:
        format: ``JPEG``, ``PNG`` or ``WEBP``.
        width: pixels, as stored (before the orientation is applied).
        height: pixels, as stored.
        orientation: EXIF's 1 to 8; 1 is upright, and so is anything unreadable.
        channels: of a JPEG, 1 or 3; 0 where the codec has to say.
        picture: the file without what pixels do not need.
    """

    format: str
    width: int
    height: int
    orientation: int
    channels: int
    picture: bytes


def read(data: bytes) -> Header:
    """Read the header of an encoded image.

    Raises:
        NotAnImage: no image.
        FormatNotAllowed: an image of another format, or a kind of JPEG that is not taken.
        ImageTruncated: the header ends early or contradicts itself.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(PNG_SIGNATURE):
            header = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _webp(data)
        else:
            raise _foreign(data)
    except (struct.error, IndexError):
        raise ImageTruncated("the image's header ends early or is damaged; send the file again") from None
    if not header.width or not header.height:
        raise ImageTruncated(
            f"the {header.format} header claims {header.width} x {header.height} pixels; send the file again"
        )
    return header


def _foreign(data: bytes) -> ImageError:
    """Say why bytes that are no JPEG, PNG or WebP are refused."""
    name = BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None
    name = name or next((word for start, word in OTHER_FORMATS.items() if data.startswith(start)), None)
    if name:
        return FormatNotAllowed(
            f"found {name}; JPEG, PNG and WebP are taken: convert it", metadata={"found": name}
        )
    found = "no bytes" if not data else f"{len(data):,} bytes that begin with {data[:8].hex(' ')}"
    return NotAnImage(f"found {found}; expected a JPEG, PNG or WebP image")


# ---- JPEG -------------------------------------------------------------------
def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment from after SOI up to the first scan's header."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ImageTruncated("the JPEG header is damaged; send the file again")
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        length = 0 if marker in BARE_MARKERS else struct.unpack_from(">H", data, at + 2)[0]
        end = at + 2 + length
        if end > len(data) or length == 1:
            raise ImageTruncated("the JPEG header ends early; send the file again")
        yield marker, at, end
        if marker == SOS:
            return
        at = end


def _jpeg(data: bytes) -> Header:
    parts, orientation, frame, scan = [data[:2]], UPRIGHT, (0, 0, 0, 0), len(data)
    for marker, start, end in _segments(data):
        if marker == SOS:
            scan = start
        elif marker in SOF_OTHER:
            raise _jpeg_kind("a lossless or hierarchical JPEG")
        elif marker in SOF_DECODABLE:
            frame = struct.unpack_from(">BHHB", data, start + 4)
        elif marker == APP1 and data[start + 4 : start + 10] == b"Exif\x00\x00":
            orientation = _orientation(data[start + 10 : end])
        if marker not in METADATA and marker != SOS:
            parts.append(data[start:end])
    bits, height, width, channels = frame
    if not bits:
        raise ImageTruncated("the JPEG has no frame header; send the file again")
    if bits != 8:
        raise _jpeg_kind(f"a JPEG of {bits} bits")
    if channels not in {1, 3}:
        raise _jpeg_kind("a CMYK JPEG (the colours of print)" if channels == 4 else f"{channels} channels")
    parts.append(_scans(data, scan))
    return Header("JPEG", width, height, orientation, channels, b"".join(parts))


def _scans(data: bytes, start: int) -> bytes:
    """Return the compressed picture from its first scan to its end, without what follows (further pictures)."""
    scans, at = 0, start
    while found := MARKER.search(data, at):
        at = found.start()
        marker = data[at + 1]
        if marker == EOI:
            return data[start : at + 2]
        scans += marker == SOS
        if scans > MAX_SCANS:
            raise _jpeg_kind(f"a JPEG of more than {MAX_SCANS} scans")
        at += 2 if marker in BARE_MARKERS else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return data[start:]


def _jpeg_kind(found: str) -> FormatNotAllowed:
    return FormatNotAllowed(
        f"found {found}; 8-bit grey and RGB JPEG, PNG and WebP are taken: convert it",
        metadata={"found": found},
    )


# ---- PNG --------------------------------------------------------------------
def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise ImageTruncated("the PNG does not begin with its header; send the file again")
    width, height = struct.unpack_from(">II", data, 16)
    parts, orientation, at = [PNG_SIGNATURE], UPRIGHT, len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length  # past the end where the file is cut: the codec will tell
        if kind in PNG_PICTURE:
            parts.append(data[at:end])
        elif kind == b"eXIf":
            orientation = _orientation(data[at + 8 : end - 4])
        if kind == b"IEND":
            break
        at = end
    return Header("PNG", width, height, orientation, 0, b"".join(parts))


# ---- WebP -------------------------------------------------------------------
def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        width, height = 1 + (high_width << 16 | low_width), 1 + (high_height << 16 | low_height)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        raise ImageTruncated("the WebP does not begin with a picture; send the file again")
    return Header("WEBP", width, height, _webp_orientation(data), 0, data)


def _webp_orientation(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            exif = data[at + 8 : at + 8 + length]
            return _orientation(exif.removeprefix(b"Exif\x00\x00"))
        at += 8 + length + length % 2
    return UPRIGHT


# ---- EXIF -------------------------------------------------------------------
def _orientation(tiff: bytes) -> int:
    """Find the orientation in an EXIF block; whatever is wrong with the block, the picture is upright."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", tiff, at)[0]):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            if tag == ORIENTATION_TAG and (kind, count) == (3, 1) and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return UPRIGHT
    return UPRIGHT
