"""What is said of an image: by a line of a manifest, by named values, or by where its file lies.

    manifest.csv                                 columns path[,item_id,person,camera,modality,captured_at,split,expires_at];
                                                 any other column is an attribute
    {visible,infrared}/<person>/<camera>_*.jpg   where there is no manifest

Opens no file. Knows no gallery, no dataset and no transport.
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from vireid.errors import InvalidRequest
from vireid.types import ItemMeta, Modality

MANIFEST = "manifest.csv"
COLUMNS = ("path", "item_id", "person", "camera", "modality", "captured_at", "split", "expires_at")
SPLITS = ("train", "query", "gallery", "test")
LONGEST_ID = 200
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True, slots=True)
class Described:
    """One image, described.

    Attributes:
        item_id: its id in a gallery.
        modality: None where the picture is to tell.
        meta: person, camera, time, attributes.
        split: ``train``, ``query``, ``gallery`` or ``test``.
        expires_at: when a gallery is to let it go; None leaves that to the gallery.
    """

    item_id: str
    modality: Modality | None
    meta: ItemMeta
    split: str = "test"
    expires_at: datetime | None = None


def item_id_of(place: str) -> str:
    """Make an item id from a file's place: itself where it may be one, else marked so that two never fall together."""
    safe = _NOT_IN_AN_ID.sub("_", place)
    if safe == place and len(place) <= LONGEST_ID:
        return place
    mark = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{safe[-(LONGEST_ID - 13) :]}:{mark}"


def from_place(place: str) -> Described:
    """Read what a path says: ``{visible,infrared}/<person>/<camera>_*.jpg`` tells three things, any other none."""
    path = PurePosixPath(place)
    if len(path.parts) >= 3 and path.parts[-3] in {modality.word for modality in Modality}:
        camera, underscore, _ = path.name.partition("_")
        meta = ItemMeta(person=path.parts[-2], camera=camera if underscore else "")
        return Described(item_id_of(place), Modality.of(path.parts[-3]), meta)
    return Described(item_id_of(place), None, ItemMeta())


def from_fields(fields: Mapping[str, Any], place: str = "") -> Described:
    """Read a description from named values; names that are not ``COLUMNS`` are attributes.

    Args:
        fields: the values; all may be absent.
        place: where the image lies; makes the item id where none is given.

    Raises:
        InvalidRequest: a bad modality, time or split, or a value that is no word or number.
    """
    attributes = fields.get("attributes")
    if attributes is None:
        attributes = {k: v for k, v in fields.items() if k not in (*COLUMNS, "image", "attributes")}
    elif not isinstance(attributes, Mapping):
        raise InvalidRequest("attributes are an object of names and values", field="attributes")
    words = {name: _word(fields.get(name), name) for name in COLUMNS}
    split = words["split"].lower() or "test"
    if split not in SPLITS:
        raise InvalidRequest(f"split is one of {', '.join(SPLITS)}, not {split!r}", field="split")
    return Described(
        item_id=words["item_id"] or item_id_of(place),
        modality=modality_of(words["modality"]),
        meta=ItemMeta(
            person=words["person"],
            camera=words["camera"],
            captured_at=moment_of(words["captured_at"]),
            attributes={
                str(key): word
                for key, value in attributes.items()
                if (word := _word(value, f"attributes.{key}"))
            },
        ),
        split=split,
        expires_at=moment_of(words["expires_at"], "expires_at"),
    )


def _word(value: object, field: str) -> str:
    """Read a value as a word: text, a number or a truth; what is not there is empty."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    raise InvalidRequest(f"found {str(value)[:80]!r}; expected text, a number, true or false", field=field)


def lines_of(text: str) -> list[tuple[int, Mapping[str, str]]]:
    """Read the text of a ``manifest.csv``: the number of each line and its values by column, stripped.

    Raises:
        InvalidRequest: it is no CSV, or has no column ``path``.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    try:
        columns = [name for name in reader.fieldnames or () if name]
        lines: list[tuple[int, Mapping[str, str]]] = [
            (reader.line_num, {key: (word or "").strip() for key, word in line.items() if key})
            for line in reader
        ]
    except csv.Error as error:
        raise InvalidRequest(
            f"line {reader.line_num}: {error}; expected comma-separated values", field="manifest"
        ) from None
    if "path" not in columns:
        raise InvalidRequest(
            f"found the columns {', '.join(columns) or '(none)'}; the first line must name path, and may name "
            f"{', '.join(COLUMNS[1:])}",
            field="manifest",
        )
    return lines


def modality_of(word: str, field: str = "modality") -> Modality | None:
    """Read ``visible``, ``infrared``; empty or ``auto`` is None.

    Args:
        word: the modality.
        field: its place in the request, for errors.

    Raises:
        InvalidRequest: another word.
    """
    if word in {"", "auto"}:
        return None
    try:
        return Modality.of(word)
    except ValueError:
        raise InvalidRequest(
            f"found modality {word!r}; expected visible, infrared or auto", field=field
        ) from None


def moment_of(text: str, field: str = "captured_at") -> datetime | None:
    """Read an RFC 3339 time with a zone; empty is None.

    Args:
        text: the time.
        field: its place in the request, for errors.

    Raises:
        InvalidRequest: no such time.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        at = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # overflow: in UTC it lies before year 1 or after 9999
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequest(
            f"found time {text!r}; expected RFC 3339 with a zone, such as 2026-03-01T23:30:00Z",
            field=field,
        )
    return at
