"""Reader of MSMT17 in its published layouts, a labelled visible set to learn from.

    ROOT/list_train.txt list_val.txt list_query.txt list_gallery.txt    lines "0000/0000_000_01_..._0.jpg label"
    ROOT/train/<identity>/<identity>_<image>_<camera>_...jpg            version 1; test/ alike
    ROOT/mask_train_v2/ mask_test_v2/                                   version 2: the same, faces masked

Training uses both of its lists, as its users do: 32,621 images. Test identities are counted from 0 again; they get
``TEST`` added, so that no number stands for two persons. Knows no protocol.

Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-Identification, CVPR 2018.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from vireid.datasets import files
from vireid.datasets.split import Dataset, Split, is_synthetic
from vireid.errors import DatasetError
from vireid.types import Modality, Sample

NAME = "msmt17"
LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
TEST = 10_000
_NAME = re.compile(r"(\d{4})/\1_\d+_(\d{2})_[^/]+")


def read(root: Path) -> Dataset:
    """Read MSMT17 of either version.

    Raises:
        DatasetError: a folder, list or image is missing, or a list is malformed.
    """
    train, test = _folders(root)
    files.require(root, (*LISTS, f"{train}/", f"{test}/"), "MSMT17")
    return Dataset(
        name=NAME,
        root=root,
        train=Split("train", _listed(root, train, LISTS[:2], 0)),
        query=Split("query", _listed(root, test, LISTS[2:3], TEST)),
        gallery=Split("gallery", _listed(root, test, LISTS[3:], TEST)),
        synthetic=is_synthetic(root),
    )


def _folders(root: Path) -> tuple[str, str]:
    """Return the folders of training and test images; version 2 is spelt with v2 or V2. Those of version 1 if neither."""
    if root.is_dir():
        present = {path.name.lower(): path.name for path in root.iterdir()}
        for train, test in reversed(FOLDERS):
            if train in present or test in present:
                return present.get(train, train), present.get(test, test)
    return FOLDERS[0]


def _listed(root: Path, folder: str, lists: Sequence[str], first: int) -> tuple[Sample, ...]:
    samples: list[Sample] = []
    person_of: dict[int, int] = {}
    for path in (root / name for name in lists):
        for name, label in files.labelled_list(path):
            words = _NAME.fullmatch(name)
            if words is None:
                raise DatasetError(f"{path}: {name!r}; expected <identity>/<identity>_<image>_<camera>_...")
            person = int(words[1])
            if person_of.setdefault(label, person) != person:
                raise DatasetError(
                    f"{path}: label {label} stands for identities {person_of[label]} and {person}; expected one"
                )
            samples.append(Sample(root / folder / name, first + person, int(words[2]), Modality.VISIBLE))
    files.require_files((s.path for s in samples), " and ".join(str(root / name) for name in lists))
    return tuple(samples)
