"""From an error of ours to a gRPC status with google.rpc details, in one place for every method.

Knows the errors and the status table; knows no method.
"""

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from server import status
from server.metrics import Metrics
from vireid.errors import (
    AlreadyExists,
    FailedPrecondition,
    GalleryExists,
    GalleryNotFound,
    ImageNotStored,
    InvalidRequest,
    ItemNotFound,
    JobNotFound,
    NotFound,
    Overloaded,
    SnapshotNotFound,
    Unavailable,
    VireidError,
)

DOMAIN = "vireid"
OURS = "vireid."
DETAILS_KEY = "grpc-status-details-bin"
# many proxies drop trailers beyond 8 kB
LONGEST_MESSAGE = 1024
LONGEST_FACT = 256
MOST_FACTS = 12
# statuses that mean a fault of ours: the caller learns that, and nothing of our inside
_OUR_FAULT = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})
_RESOURCES: dict[type[VireidError], str] = {
    GalleryNotFound: "gallery",
    GalleryExists: "gallery",
    ItemNotFound: "item",
    ImageNotStored: "image",
    JobNotFound: "job",
    SnapshotNotFound: "snapshot",
}

log = logging.getLogger(__name__)


def status_of(error: VireidError, request_id: str) -> status_pb2.Status:
    """Describe an error to the caller.

    Args:
        error: what was raised.
        request_id: names the call in the server's log.
    """
    name = status.grpc_status(error)
    code = grpc.StatusCode[name].value[0]
    if name in _OUR_FAULT:
        told = status_pb2.Status(
            code=code, message=f"the server failed to answer; its log tells more about request {request_id}"
        )
        told.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.stable_reason, domain=DOMAIN))
        told.details.add().Pack(error_details_pb2.RequestInfo(request_id=request_id))
        return told
    told = status_pb2.Status(code=code, message=error.message[:LONGEST_MESSAGE])
    facts = {key[:64]: value[:LONGEST_FACT] for key, value in list(error.metadata.items())[:MOST_FACTS]}
    told.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.stable_reason, domain=DOMAIN, metadata=facts)
    )
    for detail in _particulars(error):
        told.details.add().Pack(detail)
    return told


def _particulars(error: VireidError) -> list[Message]:
    said = error.message[:LONGEST_FACT]
    if isinstance(error, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=said, reason=error.stable_reason
        )
        return [error_details_pb2.BadRequest(field_violations=[violation])]
    if isinstance(error, Overloaded | Unavailable):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        return [retry]
    if isinstance(error, NotFound | AlreadyExists):
        kind = _RESOURCES.get(type(error), "")
        name = error.metadata.get(kind, "")[:LONGEST_FACT]
        return [error_details_pb2.ResourceInfo(resource_type=kind, resource_name=name, description=said)]
    if isinstance(error, FailedPrecondition):
        unmet = error_details_pb2.PreconditionFailure.Violation(type=error.stable_reason, description=said)
        return [error_details_pb2.PreconditionFailure(violations=[unmet])]
    return []


async def abort(context: Any, error: VireidError) -> NoReturn:
    """End a call with an error's status, message and details."""
    request_id = _request_id(context)
    told = status_of(error, request_id)
    code = grpc.StatusCode[status.grpc_status(error)]
    if code.name in _OUR_FAULT:
        log.error("request %s failed: %s", request_id, error.message, exc_info=error)
    trailers = ((DETAILS_KEY, told.SerializeToString()), ("x-request-id", request_id))
    await context.abort(code, told.message, trailers)
    raise AssertionError("abort does not return")


def _request_id(context: Any) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            return str(value)[:64]
    return uuid.uuid4().hex


class Failures(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Turns whatever a method raises into a status; the only place of this transport that catches.

    Args:
        metrics: told each answer's method and status.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Wrap the method that was called; others' streams (health watching, reflection) raise nothing of ours."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        _, service, name = handler_call_details.method.split("/")
        parse = handler.request_deserializer or bytes
        if not handler.response_streaming:
            unary = handler.unary_unary

            async def answer(data: bytes, context: Any) -> Any:
                async with self._reported(name, context):
                    return await unary(parse(data), context)

            return grpc.unary_unary_rpc_method_handler(
                answer, response_serializer=handler.response_serializer
            )
        if not service.startswith(OURS):
            return handler
        stream = handler.unary_stream

        async def answers(data: bytes, context: Any) -> AsyncIterator[Any]:
            async with self._reported(name, context), aclosing(stream(parse(data), context)) as parts:
                async for part in parts:
                    yield part

        return grpc.unary_stream_rpc_method_handler(answers, response_serializer=handler.response_serializer)

    @asynccontextmanager
    async def _reported(self, name: str, context: Any) -> AsyncIterator[None]:
        """Count how a call ends, and end it with a status where it raises."""
        code = "CANCELLED"
        try:
            try:
                yield
                code = "OK"
            except VireidError as error:
                await abort(context, error)
            except DecodeError:
                said = "the request is no message of this method; was it made from another contract?"
                await abort(context, InvalidRequest(said))
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                log.exception("a method raised what is no error of ours")
                await abort(context, VireidError(str(error)))
        except grpc.aio.AbortError:
            code = context.code().name
            raise
        finally:
            self._metrics.requests.labels(name, code).inc()
