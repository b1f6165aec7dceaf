"""The gRPC clients: channels, deadlines, keys.

The calls are in ``clients.rpc_calls``, the behaviour around them in ``clients.base``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from clients import rpc_calls
from clients.base import DEFAULT_TIMEOUT_S, AsyncClient, Client
from clients.call import Image
from clients.replies import Embedding
from clients.retry import Retry
from clients.rpc_calls import MAX_MESSAGE_BYTES, Unary
from clients.rpc_failures import error_of
from vireid.errors import VireidError
from vireid.types import Modality

DEFAULT_ADDRESS = "127.0.0.1:50051"

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class _Methods:
    """The channel's methods, each prepared once."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self._prepared: dict[str, Callable[..., Any]] = {}

    def of(self, request: Unary) -> Callable[..., Any]:
        """Give the method a request goes to."""
        method = self._prepared.get(request.method)
        if method is None:
            method = self.channel.unary_unary(
                request.method,
                request_serializer=type(request.message).SerializeToString,
                response_deserializer=request.reply.FromString,
            )
            self._prepared[request.method] = method
        return method


def _metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    return () if api_key is None else (("authorization", f"Bearer {api_key}"),)


class GrpcClient(Client):
    """The service over gRPC, synchronously; one client may be shared by many threads.

    Args:
        address: ``host:port`` of the server's gRPC port.
        api_key: sent as a bearer token.
        timeout_s: deadline of each attempt; the server stops working on it then.
        retry: patience with a busy or restarting server.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(rpc_calls, retry)
        self._address = address
        self._timeout_s = timeout_s
        self._metadata = _metadata(api_key)
        self._methods = _Methods(grpc.insecure_channel(address, options=CHANNEL_OPTIONS))

    def close(self) -> None:
        """Give the connection back."""
        self._methods.channel.close()

    def embed_many(
        self, images: Sequence[Image], modality: Modality | None = None
    ) -> tuple[Embedding | VireidError, ...]:
        """Embed at most 64 images in one call; in their order, an error in place of each that failed."""
        return self._run(rpc_calls.embed_many(images, modality))

    def _send(self, request: Unary) -> Any:
        try:
            return self._methods.of(request)(
                request.message, timeout=self._timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None


class AsyncGrpcClient(AsyncClient):
    """The service over gRPC, asynchronously; belongs to the event loop that first uses it.

    Args:
        address: ``host:port`` of the server's gRPC port.
        api_key: sent as a bearer token.
        timeout_s: deadline of each attempt; the server stops working on it then.
        retry: patience with a busy or restarting server.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(rpc_calls, retry)
        self._address = address
        self._timeout_s = timeout_s
        self._metadata = _metadata(api_key)
        self._methods: _Methods | None = None

    async def close(self) -> None:
        """Give the connection back."""
        if self._methods is not None:
            await self._methods.channel.close()
            self._methods = None

    async def embed_many(
        self, images: Sequence[Image], modality: Modality | None = None
    ) -> tuple[Embedding | VireidError, ...]:
        """Embed at most 64 images in one call; in their order, an error in place of each that failed."""
        return await self._run(rpc_calls.embed_many(images, modality))

    async def _send(self, request: Unary) -> Any:
        if self._methods is None:  # a channel belongs to the loop that makes it
            self._methods = _Methods(grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS))
        method = self._methods.of(request)
        try:
            return await method(request.message, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None
