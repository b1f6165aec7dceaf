"""How a report comes by the image of a sample and by its camera's name. Knows no scores and no drawing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vireid.arrays import UInt8Array
from vireid.datasets import pixels
from vireid.types import Sample


def from_file(sample: Sample) -> UInt8Array:
    """Read the image a sample names as RGB, (H, W, 3).

    Raises:
        DatasetError: it is missing or no readable image.
    """
    return pixels.read(sample.path)


def camera_number(sample: Sample) -> str:
    """Name a camera by its number."""
    return str(sample.camera)


@dataclass(frozen=True, slots=True)
class Album:
    """Where images are.

    Attributes:
        image: gives the RGB image of a sample, (H, W, 3), None where none is kept.
        camera: names the camera of a sample.
    """

    image: Callable[[Sample], UInt8Array | None] = from_file
    camera: Callable[[Sample], str] = camera_number


def of_folder(folder: Path) -> Album:
    """Return an album of files whose paths count from a folder."""
    return Album(image=lambda sample: pixels.read(folder / sample.path))


FILES = Album()
