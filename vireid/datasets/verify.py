"""Is a dataset copy the published one? Names what is missing and counts what is there.

What the generator drew (a ``synthetic.json`` at the root) is held to the layout alone; its counts are reported.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vireid.datasets import files, folder, llcm, market1501, msmt17, open_dataset, published, regdb, sysu
from vireid.datasets.split import Dataset, is_synthetic
from vireid.described import MANIFEST
from vireid.errors import DatasetError
from vireid.types import Modality

# what tells each layout at the root, the most demanding first
_LAYOUTS: Mapping[str, tuple[frozenset[str], ...]] = {
    sysu.NAME: (frozenset({"exp", *(f"cam{c}" for c in sysu.CAMERAS)}),),
    regdb.NAME: (frozenset({"idx", "Visible", "Thermal"}),),
    llcm.NAME: (frozenset({"idx", "vis", "nir", "test_vis", "test_nir"}),),
    market1501.NAME: (frozenset(market1501.FOLDERS.values()),),
    msmt17.NAME: tuple(frozenset({*msmt17.LISTS, *pair}) for pair in msmt17.FOLDERS),
    folder.NAME: (frozenset({MANIFEST}), frozenset({"visible", "infrared"})),
}


@dataclass(frozen=True, slots=True)
class Count:
    """One number of a dataset.

    Attributes:
        what: what was counted.
        found: how many there are.
        expected: how many were published, None where nothing is demanded.
    """

    what: str
    found: int
    expected: int | None

    @property
    def ok(self) -> bool:
        """Whether the number is as published, or none is demanded."""
        return self.expected is None or self.found == self.expected


@dataclass(frozen=True, slots=True)
class Report:
    """What verification found.

    Attributes:
        name: the dataset.
        root: its folder.
        synthetic: whether only the layout was demanded.
        problems: what is missing or wrong, in words.
        notes: what is worth knowing but no fault.
        counts: what is there.
    """

    name: str
    root: Path
    synthetic: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    counts: tuple[Count, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing and every count is as published."""
        return not self.problems and all(c.ok for c in self.counts)


def detect(root: Path) -> str:
    """Return which dataset's layout a folder has, even where a part of it is missing.

    Raises:
        DatasetError: no folder, or no layout of which at least half is there.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected the root folder of a dataset")
    present = {p.name for p in root.iterdir()}
    share = {
        name: max(len(marks & present) / len(marks) for marks in choices)
        for name, choices in _LAYOUTS.items()
    }
    best = max(share, key=lambda name: share[name])
    if share[best] < 0.5:
        expected = "; ".join(
            f"{name}: {' or '.join(', '.join(sorted(marks)) for marks in choices)}"
            for name, choices in _LAYOUTS.items()
        )
        raise DatasetError(f"{root} has no known layout; expected one of: {expected}")
    return best


def verify(root: Path, name: str | None = None, synthetic: bool | None = None) -> Report:
    """Check a dataset copy against the published one.

    Args:
        root: its folder.
        name: the dataset; None finds it by its layout.
        synthetic: demand the layout alone; None asks the marker file.

    Raises:
        DatasetError: no such folder, or no known layout. Everything else is in the report.
    """
    name = detect(root) if name is None else name
    synthetic = is_synthetic(root) if synthetic is None else synthetic
    problems: list[str] = []
    counts: list[Count] = []
    for trial in _trials(root, name, synthetic):
        try:
            dataset = open_dataset(name, root, trial)
        except DatasetError as error:
            problems.append(error.message)
            continue
        prefix = f"trial {trial}, " if name == regdb.NAME else ""
        counts += _counts(dataset, prefix, demanded=not synthetic)
        problems += _empty_files(dataset)
    notes: tuple[str, ...] = ()
    if name == sysu.NAME and not problems:
        wrong, notes = _official_order(root)
        problems += wrong
    return Report(name, root, synthetic, tuple(dict.fromkeys(problems)), notes, tuple(counts))


def _trials(root: Path, name: str, synthetic: bool) -> tuple[int, ...]:
    """Return the identity splits to read: all ten of RegDB, or those a drawn copy has."""
    if name != regdb.NAME:
        return (1,)
    every = tuple(range(1, regdb.TRIALS + 1))
    if not synthetic:
        return every
    return tuple(t for t in every if not files.missing(root, regdb.lists(t))) or (1,)


def _counts(dataset: Dataset, prefix: str, demanded: bool) -> list[Count]:
    parts = {"train": dataset.train.samples, "test": dataset.query.samples + dataset.gallery.samples}
    persons = published.PERSONS.get(dataset.name, {}) if demanded else {}
    images = published.IMAGES.get(dataset.name, {}) if demanded else {}
    splits = published.SPLITS.get(dataset.name, {}) if demanded else {}
    counts = [
        Count(f"{prefix}{split.name}: images", len(split), splits[split.name])
        for split in (dataset.train, dataset.query, dataset.gallery)
        if split.name in splits
    ]
    for part, samples in parts.items():
        distinct = set(samples)  # a folder of one modality asks and finds the same images
        found = Counter((part, s.modality, s.camera) for s in distinct)
        counts.append(Count(f"{prefix}{part}: persons", len({s.person for s in distinct}), persons.get(part)))
        for key in sorted(set(found) | {k for k in images if k[0] == part}):
            expected = images.get(key, 0) if images else None
            counts.append(Count(f"{prefix}{part}: {_words(key)}", found[key], expected))
    return counts


def _words(key: tuple[str, Modality, int]) -> str:
    return f"{key[1].word} images of camera {key[2]}"


def _empty_files(dataset: Dataset) -> list[str]:
    every = dataset.train.samples + dataset.query.samples + dataset.gallery.samples
    empty = [s.path for s in every if s.path.stat().st_size == 0]
    if not empty:
        return []
    return [f"{len(empty)} image files are empty, the first is {empty[0]}; copy them again"]


def _official_order(root: Path) -> tuple[list[str], tuple[str, ...]]:
    """Compare the official draw's file, where there is one, with the images that are there."""
    if not (root / sysu.PERMUTATIONS).is_file():
        return [], (f"{sysu.PERMUTATIONS} is not there: the python draw works, the official draw does not",)
    try:
        orders = sysu.permutations(root)
    except ModuleNotFoundError:
        return [], (f"{sysu.PERMUTATIONS} was not checked: SciPy is not installed",)
    except DatasetError as error:
        return [error.message], ()
    dataset = sysu.read(root)
    found = Counter((s.person, s.camera) for s in dataset.query.samples + dataset.gallery.samples)
    test = {person for person, _ in found}
    expected = {key: table.shape[1] for key, table in orders.items() if key[0] in test}
    wrong = sorted(key for key in set(found) | set(expected) if found[key] != expected.get(key, 0))
    if not wrong:
        return [], ()
    person, camera = wrong[0]
    return [
        f"{sysu.PERMUTATIONS} does not fit {len(wrong)} folders; the first is identity {person:04d} in camera "
        f"{camera}: {found[person, camera]} images, the file orders {expected.get((person, camera), 0)}"
    ], ()
