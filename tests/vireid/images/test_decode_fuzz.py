"""Whatever the bytes, a decoder answers with an image or an ImageError, quietly."""

import io
import random
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vireid.errors import ImageError
from vireid.images.decode import decode

START = np.random.default_rng(5).integers(0, 255, (6, 4, 3), dtype=np.uint8)
PICTURE = Image.fromarray(START).resize((48, 96), Image.Resampling.BICUBIC)


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "maker"
    return tags


FRAMES = [PICTURE.rotate(90 * turn) for turn in (1, 2)]
SEEDS = {
    "jpeg": encode(PICTURE, "JPEG", exif=exif()),
    "jpeg-progressive": encode(PICTURE, "JPEG", progressive=True),
    "jpeg-grey": encode(PICTURE.convert("L"), "JPEG"),
    "jpeg-cmyk": encode(PICTURE.convert("CMYK"), "JPEG"),
    "mpo": encode(PICTURE, "MPO", save_all=True, append_images=FRAMES),
    "png": encode(PICTURE, "PNG", exif=exif()),
    "png-palette": encode(PICTURE.quantize(16), "PNG", transparency=3),
    "png-16": encode(Image.fromarray(START[:, :, 0].astype(np.uint16) * 9), "PNG"),
    "png-rgba": encode(PICTURE.convert("RGBA"), "PNG"),
    "apng": encode(PICTURE, "PNG", save_all=True, append_images=FRAMES),
    "webp": encode(PICTURE, "WEBP", exif=exif()),
    "webp-lossless": encode(PICTURE.convert("RGBA"), "WEBP", lossless=True),
    "webp-animated": encode(PICTURE, "WEBP", save_all=True, append_images=FRAMES),
}


def judge(data: bytes) -> bool:
    """Decode; true if it gave an image. Every other error, and every warning, fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            decoded = decode(data)
        except ImageError:
            return False
    height, width, channels = decoded.rgb.shape
    assert (decoded.rgb.dtype, channels) == (np.uint8, 3)
    assert height
    assert width
    return True


@pytest.mark.parametrize("name", SEEDS)
def test_cuts(name: str) -> None:
    data = SEEDS[name]
    for length in [*range(64), *range(64, len(data), 64)]:
        judge(data[:length])
    assert judge(data) == (name != "jpeg-cmyk")


@pytest.mark.parametrize("name", SEEDS)
def test_flipped_bits(name: str) -> None:
    data = SEEDS[name]
    chance = random.Random(name)
    verdicts = set()
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(chance.choice([1, 1, 1, 2, 8, 40])):
            # headers are where the branches are
            reach = chance.choice([32, 128, len(data)])
            broken[chance.randrange(min(reach, len(data)))] ^= 1 << chance.randrange(8)
        verdicts.add(judge(bytes(broken)))
    assert False in verdicts


@pytest.mark.parametrize("name", SEEDS)
def test_spliced_files(name: str) -> None:
    data = SEEDS[name]
    chance = random.Random(name)
    for other in SEEDS.values():
        for _ in range(8):
            cut, at = chance.randrange(len(data)), chance.randrange(len(other))
            judge(data[:cut] + other[at:])
            judge(data[:cut] + data[cut + chance.randrange(20) :])


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a"]
    ),
    rest=st.binary(max_size=300),
)
def test_random_bytes(start: bytes, rest: bytes) -> None:
    judge(start + rest)


def test_threads_leave_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for data in SEEDS.values():
                for cut in (len(data), len(data) // 2):
                    try:
                        decode(data[:cut])
                    except ImageError:
                        continue
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(warnings.filters) == before
