"""A request and an answer on the HTTP wire, as values, and where galleries are. Knows no call and no connection."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vireid.errors import GalleryNotFound

JSON_TYPE = "application/json"
# as a part of a path these lead to what is above, whatever is quoted
ELSEWHERE = ("", ".", "..")

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request on this wire.

    Attributes:
        method: ``GET``, ``PUT`` ...
        path: from the root, already quoted.
        parameters: of the query string, in order, names may repeat.
        body: as it goes out, or the file that is to be streamed.
        content_type: of the body, empty without one.
        more: further headers.
    """

    method: str
    path: str
    parameters: Parameters = ()
    body: bytes | Path = b""
    content_type: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the request."""
        described = dict(self.more)
        if self.content_type:
            described["content-type"] = self.content_type
        if isinstance(self.body, Path):
            described["content-length"] = str(self.body.stat().st_size)
        return described


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer on this wire."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        """The body, read as JSON."""
        found: dict[str, Any] = json.loads(self.body) if self.body else {}
        return found


def json_request(method: str, path: str, document: Mapping[str, Any]) -> Request:
    """Make a request whose body is a document."""
    return Request(method, path, (), json.dumps(document).encode(), JSON_TYPE)


def gallery_path(name: str) -> str:
    """Say where a gallery is.

    Raises:
        GalleryNotFound: the name would lead elsewhere.
    """
    if name in ELSEWHERE:
        raise GalleryNotFound(f"there is no gallery {name!r}")
    return f"/v1/galleries/{quote(name, safe='')}"
