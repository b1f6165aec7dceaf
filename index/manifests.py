"""Manifests: JSON documents under a checksum of their own, which tell bytes and sha256 of the files beside them.

Know not what the files hold.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.disk import disk_errors, sync
from vireid.errors import DataLoss, InvalidRequest

NAME = "manifest.json"

Files = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How the manifests of one kind of folder are written and refused.

    Attributes:
        word: what the folder is; the body's key in the document, too.
        format: the one that is written and read.
        remedy: what to do about a damaged one.
    """

    word: str
    format: int
    remedy: str

    def write(self, folder: Path, body: Mapping[str, Any]) -> None:
        """Write a manifest, durable on return."""
        document = {"format": self.format, self.word: body, "sha256": _sum(body)}
        (folder / NAME).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
        sync(folder / NAME)

    def read(self, folder: Path) -> dict[str, Any]:
        """Read the body of a folder's manifest.

        Raises:
            InvalidRequest: there is none.
            DataLoss: it is not as it was written.
            StorageError: the disk refuses.
        """
        place = folder / NAME
        if not place.is_file():
            raise InvalidRequest(
                f"{folder} is no {self.word}; expected a folder with {NAME}", field=self.word
            )
        with disk_errors(place):
            data = place.read_bytes()
        try:
            document = json.loads(data)
            body, found, version = document[self.word], document["sha256"], document["format"]
            sound = found == _sum(body) and isinstance(body, dict)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self.damaged(place, f"it tells of no {self.word}, or is not as it was written") from None
        if version != self.format:
            raise DataLoss(
                f"{place}: {self.word} format {version!r} found, {self.format} is supported; use the vireid that made it",
                reason=f"{self.word.upper()}_FORMAT",
            )
        if not sound:
            raise self.damaged(place, "it does not match its checksum")
        return dict(body)

    def check(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Compare files with what a manifest tells of them.

        Raises:
            DataLoss: one is missing, cut or changed.
            StorageError: the disk refuses.
        """
        for name, said in files.items():
            place = folder / name
            if not place.is_file():
                raise self.damaged(place, "it is missing")
            with disk_errors(place):
                found = (place.stat().st_size, digest(place))
            if found[0] != said.get("bytes"):
                raise self.damaged(
                    place, f"{found[0]} bytes found, the manifest tells of {said.get('bytes')}"
                )
            if found[1] != said.get("sha256"):
                raise self.damaged(place, "it was changed: its sha256 is not the manifest's")

    def damaged(self, path: Path, what: str) -> DataLoss:
        """Make the error that says what of a file is damaged."""
        return DataLoss(f"{path}: {what}; {self.remedy}", reason=f"{self.word.upper()}_DAMAGED")


def told(folder: Path, names: Iterable[str]) -> Files:
    """Tell what a manifest says of files."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names
    }


def digest(path: Path) -> str:
    """Return the sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
