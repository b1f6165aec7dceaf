"""The key at the door: every method but health asks for it, if the server has keys at all.

Knows metadata; which keys are good is ``server.auth``'s.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from server.auth import Authenticator
from server.rpc.failures import abort
from vireid.errors import VireidError

OPEN_SERVICE = "/grpc.health.v1.Health/"


def key_of(metadata: Any) -> str | None:
    """Find the key a caller sent: ``authorization: Bearer KEY`` or ``x-api-key: KEY``."""
    sent = dict(metadata or ())
    scheme, _, token = str(sent.get("authorization", "")).partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    other = sent.get("x-api-key")
    return None if other is None else str(other)


class Credentials(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses callers without a good key before their request is read.

    Args:
        authenticator: says which keys are good.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Let the call through, or put a refusal in its place."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(OPEN_SERVICE):
            return handler
        try:
            self._authenticator.check(key_of(handler_call_details.invocation_metadata))
        except VireidError as error:
            return _refusal(handler, error)
        return handler


def _refusal(handler: Any, error: VireidError) -> Any:
    async def refuse(_request: Any, context: Any) -> Any:
        await abort(context, error)

    async def refuse_stream(_request: Any, context: Any) -> AsyncIterator[Any]:
        yield await refuse(_request, context)

    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse_stream)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse_stream)
    return grpc.unary_unary_rpc_method_handler(refuse)
