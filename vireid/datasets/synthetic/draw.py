"""People before cameras, picture after picture; the same seed gives the same bytes on any number of workers."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vireid.arrays import UInt8Array
from vireid.datasets.synthetic import camera as cameras
from vireid.datasets.synthetic import person as persons
from vireid.datasets.synthetic import shot
from vireid.datasets.synthetic.camera import Camera, Kind
from vireid.datasets.synthetic.presets import Preset, preset
from vireid.errors import DatasetError, InvalidRequest
from vireid.types import Modality

AHEAD = 3  # people drawn before they are asked for, for each worker: bounds memory

# preset, seed, seed of the cameras, number of the person, images a camera
_Task = tuple[str, int, int, int, int]


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
) -> Generator[Crop, None, None]:
    """Draw people before all cameras of a preset, person by person.

    Args:
        name: of the preset.
        people: how many.
        images_per_camera: of each person in each camera; None for the preset's own number.
        seed: everything follows from it; 0 or more.
        first_person: number of the first person; other numbers are other people.
        camera_seed: draws other cameras for the same people; None follows ``seed``.
        workers: processes; the pictures do not depend on it.

    Raises:
        InvalidRequest: an unknown preset or a number out of range; at the call, before anything is drawn.
        DatasetError: a worker process died; while drawing.
    """
    chosen = preset(name)
    images = chosen.images if images_per_camera is None else images_per_camera
    eyes = seed if camera_seed is None else camera_seed
    asked = {"people": people, "images a camera": images, "workers": workers, "first person": first_person}
    for what, found in asked.items():
        if found < 1:
            raise InvalidRequest(f"{what}: found {found}, expected 1 or more", field=what)
    if min(seed, eyes) < 0:
        raise InvalidRequest(f"seed: found {min(seed, eyes)}, expected 0 or more", field="seed")
    tasks = [(name, seed, eyes, number, images) for number in range(first_person, first_person + people)]
    return _drawn(tasks) if workers == 1 else _drawn_apart(tasks, workers)


def _drawn(tasks: Sequence[_Task]) -> Generator[Crop, None, None]:
    for task in tasks:
        yield from _person(task)


def _drawn_apart(tasks: Sequence[_Task], workers: int) -> Generator[Crop, None, None]:
    """Draw in processes of their own, in order, a few people ahead of what is taken."""
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[Sequence[Crop]]] = deque()
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _follow_parent) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(_person, task))
                if len(waiting) >= AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DatasetError(
                "a drawing process ended before its work; expected it to live: it may have been killed for memory, "
                "or the calling script lacks `if __name__ == '__main__'`; draw with fewer workers, or one"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent() -> None:
    """Make this worker end when the process that began it has ended, however that came; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def crops_in(chosen: Preset, people: int, images: int) -> int:
    """Count what ``draw_crops`` will give."""
    return people * images * len(chosen.cameras)


def _person(task: _Task) -> Sequence[Crop]:
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
