"""People before cameras, picture after picture; the same seed gives the same bytes on any number of workers."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vireid.arrays import UInt8Array
from vireid.datasets.synthetic import camera as cameras
from vireid.datasets.synthetic import person as persons
from vireid.datasets.synthetic import shot
from vireid.datasets.synthetic.camera import Camera, Kind
from vireid.datasets.synthetic.presets import Preset, preset
from vireid.errors import InvalidRequest
from vireid.types import Modality


@dataclass(frozen=True, slots=True)
class Crop:
    """One drawn picture.

    Attributes:
        rgb: as the sensor gave it, before JPEG, (h, w, 3).
        jpeg: the same, encoded at the camera's quality.
        person: number, from 1.
        camera: number, as in the preset.
        modality: near infrared and thermal count as infrared.
        shot: number, from 1.
    """

    rgb: UInt8Array
    jpeg: bytes
    person: int
    camera: int
    modality: Modality
    shot: int


def draw_crops(  # noqa: PLR0913 - what is drawn, in full
    name: str,
    people: int,
    images_per_camera: int | None = None,
    *,
    seed: int = 0,
    first_person: int = 1,
    camera_seed: int | None = None,
    workers: int = 1,
) -> Iterator[Crop]:
    """Draw people before all cameras of a preset, person by person.

    Args:
        name: of the preset.
        people: how many.
        images_per_camera: of each person in each camera; None for the preset's own number.
        seed: everything follows from it.
        first_person: number of the first person; other numbers are other people.
        camera_seed: draws other cameras for the same people; None follows ``seed``.
        workers: processes; the pictures do not depend on it.

    Raises:
        InvalidRequest: an unknown preset or a number out of range.
    """
    chosen = preset(name)
    images = chosen.images if images_per_camera is None else images_per_camera
    if people < 1 or images < 1 or workers < 1 or first_person < 1:
        raise InvalidRequest(
            f"found {people} people, {images} images a camera, {workers} workers; expected at least 1 of each",
            field="people",
        )
    eyes = seed if camera_seed is None else camera_seed
    tasks = [(name, seed, eyes, number, images) for number in range(first_person, first_person + people)]
    if workers == 1:
        for task in tasks:
            yield from _person(task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for crops in pool.map(_person, tasks, chunksize=1):
            yield from crops


def crops_in(chosen: Preset, people: int, images: int) -> int:
    """Count what ``draw_crops`` will give."""
    return people * images * len(chosen.cameras)


def _person(task: tuple[str, int, int, int, int]) -> Sequence[Crop]:
    name, seed, camera_seed, number, images = task
    person = persons.draw(seed, number)
    found = []
    for index, eye in enumerate(_eyes(name, camera_seed)):
        modality = Modality.VISIBLE if eye.kind is Kind.VISIBLE else Modality.INFRARED
        for turn in range(1, images + 1):
            random = np.random.default_rng([seed, 3, camera_seed, number, index, turn])
            rgb = shot.take(person, eye, random)
            found.append(Crop(rgb, shot.jpeg(rgb, eye.quality), number, eye.number, modality, turn))
    return found


@lru_cache(maxsize=4)
def _eyes(name: str, seed: int) -> tuple[Camera, ...]:
    chosen = preset(name)
    # a camera with two views gets another number for the second, so that the views differ
    numbers = [number + 100 * (kind is not Kind.VISIBLE) for number, kind in chosen.cameras]
    drawn = [
        cameras.draw(apart, kind, seed, chosen.hardness)
        for apart, (_, kind) in zip(numbers, chosen.cameras, strict=True)
    ]
    return tuple(replace(eye, number=number) for eye, (number, _) in zip(drawn, chosen.cameras, strict=True))
