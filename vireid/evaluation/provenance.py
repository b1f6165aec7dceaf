"""What a report was made from: hashes of the lists of images, of the bundle and of the evaluating code.

Nothing here depends on the day, the machine or where a folder lies. Knows no scores.
"""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

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
    lines = []
    for s in split.samples:
        path = s.path.relative_to(root) if s.path.is_relative_to(root) else s.path
        lines.append(f"{path.as_posix()}\t{s.person}\t{s.camera}\n")
    content = "".join(sorted(lines)).encode()
    return ImageList(len(lines), len(set(split.persons.tolist())), hashlib.sha256(content).hexdigest())


def bundle_sha256(bundle: Bundle) -> str:
    """Return the sha256 of a bundle's manifest, which is the same for a folder and for a .zip."""
    words = json.dumps(bundle.manifest.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()


def features_sha256(vectors: Float32Array | Float64Array) -> str:
    """Return the sha256 of features as float64, whatever they were stored as."""
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f8").tobytes()).hexdigest()


def code() -> dict[str, str]:
    """Return the version of vireid and the sha256 of the sources that read datasets and evaluate."""
    digest = hashlib.sha256()
    for package in _CODE:
        files = [f for f in resources.files(package).iterdir() if f.name.endswith(".py")]
        for file in sorted(files, key=lambda f: f.name):
            digest.update(f"{package}/{file.name}\n".encode())
            digest.update(file.read_bytes())
    return {"vireid": importlib.metadata.version("vireid"), "sources_sha256": digest.hexdigest()}
