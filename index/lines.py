"""An item as a line of JSON, and back; its pictures by their names. Knows no embedding and no file."""

import json
from datetime import UTC, datetime
from typing import Any

from vireid.types import Item, ItemMeta, Modality


def written(key: int, item: Item, image: str | None, thumbnail: str | None) -> bytes:
    """Tell an item in one line that every reader takes as it is: ASCII, and whole numbers beyond 2^53 as text.

    Args:
        key: our id of it.
        item: its ``has_image`` is not told.
        image: the name of its image, None if it is not there.
        thumbnail: the same of its thumbnail.
    """
    said = {
        "id": item.item_id,
        "key": str(key),
        "modality": item.modality.word,
        "person": item.meta.person,
        "camera": item.meta.camera,
        "captured_at": _time(item.meta.captured_at),
        "attributes": dict(item.meta.attributes),
        "sha256": item.sha256,
        "enrolled_at": _time(item.enrolled_at),
        "expires_at": _time(item.expires_at),
        "image": image,
        "thumbnail": thumbnail,
    }
    return json.dumps(said).encode() + b"\n"


def read(line: bytes) -> tuple[int, Item, str | None, str | None]:
    """Read an item: our id of it, the item, and the names of its pictures.

    Raises:
        ValueError: the line tells of none.
    """
    try:
        said = json.loads(line)
        word = {
            name: _text(said[name], name) for name in ("id", "key", "modality", "person", "camera", "sha256")
        }
        captured, enrolled, expires = (
            _moment(said, name) for name in ("captured_at", "enrolled_at", "expires_at")
        )
        if enrolled is None:
            raise ValueError("it has no enrolled_at")
        attributes = {_text(name, name): _text(value, name) for name, value in said["attributes"].items()}
        image, thumbnail = (said[name] and _text(said[name], name) for name in ("image", "thumbnail"))
        item = Item(
            item_id=word["id"],
            modality=Modality.of(word["modality"]),
            meta=ItemMeta(word["person"], word["camera"], captured, attributes),
            sha256=word["sha256"],
            has_image=image is not None,
            enrolled_at=enrolled,
            expires_at=expires,
        )
        return int(word["key"]), item, image, thumbnail
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


def _moment(said: dict[str, Any], name: str) -> datetime | None:
    if said[name] is None:
        return None
    when = datetime.fromisoformat(_text(said[name], name))
    if when.tzinfo is None:
        raise ValueError(f"its {name} has no timezone")
    return when.astimezone(UTC)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"its {name} is no text")
    return value
