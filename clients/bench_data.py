"""The images of a benchmark: who asks, who is to be found, and how the answers are counted by default.

A folder that says itself who is on its images is read here; the published layouts are listed by
``vireid data manifest``, in a process of its own, as reading them takes more than a client has. Knows no server.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clients import folder
from clients.accuracy import CmcLevel, Rule
from clients.local_server import RUN
from vireid import image_folder
from vireid.errors import DatasetError
from vireid.image_folder import Entry

SYNTHETIC_MARKER = "synthetic.json"
FOLDER = "folder"
# layout -> what its literature leaves out and counts
CUSTOMS: Mapping[str, tuple[Rule, CmcLevel]] = {
    FOLDER: ("market", "image"),
    "sysu-mm01": ("sysu", "identity"),
    "regdb": ("none", "image"),
    "llcm": ("market", "identity"),
}
NOT_TAKEN = ".bmp"  # what servers do not take; RegDB's images are such


@dataclass(frozen=True, slots=True)
class BenchData:
    """A dataset, ready to be measured with.

    Attributes:
        name: of its folder.
        layout: ``folder``, ``sysu-mm01``, ``regdb`` or ``llcm``.
        synthetic: whether the people are drawn.
        queries: the images that ask.
        gallery: the images that are to be found.
        converted: images that were made PNG, without loss, as servers do not take what they were.
    """

    name: str
    layout: str
    synthetic: bool
    queries: tuple[Entry, ...]
    gallery: tuple[Entry, ...]
    converted: int = 0

    @property
    def rule(self) -> Rule:
        """What a query does not see, by custom."""
        return CUSTOMS[self.layout][0]

    @property
    def cmc(self) -> CmcLevel:
        """What ranks count, by custom."""
        return CUSTOMS[self.layout][1]

    @property
    def persons(self) -> int:
        """How many people are in the gallery."""
        return len({entry.meta.person for entry in self.gallery})


@contextmanager
def opened(root: Path, manifest: Path | None = None) -> Iterator[BenchData]:
    """Read a dataset; what had to be converted is gone afterwards.

    Args:
        root: a labelled folder, or a dataset in a published layout.
        manifest: says who is on the images; without it the folder's own, or its layout.

    Raises:
        DatasetError: it is none of these, an image has no label or is missing, or nothing asks or can be found.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected a folder of labelled images or a dataset")
    with TemporaryDirectory(prefix="vireid-bench-") as name:
        layout, found = FOLDER, manifest
        if manifest is None and not image_folder.is_listed(root) and not image_folder.is_sorted(root):
            found = Path(name) / "manifest.csv"
            layout = _list(root, found)
        queries, gallery = folder.read_labelled(root, found)
        converted = {
            entry.path: Path(name) / f"{number}.png"
            for number, entry in enumerate((*queries, *gallery))
            if entry.path.suffix.lower() == NOT_TAKEN
        }
        for source, target in converted.items():
            _convert(source, target)
        yield BenchData(
            name=root.resolve().name,
            layout=layout,
            synthetic=(root / SYNTHETIC_MARKER).is_file(),
            queries=_moved(queries, converted),
            gallery=_moved(gallery, converted),
            converted=len(converted),
        )


def _list(root: Path, manifest: Path) -> str:
    """Have a manifest written; the layout it found."""
    command = [sys.executable, "-c", RUN, "data", "manifest", str(root), "--to", str(manifest), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["vireid data manifest said nothing"])[-1]
        raise DatasetError(said.removeprefix("vireid: ").removesuffix(f" [{DatasetError.reason}]"))
    return str(json.loads(done.stdout)["dataset"])


def _convert(source: Path, target: Path) -> None:
    from PIL import Image  # only datasets of uncompressed images need it

    try:
        with Image.open(source) as picture:
            picture.save(target, compress_level=1)
    except OSError as error:
        raise DatasetError(f"{source} cannot be read: {error}; copy it again") from error


def _moved(entries: Sequence[Entry], places: Mapping[Path, Path]) -> tuple[Entry, ...]:
    return tuple(replace(entry, path=places.get(entry.path, entry.path)) for entry in entries)
