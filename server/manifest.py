"""What an upload says of its images: a manifest, or lines of NDJSON. Knows no archive."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import orjson

from vireid.described import MANIFEST, Described, from_fields, lines_of
from vireid.errors import ArchiveError, InvalidRequest

NAMES = (MANIFEST, "manifest.json")


def from_manifest(name: str, data: bytes) -> dict[str, Described]:
    """Read a ``manifest.csv`` or ``manifest.json``: path to description. Unknown columns of a CSV are attributes.

    Raises:
        ArchiveError: unreadable, no ``path``, a path or id twice, or a bad value; the place is named.
    """
    lines = _csv_lines(data) if name.endswith(".csv") else _json_lines(data)
    found: dict[str, Described] = {}
    ids: set[str] = set()
    for where, line in lines:
        if not line.get("path"):
            raise _invalid(f"{name}, {where}: there is no path")
        place = str(PurePosixPath(str(line["path"])))
        try:
            described = from_fields(line, place)
        except InvalidRequest as error:
            raise _invalid(f"{name}, {where}: {error.message}") from None
        if place in found or described.item_id in ids:
            raise ArchiveError(
                f"{name}, {where}: {place!r} or its item id comes twice; nothing was stored",
                reason="ARCHIVE_NAME_TWICE",
            )
        found[place] = described
        ids.add(described.item_id)
    return found


def _csv_lines(data: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        lines = lines_of(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _invalid(f"manifest.csv is no CSV text ({error})") from None
    except InvalidRequest as error:
        raise _invalid(f"manifest.csv: {error.message}") from None
    for number, line in lines:
        yield f"line {number}", line


def _json_lines(data: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        entries = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"manifest.json is no JSON ({error})") from None
    if not isinstance(entries, list):
        raise _invalid("manifest.json holds no list; expected a list of objects with a path each")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise _invalid(f"manifest.json, entry {number}: no object")
        yield f"entry {number}", entry


def _invalid(message: str) -> ArchiveError:
    return ArchiveError(f"{message}; nothing was stored", reason="MANIFEST_INVALID")


def from_ndjson(line: bytes) -> tuple[Described, bytes]:
    """Read one line: the fields of an item, and ``image`` in base64.

    Raises:
        InvalidRequest: no JSON object, no item id, or no image.
    """
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"the line is no JSON ({error})", field="line", reason="MALFORMED_JSON"
        ) from None
    if not isinstance(fields, dict) or fields.get("item_id") in (None, "") or not fields.get("image"):
        raise InvalidRequest("the line is no object with item_id and image", field="line")
    try:
        image = base64.b64decode(str(fields["image"]), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("image is no base64", field="image", reason="MALFORMED_BASE64") from None
    return from_fields(fields), image
