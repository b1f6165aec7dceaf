"""Images on which eight bits are fitted to a model: as many visible as infrared ones, of as many people as there are.

From a dataset, whose training images come first so that its test images can prove what was made; or from any folder in which
images have a modality, such as what a gallery was filled from. Reads no gallery: its pictures are its own. Knows no model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vireid import image_folder
from vireid.arrays import Int64Array, UInt8Array
from vireid.datasets import Dataset, open_dataset, pixels
from vireid.datasets.verify import detect
from vireid.errors import DatasetError, ExportError
from vireid.images import modality as pictures
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

COUNT = 64
LEAST = 2  # of each modality
SEED = 11

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationImages:
    """What a model is run on to see how far its maps reach.

    Attributes:
        images: preprocessed RGB, (N, H, W, 3).
        modality: 0 visible, 1 infrared, in turns, (N,).
        origin: where they come from, in words.

    Raises:
        ExportError: fewer than two of either modality, or not as many of both.
    """

    images: UInt8Array
    modality: Int64Array
    origin: str = ""

    def __post_init__(self) -> None:
        counts = {one: int((self.modality == one).sum()) for one in Modality}
        if min(counts.values()) < LEAST:
            raise _one_sided(counts, self.origin)
        if len(set(counts.values())) > 1 or len(self.images) != len(self.modality):
            raise ExportError(f"found {_words(counts)} to calibrate on; expected as many of both")

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> "CalibrationImages":
        """Return some of them, both modalities in turns; an odd number is made even."""
        part = slice(max(2 * LEAST, count + count % 2))
        return CalibrationImages(self.images[part], self.modality[part], self.origin)


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image file and what is known of it."""

    path: Path
    modality: Modality
    who: str


def read(
    root: Path, preprocess: Preprocess, count: int = COUNT, advance: Advance | None = None
) -> CalibrationImages:
    """Take images from a folder: a dataset by its layout, or images with a modality each.

    Args:
        root: the folder.
        preprocess: what the bundle wants.
        count: of images, half of each modality; fewer where there are fewer.
        advance: told of each image that was read.

    Raises:
        DatasetError: no folder, no image, or one that cannot be read.
        ExportError: one modality only.
    """
    try:
        layout = detect(root)
    except DatasetError:
        if not root.is_dir():
            raise
        return _chosen(_listed(root), preprocess, count, root.name, advance)
    return of_dataset(open_dataset(layout, root), preprocess, count, advance)


def of_dataset(
    dataset: Dataset, preprocess: Preprocess, count: int = COUNT, advance: Advance | None = None
) -> CalibrationImages:
    """Take a dataset's training images, or all of its images where those are of one modality or none.

    Args and errors as for ``read``.
    """
    learnt = dataset.train.samples
    both = {sample.modality for sample in learnt} == set(Modality)
    samples = learnt if both else (*learnt, *dataset.query.samples, *dataset.gallery.samples)
    found = [_Picture(s.path, s.modality, str(s.person)) for s in dict.fromkeys(samples)]
    which = "training images" if both else "images"
    return _chosen(found, preprocess, count, f"{which} of {dataset.name}", advance)


def _listed(root: Path) -> list[_Picture]:
    """Find images; where nothing tells their modality, their colours do."""
    found = []
    for entry in image_folder.read(root):
        side = entry.modality
        if side is None:
            side, _ = pictures.detect(pixels.read(entry.path))
        found.append(_Picture(entry.path, side, str(entry.meta.person)))
    return found


def _chosen(
    found: Sequence[_Picture], preprocess: Preprocess, count: int, origin: str, advance: Advance | None
) -> CalibrationImages:
    sides = {one: _in_turns([p for p in found if p.modality is one]) for one in Modality}
    each = min(count // 2, *(len(side) for side in sides.values()))
    if each < LEAST:
        if count // 2 < LEAST:
            raise ExportError(f"{count} images were asked for; calibration needs {2 * LEAST} at least")
        raise _one_sided({one: len(side) for one, side in sides.items()}, origin)
    images, modality = [], []
    for pair in zip(*(side[:each] for side in sides.values()), strict=True):
        for picture in pair:
            images.append(preprocess.apply(pixels.read(picture.path)))
            modality.append(int(picture.modality))
            if advance is not None:
                advance(1)
    words = f"{len(images)} {origin}, half of them infrared"
    return CalibrationImages(np.stack(images), np.array(modality, np.int64), words)


def _in_turns(found: Sequence[_Picture]) -> list[_Picture]:
    """Let people take turns, each in an order of chance that is always the same."""
    random = np.random.default_rng(SEED)
    by_person: dict[str, list[_Picture]] = {}
    for at in random.permutation(len(found)).tolist():
        by_person.setdefault(found[at].who, []).append(found[at])
    turns = max((len(own) for own in by_person.values()), default=0)
    return [own[turn] for turn in range(turns) for own in by_person.values() if turn < len(own)]


def _words(counts: dict[Modality, int]) -> str:
    return " and ".join(f"{count} {one.word}" for one, count in counts.items())


def _one_sided(counts: dict[Modality, int], origin: str) -> ExportError:
    where = f" in {origin}" if origin else ""
    return ExportError(
        f"found {_words(counts)} images{where} to calibrate on; expected {LEAST} of each at least: eight bits fitted "
        "to one modality cut off the other, so add images of both"
    )
