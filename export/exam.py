"""What two engines are compared on: images of known people in both modalities. Knows no engine."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Int64Array, UInt8Array
from vireid.datasets import pixels
from vireid.datasets.split import Dataset
from vireid.errors import ExportError, MissingExtra
from vireid.evaluation.metrics import UNKNOWN
from vireid.images.decode import decode
from vireid.images.preprocess import Preprocess
from vireid.types import Modality, Sample

# so many that one image found a place later moves the mean average precision by less than the bars
IMAGES = 800
PEOPLE = 128
PRESET, CAMERAS = "sysu-like", 6
SEED = 7

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """Images to compare engines on.

    Attributes:
        images: preprocessed RGB, (N, H, W, 3).
        person: identity numbers, (N,).
        camera: camera numbers, (N,).
        modality: 0 visible, 1 infrared, (N,).
        origin: where they come from, in words.

    Raises:
        ExportError: shapes that do not fit, one modality only, or nobody who is seen in both.
    """

    images: UInt8Array
    person: Int64Array
    camera: Int64Array
    modality: Int64Array
    origin: str = ""

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.ndim != 4 or self.images.dtype != np.uint8 or self.images.shape[3] != 3:
            raise ExportError(
                f"found images {self.images.dtype} {self.images.shape}; expected uint8 (N, H, W, 3)"
            )
        shapes = {"person": self.person.shape, "camera": self.camera.shape, "modality": self.modality.shape}
        if wrong := {name: shape for name, shape in shapes.items() if shape != (count,)}:
            raise ExportError(f"found {wrong} beside {count} images; expected ({count},) each")
        sides = [set(self.person[self.modality == m].tolist()) for m in Modality]
        if not all(sides):
            found = " and ".join(m.word for m in Modality if (self.modality == m).any()) or "none"
            raise ExportError(
                f"an exam needs images of both modalities; found {found} among {count}: add those of the other"
            )
        if not sides[0] & sides[1] - {UNKNOWN}:
            raise ExportError(
                "nobody of the exam is seen in both modalities, so no search across them can be scored; "
                "take images of the same people by day and by night"
            )
        if len(sides[0] | sides[1]) < 2:
            raise ExportError("an exam needs two people at least, to see that they are told apart")

    def __len__(self) -> int:
        return len(self.images)

    def of(self, modality: Modality) -> Int64Array:
        """Return the places of one modality's images, rising."""
        return np.flatnonzero(self.modality == modality)

    @property
    def sha256(self) -> str:
        """Hash of everything in it, by which a report says what it was measured on."""
        parts = (self.images, self.person, self.camera, self.modality)
        found = hashlib.sha256(repr(self.images.shape).encode())
        for part in parts:
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()


def of_dataset(
    dataset: Dataset, preprocess: Preprocess, limit: int = IMAGES, advance: Advance | None = None
) -> Exam:
    """Take some of a dataset's test images, or of its training images where it has no test.

    People who are seen in both modalities take turns, so that each has an image of either before any has a second;
    the same dataset gives the same exam.

    Args:
        dataset: its people need names in both modalities.
        preprocess: what the bundle wants.
        limit: of images.
        advance: told of each image that was read.

    Raises:
        ExportError: one modality only, or nobody who is seen in both.
        DatasetError: an image is missing or cannot be read.
    """
    tested = (*dataset.query.samples, *dataset.gallery.samples)
    chosen = _in_turns(tuple(dict.fromkeys(tested or dataset.train.samples)), limit)
    images = []
    for sample in chosen:
        images.append(preprocess.apply(pixels.read(sample.path)))
        if advance is not None:
            advance(1)
    drawn = "drawn people, " if dataset.synthetic else ""
    return Exam(
        images=np.stack(images)
        if images
        else np.zeros((0, preprocess.height, preprocess.width, 3), np.uint8),
        person=np.array([s.person for s in chosen], np.int64),
        camera=np.array([s.camera for s in chosen], np.int64),
        modality=np.array([s.modality for s in chosen], np.int64),
        origin=f"{drawn}{len(chosen)} test images of {dataset.name}",
    )


def drawn(
    preprocess: Preprocess,
    people: int = PEOPLE,
    seed: int = SEED,
    workers: int = 1,
    advance: Advance | None = None,
) -> Exam:
    """Draw people by day and by night before six cameras, each once; the same seed gives the same exam.

    Args:
        preprocess: what the bundle wants.
        people: how many; each gives four visible and two infrared images.
        seed: everything follows from it.
        workers: processes that draw; the images do not depend on it.
        advance: told of each image that was drawn.

    Raises:
        MissingExtra: drawing needs the extra ``synthetic``.
    """
    try:
        from vireid.datasets.synthetic.draw import draw_crops
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"drawing people needs {error.name}; run: pip install 'vireid[synthetic]', or name a dataset"
        ) from error
    images, labels = [], []
    for crop in draw_crops(PRESET, people, 1, seed=seed, workers=workers):
        images.append(preprocess.apply(decode(crop.jpeg).rgb))
        labels.append((crop.person, crop.camera, int(crop.modality)))
        if advance is not None:
            advance(1)
    person, camera, modality = np.array(labels, np.int64).T
    return Exam(np.stack(images), person, camera, modality, f"{people} drawn people ({PRESET}, seed {seed})")


def _in_turns(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """Choose samples of people seen in both modalities, a pair of each before a second of any."""
    random = np.random.default_rng(SEED)
    by_person: dict[int, dict[Modality, list[Sample]]] = {}
    for at in random.permutation(len(samples)).tolist():
        sample = samples[at]
        if sample.person != UNKNOWN:
            by_person.setdefault(sample.person, {m: [] for m in Modality})[sample.modality].append(sample)
    # people of one modality come last: they are found by mistake only
    people = sorted(by_person, key=lambda person: not all(by_person[person].values()))
    chosen: list[Sample] = []
    for turn in range(max((len(part) for sides in by_person.values() for part in sides.values()), default=0)):
        for person in people:
            chosen += [part[turn] for part in by_person[person].values() if turn < len(part)]
    return chosen[:limit]
