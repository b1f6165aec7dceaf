"""Decoding against Pillow, over everything an encoder can vary; the written rules; the caps."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from vireid.errors import FormatNotAllowed, ImageTooLarge, ImageTruncated, NotAnImage, TooManyPixels
from vireid.images import header as headers
from vireid.images.decode import BACKGROUND, Limits, decode


def picture(height: int = 40, width: int = 24, seed: int = 0) -> np.ndarray:
    """Smooth blobs with some noise, so that JPEG has both to keep."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (5, 3, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noise = random.integers(-12, 13, smooth.shape)
    return np.clip(smooth.astype(int) + noise, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format_, **options)
    return out.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png(
    rows: np.ndarray, colour_type: int, bits: int, extra: tuple[tuple[bytes, bytes], ...] = (), width: int = 0
) -> bytes:
    """Write a PNG by hand: ``rows`` are its packed bytes, (height, bytes a row)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def deep_png(values: np.ndarray) -> bytes:
    return png(values.astype(">u2"), colour_type=0, bits=16, width=values.shape[1])


# ---- JPEG: simplejpeg equals Pillow -------------------------------------------
SIZES = [(1, 1), (8, 8), (7, 9), (16, 16), (17, 31), (33, 15), (64, 48), (97, 41)]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
def test_jpeg_is_bit_identical_to_pillow(subsampling: int, progressive: bool, quality: int) -> None:
    for seed, (height, width) in enumerate(SIZES):
        pixels = picture(height, width, seed)
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
        for source in (pixels, pixels[:, :, 0]):
            data = encode(source, "JPEG", **options)
            np.testing.assert_array_equal(decode(data).rgb, by_pillow(data))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    restart=st.integers(0, 5),
    optimize=st.booleans(),
    progressive=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_jpeg_is_bit_identical_to_pillow(
    height: int, width: int, seed: int, restart: int, **options: Any
) -> None:
    data = encode(picture(height, width, seed), "JPEG", restart_marker_blocks=restart, **options)
    np.testing.assert_array_equal(decode(data).rgb, by_pillow(data))


def test_jpeg_holding_rgb_instead_of_ycbcr() -> None:
    data = encode(picture(), "JPEG", keep_rgb=True, quality=95)
    np.testing.assert_array_equal(decode(data).rgb, by_pillow(data))


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 60}, {"lossless": True, "method": 6}])
def test_webp_equals_pillow(options: dict[str, Any]) -> None:
    data = encode(picture(), "WEBP", **options)
    decoded = decode(data)
    assert (decoded.format, decoded.single_channel) == ("WEBP", False)
    np.testing.assert_array_equal(decoded.rgb, by_pillow(data))


def test_png_is_lossless() -> None:
    pixels = picture()
    decoded = decode(encode(pixels, "PNG"))
    assert (decoded.format, decoded.mode, decoded.single_channel) == ("PNG", "RGB", False)
    np.testing.assert_array_equal(decoded.rgb, pixels)


# ---- written rules --------------------------------------------------------------
@pytest.mark.parametrize(
    ("format_", "options"), [("JPEG", {"quality": 90}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(
    format_: str, options: dict[str, Any], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(30, 20), format_, exif=exif, **options)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(decode(data).rgb, np.asarray(expected))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("value", "kind", "turned"), [(6, 3, True), (0, 3, False), (9, 3, False), (6, 4, False)]
)
def test_only_a_sound_orientation_counts(big_endian: bool, value: int, kind: int, turned: bool) -> None:
    order = ">" if big_endian else "<"
    tiff = (b"MM\x00*" if big_endian else b"II*\x00") + struct.pack(
        f"{order}IHHHIHH", 8, 1, 0x0112, kind, 1, value, 0
    )
    data = encode(picture(30, 20), "JPEG", exif=b"Exif\x00\x00" + tiff)
    assert decode(data).rgb.shape == ((20, 30, 3) if turned else (30, 20, 3))


@pytest.mark.parametrize("exif", [b"", b"II*\x00", b"II*\x00\xff\xff\xff\xff", b"junk" * 9])
def test_broken_exif_leaves_the_picture_upright(exif: bytes) -> None:
    data = encode(picture(), "JPEG", exif=b"Exif\x00\x00" + exif)
    np.testing.assert_array_equal(decode(data).rgb, by_pillow(encode(picture(), "JPEG")))


def test_grey_files_are_told() -> None:
    grey = picture()[:, :, 1]
    for format_ in ("JPEG", "PNG"):
        data = encode(grey, format_)
        decoded = decode(data)
        assert (decoded.mode, decoded.single_channel) == ("L", True)
        np.testing.assert_array_equal(decoded.rgb, by_pillow(data))


def test_alpha_lies_on_mid_grey() -> None:
    colour = np.zeros((1, 3, 4), np.uint8)
    colour[0, :, 0] = 200
    colour[0, :, 3] = (0, 255, 102)
    blended = [round(200 * 0.4 + BACKGROUND * 0.6), round(BACKGROUND * 0.6)]
    rgb = decode(encode(colour, "PNG")).rgb[0]
    assert rgb.tolist() == [[BACKGROUND] * 3, [200, 0, 0], [blended[0], blended[1], blended[1]]]
    grey = np.array([[[50, 0], [50, 255]]], np.uint8)
    decoded = decode(encode(grey, "PNG"))
    assert decoded.rgb[0].tolist() == [[BACKGROUND] * 3, [50] * 3]
    assert decoded.single_channel


def test_palette_with_and_without_transparency() -> None:
    rows = np.array([[0, 1, 2]], np.uint8)
    palette = (b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))
    plain = decode(png(rows, 3, 8, (palette,), width=3))
    assert plain.rgb[0].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    clear = decode(png(rows, 3, 8, (palette, (b"tRNS", bytes([0, 255, 0]))), width=3))
    assert clear.rgb[0].tolist() == [[BACKGROUND] * 3, [40, 50, 60], [BACKGROUND] * 3]


@pytest.mark.parametrize(
    ("colour_type", "bits", "row", "key", "expected"),
    [
        (0, 1, [0b10100000], None, [255, 0, 255]),
        (0, 2, [0b00011011], None, [0, 85, 170]),
        (0, 4, [0x0F, 0x80], None, [0, 255, 136]),
        (0, 8, [7, 8, 9], (8,), [7, BACKGROUND, 9]),
        (2, 8, [1, 2, 3, 4, 5, 6, 7, 8, 9], (4, 5, 6), [[1, 2, 3], [BACKGROUND] * 3, [7, 8, 9]]),
    ],
)
def test_every_depth_of_png(
    colour_type: int, bits: int, row: list[int], key: tuple[int, ...] | None, expected: list[Any]
) -> None:
    extra = ((b"tRNS", struct.pack(f">{len(key)}H", *key)),) if key else ()
    rgb = decode(png(np.array([row], np.uint8), colour_type, bits, extra, width=3)).rgb
    assert rgb[0].tolist() == [pixel if isinstance(pixel, list) else [pixel] * 3 for pixel in expected]


def test_sixteen_bit_colour_keeps_the_high_byte() -> None:
    row = np.array([[0x1234, 0x5678, 0x9ABC]], ">u2")
    assert decode(png(row, 2, 16, width=1)).rgb.tolist() == [[[0x12, 0x56, 0x9A]]]


def test_sixteen_bit_grey_is_stretched_between_its_percentiles() -> None:
    random = np.random.default_rng(3)
    night = random.normal(900, 60, (80, 50)).clip(0, 4095).astype(np.uint16)  # 12 bits, dark
    decoded = decode(deep_png(night))
    assert decoded.single_channel
    assert decoded.mode.startswith("I")
    ordered = np.sort(night, axis=None)
    low, high = float(ordered[4 - 1]), float(ordered[3996 - 1])  # of 4000
    expected = np.rint(np.clip((night.astype(float) - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(decoded.rgb[:, :, 0], expected)
    assert len(np.unique(decoded.rgb)) > 150  # the high byte alone would leave 5 levels


@settings(max_examples=30, deadline=None)
@given(gain=st.integers(1, 40), offset=st.integers(0, 2000), seed=st.integers(0, 99))
def test_sixteen_bit_grey_does_not_depend_on_gain_and_offset(gain: int, offset: int, seed: int) -> None:
    night = np.random.default_rng(seed).integers(0, 1500, (20, 10)).astype(np.uint16)
    turned = (night.astype(np.int64) * gain + offset).astype(np.uint16)
    np.testing.assert_array_equal(decode(deep_png(night)).rgb, decode(deep_png(turned)).rgb)


def test_flat_sixteen_bit_grey_is_mid_grey() -> None:
    assert np.unique(decode(deep_png(np.full((4, 3), 777, np.uint16))).rgb).tolist() == [BACKGROUND]


def test_first_frame_of_animations() -> None:
    frames = [Image.fromarray(picture(seed=seed)) for seed in (1, 2, 3)]
    for format_, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        out = io.BytesIO()
        frames[0].save(out, format_, save_all=True, append_images=frames[1:], duration=40, **options)
        np.testing.assert_array_equal(decode(out.getvalue()).rgb, np.asarray(frames[0]))


def test_several_pictures_in_one_jpeg_give_the_first() -> None:
    frames = [Image.fromarray(picture(seed=seed)) for seed in (1, 2)]
    out = io.BytesIO()
    frames[0].save(out, "MPO", save_all=True, append_images=frames[1:])
    decoded = decode(out.getvalue())
    assert decoded.format == "JPEG"
    np.testing.assert_array_equal(decoded.rgb, by_pillow(encode(picture(seed=1), "JPEG")))


def test_metadata_does_not_reach_a_codec() -> None:
    text = io.BytesIO()
    Image.fromarray(picture()).save(text, "JPEG", comment=b"secret", icc_profile=b"profile" * 50)
    np.testing.assert_array_equal(decode(text.getvalue()).rgb, by_pillow(encode(picture(), "JPEG")))
    # a text chunk that unfolds to 200 MB must stay folded
    bomb = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 1))
    tracemalloc.start()
    rgb = decode(png(np.zeros((2, 6), np.uint8), 2, 8, (bomb,), width=2)).rgb
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rgb.shape == (2, 2, 3)
    assert peak < 10_000_000


@pytest.mark.parametrize("marker", [*range(0xE1, 0xEE), 0xEF, 0xFE])
def test_no_metadata_of_a_jpeg_is_handed_on(marker: int) -> None:
    plain = encode(picture(), "JPEG")
    said = b"where the camera stood"
    noted = plain[:2] + bytes([0xFF, marker]) + struct.pack(">H", 2 + len(said)) + said + plain[2:]
    assert headers.read(noted).picture == headers.read(plain).picture == plain
    np.testing.assert_array_equal(decode(noted).rgb, by_pillow(plain))


def test_bytes_after_the_end_are_ignored() -> None:
    for format_ in ("JPEG", "PNG"):
        data = encode(picture(), format_)
        np.testing.assert_array_equal(decode(data + b"\xff\xd8more" * 20).rgb, decode(data).rgb)


# ---- refusals -------------------------------------------------------------------
def cmyk() -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture()).convert("CMYK").save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "EPS", "PPM", "ICO", "JPEG2000", "AVIF", "PDF"])
def test_other_formats_are_named(format_: str) -> None:
    name = {"JPEG2000": "JPEG 2000"}.get(format_, format_)
    with pytest.raises(FormatNotAllowed, match=f"found {name}; JPEG, PNG and WebP are taken"):
        decode(encode(picture(32, 32), format_))


def test_cmyk_is_refused() -> None:
    with pytest.raises(FormatNotAllowed, match="CMYK") as caught:
        decode(cmyk())
    assert caught.value.stable_reason == "FORMAT_NOT_ALLOWED"


def test_twelve_bit_and_lossless_jpeg_are_refused() -> None:
    data = bytearray(encode(picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 4] = 12
    with pytest.raises(FormatNotAllowed, match="12 bits"):
        decode(bytes(data))
    data[frame + 1] = 0xC3
    with pytest.raises(FormatNotAllowed, match="lossless"):
        decode(bytes(data))


def test_a_jpeg_of_endless_scans_is_refused_before_decoding() -> None:
    data = encode(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    many = data[:-2] + data[last:-2] * 20_000 + data[-2:]
    with pytest.raises(FormatNotAllowed, match="scans"):
        decode(many)


@pytest.mark.parametrize("data", [b"", b"\xff", b"hello, this is no image", b"\x00" * 500, b"<html>"])
def test_other_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="expected a JPEG, PNG or WebP"):
        decode(data)


def test_too_many_bytes() -> None:
    data = encode(picture(), "PNG")
    with pytest.raises(ImageTooLarge, match="at most"):
        decode(data, Limits(max_bytes=len(data) - 1))
    assert decode(data, Limits(max_bytes=len(data))).rgb.shape == (40, 24, 3)


def test_pixel_caps_are_exact() -> None:
    data = encode(picture(40, 24), "PNG")
    assert decode(data, Limits(max_pixels=960, max_side=40)).rgb.shape == (40, 24, 3)
    for limits in (Limits(max_pixels=959), Limits(max_side=39)):
        with pytest.raises(TooManyPixels, match="24 x 40"):
            decode(data, limits)


def test_a_bomb_is_refused_without_unfolding() -> None:
    body = zlib.compressobj(9)
    row = bytes(1 + 3 * 12_000)
    packed = b"".join([body.compress(row) for _ in range(12_000)] + [body.flush()])  # 432 MB in 420 kB
    bomb = png(np.zeros((12_000, 1), np.uint8), 2, 8, width=12_000)
    at = bomb.index(b"IDAT") - 4
    idat = b"IDAT" + packed
    bomb = (
        bomb[:at] + struct.pack(">I", len(packed)) + idat + struct.pack(">I", zlib.crc32(idat)) + bomb[-12:]
    )
    assert 300_000 < len(bomb) < 600_000
    tracemalloc.start()
    with pytest.raises(TooManyPixels, match="12000 x 12000"):
        decode(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(bomb)


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(np.zeros((1, 1), np.uint8), 0, 8, width=2**31 - 1),
        lambda: encode(picture(), "JPEG").replace(
            b"\xff\xc0\x00\x11\x08\x00\x28", b"\xff\xc0\x00\x11\x08\xff\xff"
        ),
        lambda: b"RIFF\x64\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(4) + b"\xff" * 6 + bytes(80),
        lambda: b"RIFF\x64\x00\x00\x00WEBPVP8L\x0a\x00\x00\x00\x2f" + b"\xff" * 4 + bytes(80),
        lambda: b"RIFF\x64\x00\x00\x00WEBPVP8 \x0a\x00\x00\x00" + bytes(3) + b"\x9d\x01\x2a" + b"\xff" * 4,
    ],
    ids=["png", "jpeg", "vp8x", "vp8l", "vp8"],
)
def test_headers_that_claim_much(make: Callable[[], bytes]) -> None:
    with pytest.raises(TooManyPixels):
        decode(make())


def test_headers_that_claim_nothing() -> None:
    with pytest.raises(ImageTruncated, match="0 x 1"):
        decode(png(np.zeros((1, 1), np.uint8), 0, 8, width=0))


def test_codec_and_header_must_agree() -> None:
    small, large = (
        encode(picture(8, 8), "WEBP", lossless=True),
        encode(picture(64, 64), "WEBP", lossless=True),
    )
    forged = large[:12] + b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x07\0\0\x07\0\0" + large[12:]
    forged = b"RIFF" + struct.pack("<I", len(forged) - 8) + forged[8:]
    with pytest.raises(ImageTruncated):
        decode(forged)
    assert decode(small).rgb.shape == (8, 8, 3)


def test_a_second_header_cannot_slip_a_larger_picture_past_the_caps() -> None:
    """Pillow believes the last IHDR of a PNG; the caps were held against the first."""
    data = encode(picture(64, 64), "PNG")
    forged = encode(picture(8, 8), "PNG")[:33] + data[8:]  # the signature and IHDR are 33 bytes
    assert by_pillow(forged).shape == (64, 64, 3)
    with pytest.raises(ImageTruncated, match=r"contradicts itself: 8 x 8 pixels .* 64 x 64 in another"):
        decode(forged, Limits(max_pixels=64))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_cut_files_are_truncated(format_: str, share: float) -> None:
    data = encode(picture(120, 60), format_)
    with pytest.raises(ImageTruncated, match="send the file again"):
        decode(data[: max(16, int(len(data) * share))])
