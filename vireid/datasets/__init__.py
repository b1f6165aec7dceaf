"""Readers of the field's datasets and of labelled folders; the synthetic generator.

``open_dataset`` is the door. Knows no protocol and no model.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from vireid.datasets import folder, llcm, market1501, msmt17, regdb, sysu
from vireid.datasets.split import SYNTHETIC_MARKER, Dataset, Split, is_synthetic
from vireid.errors import DatasetError

# name -> reader; RegDB alone has several identity splits and its reader takes the trial
READERS: Mapping[str, Callable[[Path], Dataset]] = {
    sysu.NAME: sysu.read,
    regdb.NAME: regdb.read,
    llcm.NAME: llcm.read,
    folder.NAME: folder.read,
}

# labelled sets of one modality, to learn from: no protocol across modalities asks them anything
SOURCES: Mapping[str, Callable[[Path], Dataset]] = {
    market1501.NAME: market1501.read,
    msmt17.NAME: msmt17.read,
}


def open_dataset(name: str, root: str | Path, trial: int = 1) -> Dataset:
    """Read a dataset.

    Args:
        name: ``sysu-mm01``, ``regdb``, ``llcm`` or ``folder``; or a source, ``market1501`` or ``msmt17``.
        root: its folder.
        trial: RegDB's identity split, 1 to 10; the others have one split.

    Raises:
        DatasetError: an unknown name, a trial that does not exist, or a folder that is incomplete or wrong.
    """
    readers = {**READERS, **SOURCES}
    if name not in readers:
        raise DatasetError(f"no dataset is called {name!r}; expected one of {', '.join(readers)}")
    if name == regdb.NAME:
        return regdb.read(Path(root), trial)
    if trial != 1:
        raise DatasetError(f"{name} has one identity split, so no trial {trial}; only regdb has 1 to 10")
    return readers[name](Path(root))


__all__ = ["READERS", "SOURCES", "SYNTHETIC_MARKER", "Dataset", "Split", "is_synthetic", "open_dataset"]
