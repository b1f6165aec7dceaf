"""Reading folders and text lists the way every reader needs: sorted, and with errors that name the place.

Knows no dataset.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from vireid.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_NAMED = 5  # how many offending paths a message names before it only counts


def images(folder: Path) -> tuple[Path, ...]:
    """Return the images of a folder, sorted by name; hidden files and other suffixes are left out.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        found = [
            p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
        ]
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}; check that it is a folder") from error
    return tuple(sorted(found, key=lambda p: p.name))


def folders(parent: Path) -> tuple[Path, ...]:
    """Return the folders inside a folder, sorted by name; hidden ones are left out.

    Raises:
        DatasetError: the parent cannot be read.
    """
    try:
        found = [p for p in parent.iterdir() if p.is_dir() and not p.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{parent} cannot be read: {error.strerror}; check that it is a folder") from error
    return tuple(sorted(found, key=lambda p: p.name))


def text(path: Path) -> str:
    """Return a text file's content.

    Raises:
        DatasetError: the file is missing, unreadable or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing; copy it from the dataset's own distribution") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not a text file: {error.reason} at byte {error.start}") from error


def id_list(path: Path) -> tuple[int, ...]:
    """Return the identities of a list of comma-separated numbers, in ascending order.

    Raises:
        DatasetError: the file is missing, empty, holds something else, or names an identity twice.
    """
    words = [w for w in text(path).replace(",", " ").split() if w]
    wrong = [w for w in words if not is_number(w)]
    if wrong:
        raise DatasetError(
            f"{path} holds {wrong[0][:40]!r}; expected one line of comma-separated identity numbers"
        )
    if not words:
        raise DatasetError(f"{path} is empty; expected one line of comma-separated identity numbers")
    ids = sorted(int(w) for w in words)
    twice = sorted({a for a, b in pairwise(ids) if a == b})
    if twice:
        raise DatasetError(f"{path} names {_some(map(str, twice))} twice; expected each identity once")
    return tuple(ids)


def labelled_list(path: Path) -> tuple[tuple[str, int], ...]:
    """Return the (relative path, label) lines of an index list, in order.

    Raises:
        DatasetError: the file is missing, empty, or a line is not a path and a number.
    """
    lines = []
    for number, line in enumerate(text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not is_number(label):
            raise DatasetError(
                f"{path}, line {number}: {line.strip()[:80]!r}; expected a relative path and a label number"
            )
        lines.append((name.strip().replace("\\", "/"), int(label)))
    if not lines:
        raise DatasetError(f"{path} is empty; expected lines of a relative path and a label number")
    return tuple(lines)


def require(root: Path, parts: Iterable[str], what: str) -> None:
    """Demand that a dataset's parts exist.

    Args:
        root: the dataset's folder.
        parts: relative paths; those that end in ``/`` are folders.
        what: the dataset, for the message.

    Raises:
        DatasetError: the root or a part is missing; names them all.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected the root folder of {what}")
    gone = missing(root, parts)
    if gone:
        raise DatasetError(
            f"{root} is not a complete {what}: missing {', '.join(gone)}; "
            f"copy what is missing from the dataset's own distribution, then run: vireid data verify {root}"
        )


def missing(root: Path, parts: Iterable[str]) -> tuple[str, ...]:
    """Return which parts do not exist; those that end in ``/`` are folders."""
    return tuple(p for p in parts if not ((root / p).is_dir() if p.endswith("/") else (root / p).is_file()))


def require_files(paths: Iterable[Path], listed_in: str) -> None:
    """Demand that listed images exist.

    Raises:
        DatasetError: names the first ones missing and counts the rest.
    """
    gone = [str(p) for p in paths if not p.is_file()]
    if gone:
        raise DatasetError(
            f"{len(gone)} images named in {listed_in} are not there: {_some(gone)}; "
            f"copy them or mend the list"
        )


def is_number(word: str) -> bool:
    """Whether a word is a non-negative whole number such as ``0007``."""
    return word.isascii() and word.isdigit()


def identities(parent: Path) -> dict[int, Path]:
    """Return the identity folders inside a folder by the number they are named after, such as 7 for ``0007``.

    Raises:
        DatasetError: a name is no number, or two folders have the same one.
    """
    found: dict[int, Path] = {}
    for folder in folders(parent):
        if not is_number(folder.name):
            raise DatasetError(
                f"{folder} is not named after an identity number such as 0007; rename it or move it away"
            )
        person = int(folder.name)
        if person in found:
            raise DatasetError(
                f"{found[person]} and {folder} are the same identity; put their images together"
            )
        found[person] = folder
    return found


def _some(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more
