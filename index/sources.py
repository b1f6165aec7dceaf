"""Images on disk that are to be enrolled: a folder as ``vireid upload`` reads it, or a published dataset, drawn ones too.

Knows no gallery and opens no image.
"""

from collections.abc import Iterator
from pathlib import Path

from vireid import image_folder
from vireid.datasets import open_dataset
from vireid.datasets.verify import detect
from vireid.described import item_id_of
from vireid.errors import DatasetError
from vireid.image_folder import SUFFIXES, Entry
from vireid.types import ItemMeta


def read(root: Path, split: str | None = None) -> tuple[Entry, ...]:
    """Find the images of a folder.

    Args:
        root: the folder.
        split: only this split; None takes all but the training images.

    Raises:
        DatasetError: there is no such image, a line of the manifest is malformed, or two images have one id.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected a folder of images")
    found = _all(root)
    chosen = tuple(one for one in found if (one.split != "train" if split is None else one.split == split))
    if not chosen:
        raise DatasetError(
            f"{root} holds no image to enrol ({len(found)} in other splits); expected "
            f"{', '.join(sorted(SUFFIXES))} files"
        )
    image_folder.check_distinct(chosen)
    return chosen


def _all(root: Path) -> tuple[Entry, ...]:
    if image_folder.is_listed(root) or image_folder.is_sorted(root):
        return image_folder.read(root)
    try:
        name = detect(root)
    except DatasetError:
        return image_folder.read(root)
    return tuple(_published(root, name))


def _published(root: Path, name: str) -> Iterator[Entry]:
    dataset = open_dataset(name, root)
    for split in (dataset.train, dataset.query, dataset.gallery):
        for sample in split.samples:
            meta = ItemMeta(person=str(sample.person), camera=str(sample.camera))
            place = item_id_of(sample.path.relative_to(root).as_posix())
            yield Entry(sample.path, place, sample.modality, meta, split.name)
