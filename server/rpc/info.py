"""``vireid.v1.InfoService`` on the wire: what ``GET /v1/info`` answers, as a message. Knows no service."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from google.protobuf import json_format

from vireid.proto import retrieval_pb2 as pb


class InfoServicer:
    """Answers ``GetInfo``.

    Args:
        about: describes the server, with the contract's names.
    """

    def __init__(self, about: Callable[[], Mapping[str, Any]]) -> None:
        self._about = about

    async def GetInfo(self, _request: pb.GetInfoRequest, _context: Any) -> pb.Info:
        """Describe the server."""
        # by way of the JSON that HTTP sends, which has no NaN: messages of free form take none
        text = orjson.dumps(self._about(), option=orjson.OPT_SERIALIZE_NUMPY)
        return json_format.Parse(text, pb.Info())
