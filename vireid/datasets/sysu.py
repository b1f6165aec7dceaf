"""Reader of SYSU-MM01 in its published layout.

    ROOT/cam1 .. cam6/<identity %04d>/<index %04d>.jpg    an identity folder only where the person was seen
    ROOT/exp/train_id.txt val_id.txt test_id.txt          one line of comma-separated numbers
    ROOT/exp/rand_perm_cam.mat                            only for the official draw; not in the archive

Cameras 1, 2, 4, 5 are visible, 3 and 6 infrared; camera 3 stands where camera 2 does. Training uses the
identities of train and val together, as the field does. Knows no protocol: ``query`` is every infrared test
image and ``gallery`` every visible one.

Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vireid.arrays import Int64Array
from vireid.datasets import files
from vireid.datasets.split import Dataset, Split, is_synthetic
from vireid.errors import DatasetError
from vireid.types import Modality, Sample

NAME = "sysu-mm01"
CAMERAS: Mapping[int, Modality] = {
    1: Modality.VISIBLE,
    2: Modality.VISIBLE,
    3: Modality.INFRARED,
    4: Modality.VISIBLE,
    5: Modality.VISIBLE,
    6: Modality.INFRARED,
}
PARTS = (*(f"cam{c}/" for c in CAMERAS), "exp/train_id.txt", "exp/val_id.txt", "exp/test_id.txt")
PERMUTATIONS = "exp/rand_perm_cam.mat"
OFFICIAL_TRIALS = 10

Permutations = Mapping[
    tuple[int, int], Int64Array
]  # (person, camera) -> orders of its images, (10, n), from 1


def read(root: Path) -> Dataset:
    """Read SYSU-MM01.

    Raises:
        DatasetError: a camera folder or list is missing or unreadable, lists overlap, an identity has no
            image, or a folder is empty.
    """
    files.require(root, PARTS, "SYSU-MM01")
    train, val, test = (files.id_list(root / "exp" / f"{part}_id.txt") for part in ("train", "val", "test"))
    for a, b, names in (
        (train, val, "train and val"),
        (train, test, "train and test"),
        (val, test, "val and test"),
    ):
        both = sorted(set(a) & set(b))
        if both:
            raise DatasetError(
                f"{root}/exp: the lists {names} share {len(both)} identities, the first is {both[0]}; "
                f"expected none"
            )
    learnt = _samples(root, sorted(train + val))
    asked = _samples(root, test)
    return Dataset(
        name=NAME,
        root=root,
        train=Split("train", learnt),
        query=Split("query", tuple(s for s in asked if s.modality is Modality.INFRARED)),
        gallery=Split("gallery", tuple(s for s in asked if s.modality is Modality.VISIBLE)),
        synthetic=is_synthetic(root),
    )


def permutations(root: Path) -> Permutations:
    """Read the official orders of images from a dataset's folder; see ``orders``."""
    return orders(root / PERMUTATIONS)


def orders(path: Path) -> Permutations:
    """Read the official orders of images, ``rand_perm_cam.mat``.

    Raises:
        DatasetError: the file is missing or of another form.
        ModuleNotFoundError: SciPy is not installed.
    """
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing; the official draw needs it and the dataset's archive does not hold it: "
            f"copy it from evaluation/data_split of the SYSU-MM01 authors' repository, or use the python draw"
        )
    from scipy.io import loadmat  # only the official draw needs SciPy

    try:
        cell = loadmat(path)["rand_perm_cam"]
        cameras = [cell[c - 1][0] for c in CAMERAS]
        found = {
            (person, camera): np.asarray(rows[person - 1][0], dtype=np.int64)
            for camera, rows in zip(CAMERAS, cameras, strict=True)
            for person in range(1, len(rows) + 1)
        }
    except Exception as error:  # SciPy raises many kinds on a foreign or broken file
        raise DatasetError(
            f"{path} is not the official file ({error}); "
            f"expected rand_perm_cam, a 6 x 1 cell of cells of 10 x n orders"
        ) from error
    found = {key: table for key, table in found.items() if table.size}
    for (person, camera), table in found.items():
        whole = np.arange(1, table.shape[-1] + 1)
        if table.ndim != 2 or len(table) != OFFICIAL_TRIALS or (np.sort(table, axis=1) != whole).any():
            raise DatasetError(
                f"{path}: identity {person}, camera {camera} holds {table.shape}; "
                f"expected {OFFICIAL_TRIALS} orders of its images"
            )
    return found


def _samples(root: Path, persons: Iterable[int]) -> tuple[Sample, ...]:
    """Return every image of some identities: by identity, then camera, then file name."""
    present = {camera: files.identities(root / f"cam{camera}") for camera in CAMERAS}
    samples: list[Sample] = []
    without: list[int] = []
    for person in persons:
        seen = [(camera, present[camera][person]) for camera in CAMERAS if person in present[camera]]
        if not seen:
            without.append(person)
        for camera, folder in seen:
            found = files.images(folder)
            if not found:
                raise DatasetError(f"{folder} holds no image; remove the folder or copy its images")
            samples += [Sample(path, person, camera, CAMERAS[camera]) for path in found]
    if without:
        raise DatasetError(
            f"{root}: {len(without)} identities of the lists in exp/ have no image in any camera, "
            f"the first is {without[0]:04d}; copy their folders or mend the lists"
        )
    return tuple(samples)
