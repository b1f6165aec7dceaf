"""From a failed gRPC call back to the error the server raised.

Reads ``google.rpc.Status`` from the trailers. Knows no method and no request.
"""

from typing import Any, Protocol

import grpc
from google.rpc import error_details_pb2, status_pb2

from clients import failures
from vireid.errors import BodyTooLarge, ServerUnreachable, VireidError

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "vireid"


class Failed(Protocol):
    """What a failed call tells, synchronous or not."""

    def code(self) -> Any:
        """The status."""
        ...

    def details(self) -> str | None:
        """The message."""
        ...

    def trailing_metadata(self) -> Any:
        """Key and value pairs."""
        ...


def error_of(failed: Failed, address: str) -> VireidError:
    """Make the error that the server raised, or the one the lost connection stands for.

    Args:
        failed: the ``grpc.RpcError`` or ``AioRpcError``.
        address: where the server was looked for.

    Returns:
        The error, not raised.
    """
    status = failed.code()
    said = failed.details() or ""
    for key, value in failed.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return _from_details(status_pb2.Status.FromString(value), status.name)
    if status is grpc.StatusCode.UNAVAILABLE:
        return ServerUnreachable(
            f"no vireid server answers at {address} ({said}); "
            "is `vireid serve` running, and is this its gRPC port?",
            metadata={"address": address},
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said:
        return BodyTooLarge(
            f"the server takes no message of this size ({said}); send fewer or smaller images"
        )
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ServerUnreachable(
            f"the server at {address} does not know this call ({said}); "
            "is it a vireid server of this version?",
            metadata={"address": address},
        )
    # the channel's own clock ran out, wherever the request was by then
    reason = "DEADLINE_EXCEEDED" if status is grpc.StatusCode.DEADLINE_EXCEEDED else ""
    return failures.rebuild(
        said or f"the call ended as {status.name}",
        reason=reason,
        otherwise=failures.of_grpc_status(status.name),
    )


def _from_details(status: status_pb2.Status, status_name: str) -> VireidError:
    reason, field = "", ""
    metadata: dict[str, str] = {}
    retry_after_s: float | None = None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        violated = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(violated) and violated.field_violations:
            field = violated.field_violations[0].field
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return failures.rebuild(
        status.message,
        reason=reason,
        otherwise=failures.of_grpc_status(status_name),
        metadata=metadata,
        field=field,
        retry_after_s=retry_after_s,
    )
