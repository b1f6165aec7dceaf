"""What the client commands read from their options in the same way: the key, the modality, the filter.

Knows no command and no client.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from vireid.errors import SettingsError
from vireid.types import Modality

AUTO = "auto"

Choice = TypeVar("Choice", bound=str)


def key_of(api_key: str, api_key_file: Path | None) -> str | None:
    """Choose the API key: given, or the first line of a file, or none.

    Raises:
        SettingsError: both were given, or the file cannot be read or is empty.
    """
    if api_key_file is None:
        return api_key or None
    if api_key:
        raise SettingsError("both --api-key and --api-key-file were given; give one")
    try:
        lines = api_key_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the API key from {api_key_file}: {error}") from error
    if not lines or not lines[0].strip():
        raise SettingsError(f"{api_key_file} is empty; expected the API key in its first line")
    return lines[0].strip()


def modality_of(word: str, option: str = "--modality") -> Modality | None:
    """Read a modality option; ``auto`` lets the server decide.

    Args:
        word: what was given.
        option: its name, for the error.

    Raises:
        SettingsError: another word.
    """
    if word == AUTO:
        return None
    try:
        return Modality.of(word)
    except ValueError:
        raise SettingsError(f"{option} is {word!r}; expected auto, visible or infrared") from None


def one_of(word: str, known: Collection[Choice], otherwise: Choice, option: str) -> Choice:
    """Read an option that is one of some words; an empty one is ``otherwise``.

    Raises:
        SettingsError: another word.
    """
    if word and word not in known:
        raise SettingsError(f"{option} is {word!r}; expected one of {', '.join(known)}")
    return next((choice for choice in known if choice == word), otherwise)
