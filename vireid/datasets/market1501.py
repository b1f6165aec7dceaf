"""Reader of Market-1501 in its published layout, a labelled visible set to learn from.

    ROOT/bounding_box_train/0002_c1s1_000451_03.jpg    identity 2, camera 1, sequence 1, frame 451, box 3
    ROOT/query/                                        named alike
    ROOT/bounding_box_test/                            also 0000_... distractors and -1_... junk

A distractor is a box around nobody who is searched for: identity 0, part of the gallery. Junk overlaps a person
too little to be right and too much to be wrong; it is left out. Knows no protocol.

Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from vireid.datasets import files
from vireid.datasets.split import Dataset, Split, is_synthetic
from vireid.errors import DatasetError
from vireid.types import Modality, Sample

NAME = "market1501"
FOLDERS: Mapping[str, str] = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}
JUNK, DISTRACTOR = -1, 0
_NAME = re.compile(r"(-1|\d{4})_c([1-6])s\d+_\d+_\d+\.")


def read(root: Path) -> Dataset:
    """Read Market-1501.

    Raises:
        DatasetError: a folder is missing or empty, an image is not named as published, junk or distractors are
            where persons must be, or training and test share an identity.
    """
    files.require(root, (f"{folder}/" for folder in FOLDERS.values()), "Market-1501")
    train, query, gallery = (_split(root, name) for name in ("train", "query", "gallery"))
    both = set(train.persons.tolist()) & {*query.persons.tolist(), *gallery.persons.tolist()}
    if both:
        raise DatasetError(
            f"{root}: training and test share {len(both)} identities, the first is {min(both):04d}; expected none"
        )
    return Dataset(
        name=NAME, root=root, train=train, query=query, gallery=gallery, synthetic=is_synthetic(root)
    )


def _split(root: Path, name: str) -> Split:
    """Read one folder, in the order of its file names, without its junk."""
    folder = root / FOLDERS[name]
    samples = []
    for path in files.images(folder):
        words = _NAME.match(path.name)
        if words is None:
            raise DatasetError(
                f"{path} is not named as in Market-1501; expected a name such as 0002_c1s1_000451_03.jpg"
            )
        person = int(words[1])
        if person <= DISTRACTOR and name != "gallery":
            raise DatasetError(
                f"{path} shows nobody who is searched for; expected it in {FOLDERS['gallery']}/ only"
            )
        if person != JUNK:
            samples.append(Sample(path, person, int(words[2]), Modality.VISIBLE))
    if not samples:
        raise DatasetError(f"{folder} holds no image; copy it from the dataset's own distribution")
    return Split(name, tuple(samples))
