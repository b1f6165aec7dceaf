"""What a report was made from: hashes of the lists of images, of the bundle and of the evaluating code.

Nothing here depends on the day, the machine or where a folder lies. Knows no scores.
"""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from vireid.arrays import Float32Array, Float64Array
from vireid.bundle import Bundle
from vireid.datasets.split import Split

_CODE = ("vireid.evaluation", "vireid.datasets")


@dataclass(frozen=True, slots=True)
class ImageList:
    """Which images took part.

    Attributes:
        images: how many.
        persons: how many.
        sha256: over the sorted lines ``path TAB person TAB camera``.
    """

    images: int
    persons: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """What the numbers of one identity split, or of all trials, come from.

    Attributes:
        query: the images that ask.
        gallery: the images that are found or drawn from.
        split: the identity split, 0 where a dataset has one.
        bundle: its name, or where features were given, empty.
        bundle_sha256: over its manifest, which holds the sha256 of every file; empty if unknown.
        space_id: the embedding space, empty if unknown.
        features_sha256: of the given features, by side; empty where a bundle made them here.
    """

    query: ImageList
    gallery: ImageList
    split: int = 0
    bundle: str = ""
    bundle_sha256: str = ""
    space_id: str = ""
    features_sha256: dict[str, str] = field(default_factory=dict)


def image_list(split: Split, root: Path) -> ImageList:
    """Describe a list of images; paths count relative to the dataset's folder, and order does not count."""
    lines = [
        f"{name}\t{s.person}\t{s.camera}\n"
        for name, s in zip(_names(split, root), split.samples, strict=True)
    ]
    content = "".join(sorted(lines)).encode()
    return ImageList(len(lines), len(set(split.persons.tolist())), hashlib.sha256(content).hexdigest())


def bundle_sha256(bundle: Bundle) -> str:
    """Return the sha256 of a bundle's manifest, which is the same for a folder and for a .zip."""
    words = json.dumps(bundle.manifest.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()


def features_sha256(vectors: Float32Array | Float64Array, split: Split, root: Path) -> str:
    """Return the sha256 of a split's features as float64, in the order of their sorted paths."""
    names = _names(split, root)
    order = sorted(range(len(names)), key=names.__getitem__)
    return hashlib.sha256(vectors[order].astype("<f8").tobytes()).hexdigest()


def _names(split: Split, root: Path) -> list[str]:
    paths = [s.path for s in split.samples]
    return [(p.relative_to(root) if p.is_relative_to(root) else p).as_posix() for p in paths]


def code() -> dict[str, str]:
    """Return the version of vireid and the sha256 of the sources that read datasets and evaluate."""
    digest = hashlib.sha256()
    for package in _CODE:
        files = [f for f in resources.files(package).iterdir() if f.name.endswith(".py")]
        for file in sorted(files, key=lambda f: f.name):
            digest.update(f"{package}/{file.name}\n".encode())
            digest.update(file.read_bytes())
    return {"vireid": importlib.metadata.version("vireid"), "sources_sha256": digest.hexdigest()}
