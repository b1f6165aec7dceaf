"""Pictures in a tar archive, each once, named by its sha256. Knows no items."""

import hashlib
import io
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Self


class Album:
    """An archive of pictures, open for reading or for writing.

    Args:
        path: of the archive.
        writing: make it; otherwise read it.

    Raises:
        ValueError: what is to be read is no archive.
        OSError: the disk refuses.
    """

    def __init__(self, path: Path, writing: bool = False) -> None:
        try:
            self._archive = tarfile.open(path, "w:" if writing else "r:")  # noqa: SIM115 - closed by ``__exit__``
            try:
                # a link leads elsewhere, and what has holes may be larger than any memory
                files = (one for one in self._archive.getmembers() if one.isreg() and not one.issparse())
                self._there = {one.name: one for one in files}
            except BaseException:
                self._archive.close()
                raise
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise ValueError(f"no archive of pictures: {error}") from error

    def __enter__(self) -> Self:
        """Hand it out."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._archive.close()

    def put(self, data: bytes | None) -> str | None:
        """Put a picture in unless it is there; return its name, None for none."""
        if data is None:
            return None
        name = hashlib.sha256(data).hexdigest()
        if name not in self._there:
            told = tarfile.TarInfo(name)
            told.size = len(data)
            self._archive.addfile(told, io.BytesIO(data))
            self._there[name] = told
        return name

    def get(self, name: str | None) -> bytes | None:
        """Read a picture by its name; None for none.

        Raises:
            ValueError: it is not there, or not what its name says.
        """
        if name is None:
            return None
        try:
            file = self._archive.extractfile(self._there[name]) if name in self._there else None
            data = None if file is None else file.read()
        except tarfile.TarError as error:
            raise ValueError(f"picture {name[:80]!r} cannot be read: {error}") from error
        if data is None or hashlib.sha256(data).hexdigest() != name:
            raise ValueError(f"picture {name[:80]!r} is missing, or another")
        return data
