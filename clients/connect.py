"""Which client an address asks for: ``http://...`` is HTTP, ``host:port`` is gRPC.

Knows both clients and nothing of what they are used for.
"""

from clients.base import DEFAULT_TIMEOUT_S, Client
from clients.grpc_client import GrpcClient
from clients.http_client import HttpClient
from clients.retry import Retry


def connect(
    server: str,
    *,
    api_key: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retry: Retry | None = None,
) -> Client:
    """Make a client for an address; nothing is sent yet.

    Args:
        server: ``http://host:port``, ``https://host:port``, or ``host:port`` of a gRPC port.
        api_key: sent as a bearer token.
        timeout_s: deadline of each attempt.
        retry: patience with a busy or restarting server.
    """
    if server.startswith(("http://", "https://")):
        return HttpClient(server, api_key=api_key, timeout_s=timeout_s, retry=retry)
    return GrpcClient(server, api_key=api_key, timeout_s=timeout_s, retry=retry)
