"""A request on the gRPC wire, as a value, and how large it may be. Knows no call and no channel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from clients.call import Answer, Call
from vireid.errors import BodyTooLarge

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Unary:
    """A request on this wire.

    Attributes:
        method: full path, ``/vireid.v1.RetrievalService/Search``.
        message: what to send.
        reply: the class of the message that comes back.
    """

    method: str
    message: Message
    reply: type[Message]


@dataclass(frozen=True, slots=True)
class Streamed:
    """A request on this wire that is answered by many messages; the reply is the last one.

    Attributes:
        method: full path.
        message: what to send.
        reply: the class of the messages that come back.
        watch: told each of them.
    """

    method: str
    message: Message
    reply: type[Message]
    watch: Callable[[Message], None]


def unary(
    method: str,
    message: Message,
    reply: type[Message],
    read: Callable[[Any], Answer],
    *,
    repeatable: bool = True,
) -> Call[Answer]:
    """Make a call that one message answers.

    Args:
        method: ``vireid.v1.RetrievalService/Search``.
        message: what to send.
        reply: the class of the message that comes back.
        read: turns it into the answer.
        repeatable: whether it may be made twice without harm.

    Raises:
        BodyTooLarge: the message is larger than any server takes.
    """
    size = message.ByteSize()
    if size > MAX_MESSAGE_BYTES:
        raise BodyTooLarge(
            f"the request has {size} bytes, one message holds at most {MAX_MESSAGE_BYTES}; "
            "send fewer or smaller images",
            metadata={"limit": str(MAX_MESSAGE_BYTES), "actual": str(size)},
        )
    return Call(Unary(f"/{method}", message, reply), read, repeatable)
