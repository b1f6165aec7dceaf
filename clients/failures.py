"""From a reason on the wire back to the error class it names.

Knows the tree of ``vireid.errors`` and which class stands for a status that came without a reason; knows no
channel and no request.
"""

from collections.abc import Iterator, Mapping

from vireid.errors import (
    AlreadyExists,
    BodyTooLarge,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ServerUnreachable,
    StorageError,
    Unauthenticated,
    Unavailable,
    VireidError,
)

DEFAULT_RETRY_AFTER_S = 1.0
# A server speaks of headers, which no caller of ours writes.
HOW_TO_SEND_A_KEY = "give the key with --api-key-file FILE on the command line, with api_key in Python"

# What a status means when no reason of ours came with it: a proxy answered, or the transport itself did.
_BY_GRPC_STATUS: dict[str, type[VireidError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": Overloaded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "UNAVAILABLE": ServerUnreachable,
    "DATA_LOSS": DataLoss,
}
_BY_HTTP_STATUS: dict[int, type[VireidError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: FailedPrecondition,
    413: BodyTooLarge,
    415: InvalidRequest,
    422: InvalidRequest,
    429: Overloaded,
    502: ServerUnreachable,
    503: Unavailable,
    504: DeadlineExceeded,
    507: StorageError,
}
# Finer reasons whose gRPC status, RESOURCE_EXHAUSTED, says no more than that something ran out.
_FINER: dict[str, type[VireidError]] = {
    "DISK_REFUSES": StorageError,
    "GALLERY_BUSY": StorageError,
    "DATA_FOLDER_UNUSABLE": StorageError,
    "DATA_FOLDER_IN_USE": StorageError,
    "INDEX_FAILED": StorageError,
}


def _tree(root: type[VireidError]) -> Iterator[type[VireidError]]:
    yield root
    for branch in root.__subclasses__():
        yield from _tree(branch)


def by_reason() -> dict[str, type[VireidError]]:
    """Map each class's own reason to the class."""
    return {error.reason: error for error in _tree(VireidError) if "reason" in vars(error)}


_BY_REASON = by_reason()


def of_grpc_status(status: str) -> type[VireidError]:
    """Name the class that stands for a gRPC status without a reason."""
    return _BY_GRPC_STATUS.get(status, VireidError)


def of_http_status(status: int) -> type[VireidError]:
    """Name the class that stands for an HTTP status without a reason."""
    return _BY_HTTP_STATUS.get(status, VireidError)


def rebuild(
    message: str,
    *,
    reason: str,
    otherwise: type[VireidError],
    metadata: Mapping[str, str] | None = None,
    field: str = "",
    retry_after_s: float | None = None,
) -> VireidError:
    """Make the error the server raised.

    Args:
        message: the server's words.
        reason: the stable reason, empty if none came.
        otherwise: the class to use when no class owns the reason.
        metadata: short machine-readable facts.
        field: the offending field of an invalid request.
        retry_after_s: when to try again, if the server said so.

    Returns:
        An instance of the class that owns ``reason``; it is not raised.
    """
    kind = _BY_REASON.get(reason) or _FINER.get(reason, otherwise)
    stated = reason or None
    if issubclass(kind, InvalidRequest):
        return kind(message, field=field, reason=stated, metadata=metadata)
    if issubclass(kind, Overloaded | Unavailable):
        wait_s = DEFAULT_RETRY_AFTER_S if retry_after_s is None else retry_after_s
        return kind(message, retry_after_s=wait_s, reason=stated, metadata=metadata)
    if issubclass(kind, Unauthenticated):
        message = f"{message}; {HOW_TO_SEND_A_KEY}"
    return kind(message, reason=stated, metadata=metadata)
