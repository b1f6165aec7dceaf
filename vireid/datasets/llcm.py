"""Reader of LLCM in its published layout.

    ROOT/idx/train_vis.txt train_nir.txt                lines "vis/0891/0891_c05_s1_f2_vis.jpg label"
    ROOT/idx/test_id.txt                                one line of comma-separated numbers, unsorted
    ROOT/vis/<identity>/ nir/<identity>/                training images
    ROOT/test_vis/cam1 .. cam9/<identity %04d>/*.jpg    test images
    ROOT/test_nir/cam1 .. cam9/<identity %04d>/*.jpg    there is no near-infrared cam3

A training image's camera is the ``c05`` word of its file name, a test image's is its folder; nothing is read
from a position in a path, so parent folders may be called anything. Knows no protocol: ``query`` is every
near-infrared test image and ``gallery`` every visible one.

Zhang and Wang, Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark, CVPR 2023.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from vireid.datasets import files
from vireid.datasets.split import Dataset, Split, is_synthetic
from vireid.errors import DatasetError
from vireid.types import Modality, Sample

NAME = "llcm"
CAMERAS: Mapping[Modality, tuple[int, ...]] = {
    Modality.VISIBLE: (1, 2, 3, 4, 5, 6, 7, 8, 9),
    Modality.INFRARED: (1, 2, 4, 5, 6, 7, 8, 9),
}
WORD: Mapping[Modality, str] = {Modality.VISIBLE: "vis", Modality.INFRARED: "nir"}
PARTS = (
    "idx/train_vis.txt",
    "idx/train_nir.txt",
    "idx/test_id.txt",
    "vis/",
    "nir/",
    *(f"test_{WORD[m]}/cam{c}/" for m, cameras in CAMERAS.items() for c in cameras),
)
_CAMERA = re.compile(r"_c(\d{1,2})_")


def read(root: Path) -> Dataset:
    """Read LLCM.

    Raises:
        DatasetError: a folder, list or image is missing, a list is malformed, a test identity has no image,
            or training and test share an identity.
    """
    files.require(root, PARTS, "LLCM")
    test = files.id_list(root / "idx" / "test_id.txt")
    learnt = _listed(root, Modality.VISIBLE) + _listed(root, Modality.INFRARED)
    both = {s.person for s in learnt} & set(test)
    if both:
        raise DatasetError(
            f"{root}/idx: training and test share {len(both)} identities, the first is {min(both)}"
        )
    visible, infrared = (_walked(root, m, test) for m in (Modality.VISIBLE, Modality.INFRARED))
    without = sorted(set(test) - {s.person for s in visible + infrared})
    if without:
        raise DatasetError(
            f"{root}: {len(without)} identities of idx/test_id.txt have no image in test_vis/ or test_nir/, "
            f"the first is {without[0]:04d}; copy their folders or mend the list"
        )
    return Dataset(
        name=NAME,
        root=root,
        train=Split("train", learnt),
        query=Split("query", infrared),
        gallery=Split("gallery", visible),
        synthetic=is_synthetic(root),
    )


def _listed(root: Path, modality: Modality) -> tuple[Sample, ...]:
    word = WORD[modality]
    path = root / "idx" / f"train_{word}.txt"
    samples = []
    for name, _ in files.labelled_list(path):
        words = name.split("/")
        camera = _CAMERA.search(words[-1])
        if len(words) != 3 or words[0] != word or not files.is_number(words[1]) or camera is None:
            raise DatasetError(f"{path}: {name!r}; expected {word}/<identity>/<identity>_c<camera>_...")
        samples.append(Sample(root / name, int(words[1]), int(camera.group(1)), modality))
    files.require_files((s.path for s in samples), str(path))
    return tuple(samples)


def _walked(root: Path, modality: Modality, persons: tuple[int, ...]) -> tuple[Sample, ...]:
    """Return the test images of one modality: by identity, then camera, then file name."""
    present = {
        camera: files.identities(root / f"test_{WORD[modality]}" / f"cam{camera}")
        for camera in CAMERAS[modality]
    }
    samples: list[Sample] = []
    for person in persons:
        for camera, identities in present.items():
            if person not in identities:
                continue
            found = files.images(identities[person])
            if not found:
                raise DatasetError(
                    f"{identities[person]} holds no image; remove the folder or copy its images"
                )
            samples += [Sample(path, person, camera, modality) for path in found]
    return tuple(samples)
