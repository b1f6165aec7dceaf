"""The gRPC clients: channels, deadlines, keys.

The calls are in ``clients.rpc_calls``, the behaviour around them in ``clients.base``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from clients import rpc_calls
from clients.base import DEFAULT_TIMEOUT_S, AsyncClient, Client
from clients.call import USUAL, Choices, Image, Progress
from clients.replies import Embedding, Evaluation
from clients.retry import Retry
from clients.rpc_failures import error_of
from clients.rpc_request import MAX_MESSAGE_BYTES, Streamed, Unary
from vireid.errors import VireidError
from vireid.types import Centring, CentringTrial, Modality, Snapshot

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

    def of(self, request: Unary | Streamed) -> Callable[..., Any]:
        """Give the method a request goes to."""
        method = self._prepared.get(request.method)
        if method is None:
            kind = self.channel.unary_stream if isinstance(request, Streamed) else self.channel.unary_unary
            method = kind(
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

    def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery and wait for the report, as long as it takes; see ``Client.evaluate``."""
        return self._run(rpc_calls.evaluate(gallery, choices, progress))

    def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy; see ``Client.snapshot``."""
        return self._run(rpc_calls.snapshot(gallery, keep_days))

    def centre(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> Centring | None:
        """Centre a gallery, and wait until that is in use; see ``Client.centre``."""
        return self._run(rpc_calls.centre(gallery, strength, half))

    def uncentre(self, gallery: str) -> Centring | None:
        """Go back to what was before a gallery's last centring; see ``Client.uncentre``."""
        return self._run(rpc_calls.uncentre(gallery))

    def try_centring(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> CentringTrial:
        """Measure what a centring would bring, and change nothing; see ``Client.try_centring``."""
        return self._run(rpc_calls.try_centring(gallery, strength, half))

    def _send(self, request: Unary | Streamed) -> Any:
        if isinstance(request, Streamed):
            return self._follow(request)
        try:
            return self._methods.of(request)(
                request.message, timeout=self._timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None

    def _follow(self, request: Streamed) -> Any:
        parts = self._methods.of(request)(request.message, metadata=self._metadata)
        last = None
        try:
            for last in parts:
                request.watch(last)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None
        finally:
            parts.cancel()  # where the caller left; it does nothing to a call that has ended
        return last


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

    async def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery and wait for the report, as long as it takes; see ``Client.evaluate``."""
        return await self._run(rpc_calls.evaluate(gallery, choices, progress))

    async def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy; see ``Client.snapshot``."""
        return await self._run(rpc_calls.snapshot(gallery, keep_days))

    async def centre(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> Centring | None:
        """Centre a gallery, and wait until that is in use; see ``Client.centre``."""
        return await self._run(rpc_calls.centre(gallery, strength, half))

    async def uncentre(self, gallery: str) -> Centring | None:
        """Go back to what was before a gallery's last centring; see ``Client.uncentre``."""
        return await self._run(rpc_calls.uncentre(gallery))

    async def try_centring(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> CentringTrial:
        """Measure what a centring would bring, and change nothing; see ``Client.try_centring``."""
        return await self._run(rpc_calls.try_centring(gallery, strength, half))

    async def _send(self, request: Unary | Streamed) -> Any:
        if self._methods is None:  # a channel belongs to the loop that makes it
            self._methods = _Methods(grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS))
        method = self._methods.of(request)
        if isinstance(request, Streamed):
            return await self._follow(method(request.message, metadata=self._metadata), request)
        try:
            return await method(request.message, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None

    async def _follow(self, parts: Any, request: Streamed) -> Any:
        last = None
        try:
            async for last in parts:
                request.watch(last)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None
        finally:
            parts.cancel()  # where the caller left; it does nothing to a call that has ended
        return last
