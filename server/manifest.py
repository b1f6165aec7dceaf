"""What an upload says of its images: a manifest, a line of NDJSON, or the place in the archive. Knows no archive."""

import base64
import binascii
import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import orjson

from vireid.errors import ArchiveError, InvalidRequest
from vireid.types import ItemMeta, Modality

NAMES = ("manifest.csv", "manifest.json")
COLUMNS = ("path", "item_id", "person", "camera", "modality", "captured_at", "split")
LONGEST_ID = 200
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True, slots=True)
class Described:
    """One image to enrol, described.

    Attributes:
        item_id: its id in the gallery.
        modality: None where the server is to decide.
        meta: person, camera, time, attributes.
    """

    item_id: str
    modality: Modality | None
    meta: ItemMeta


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
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="")
        lines = [{str(k): (v or "").strip() for k, v in line.items() if k} for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _invalid(f"manifest.csv is no CSV text ({error})") from None
    if "path" not in (reader.fieldnames or ()):
        raise _invalid(
            f"manifest.csv has the columns {reader.fieldnames}; expected path and any of {', '.join(COLUMNS[1:])}"
        )
    for number, line in enumerate(lines, start=2):
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


def from_fields(fields: Mapping[str, Any], place: str = "") -> Described:
    """Read a description from named values.

    Raises:
        InvalidRequest: a bad modality or time.
    """
    attributes = fields.get("attributes")
    if not isinstance(attributes, Mapping):
        attributes = {k: v for k, v in fields.items() if k not in (*COLUMNS, "image", "attributes") and v}
    return Described(
        item_id=str(fields.get("item_id") or item_id_of(place)),
        modality=modality_of(str(fields.get("modality") or "")),
        meta=ItemMeta(
            person=str(fields.get("person") or ""),
            camera=str(fields.get("camera") or ""),
            captured_at=moment_of(str(fields.get("captured_at") or "")),
            attributes={str(k): str(v) for k, v in attributes.items()},
        ),
    )


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
    if not isinstance(fields, dict) or not fields.get("item_id") or not fields.get("image"):
        raise InvalidRequest("the line is no object with item_id and image", field="line")
    try:
        image = base64.b64decode(str(fields["image"]), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("image is no base64", field="image", reason="MALFORMED_BASE64") from None
    return from_fields(fields), image


def modality_of(word: str) -> Modality | None:
    """Read ``visible``, ``infrared``; empty or ``auto`` is None.

    Raises:
        InvalidRequest: another word.
    """
    if word in {"", "auto"}:
        return None
    try:
        return Modality.of(word)
    except ValueError:
        raise InvalidRequest(
            f"found modality {word!r}; expected visible, infrared or auto", field="modality"
        ) from None


def moment_of(text: str) -> datetime | None:
    """Read an RFC 3339 time with a zone; empty is None.

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
            field="captured_at",
        )
    return at
