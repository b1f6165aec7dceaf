"""A labelled folder divided into the images that ask and those that are to be found. Knows no server."""

from pathlib import Path

from vireid import image_folder
from vireid.described import MANIFEST
from vireid.errors import DatasetError
from vireid.image_folder import Entry
from vireid.types import Modality


def read_labelled(root: Path, manifest: Path | None = None) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Divide a labelled folder.

    ``split`` decides where it is given; of the other images the infrared ones ask and the visible ones are
    found, and where only one modality exists every image does both.

    Args:
        root: the folder.
        manifest: a manifest elsewhere; its paths are relative to ``root``.

    Returns:
        The queries and the gallery.

    Raises:
        DatasetError: an image has no person, camera or modality, or nothing asks or can be found.
    """
    entries = tuple(entry for entry in image_folder.read(root, manifest) if entry.split != "train")
    for entry in entries:
        if not (entry.meta.person and entry.meta.camera) or entry.modality is None:
            raise DatasetError(
                f"{entry.path} has no person, camera or modality; to measure, every image needs all three: "
                f"list them in {MANIFEST}, or sort them as {{visible,infrared}}/<person>/<camera>_*.jpg"
            )
    test = [entry for entry in entries if entry.split == "test"]
    alike = len({entry.modality for entry in test}) == 1
    asked = [entry for entry in test if alike or entry.modality is Modality.INFRARED]
    found = [entry for entry in test if alike or entry.modality is Modality.VISIBLE]
    queries = (*(entry for entry in entries if entry.split == "query"), *asked)
    gallery = (*(entry for entry in entries if entry.split == "gallery"), *found)
    if not queries or not gallery:
        raise DatasetError(
            f"{root}: {len(queries)} images ask and {len(gallery)} can be found; expected some of both: "
            "see the split and modality of its images"
        )
    return queries, gallery
