"""A dataset, written out as the manifest of a labelled folder. Knows no layout."""

import csv
from pathlib import Path

from vireid.datasets.split import Dataset
from vireid.errors import DatasetError

COLUMNS = ("path", "person", "camera", "modality", "split")


def write(dataset: Dataset, target: Path) -> dict[str, int]:
    """Write ``manifest.csv``: one line an image, in the dataset's own order, paths relative to its root.

    Returns:
        How many images each split has.

    Raises:
        DatasetError: the file is there already or cannot be written.
    """
    splits = (dataset.train, dataset.query, dataset.gallery)
    try:
        with target.open("x", encoding="utf-8", newline="") as out:
            lines = csv.writer(out, lineterminator="\n")
            lines.writerow(COLUMNS)
            for split in splits:
                for sample in split.samples:
                    place = sample.path.relative_to(dataset.root).as_posix()
                    lines.writerow((place, sample.person, sample.camera, sample.modality.word, split.name))
    except FileExistsError:
        raise DatasetError(f"{target} is there already; remove it, or write elsewhere with --to") from None
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error.strerror}; choose another --to") from error
    return {split.name: len(split) for split in splits}
