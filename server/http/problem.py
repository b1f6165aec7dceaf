"""Every HTTP error as ``application/problem+json`` (RFC 9457), from one table. Knows no route."""

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from server.status import http_status
from vireid.errors import InvalidRequest, Overloaded, Unauthenticated, Unavailable, VireidError

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
OUR_FAULT = 500
TOLD = 3  # faults of a body in the one sentence; ``errors`` lists more
UNKNOWN = "there is no such field; /openapi.json has those there are"
_TITLES = {status.value: status.phrase for status in HTTPStatus}
_REASONS = {
    404: "ROUTE_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    400: "MALFORMED_REQUEST",
}


def install(app: FastAPI) -> None:
    """Make the app answer every error as a problem."""

    @app.exception_handler(VireidError)
    async def ours(request: Request, error: VireidError) -> Response:
        return of_error(error, request_id(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        entries = error.errors()
        reasons = {"json_invalid": "MALFORMED_JSON", "extra_forbidden": "UNKNOWN_FIELD"}
        # the first part of a place says whether it is in the body, the path or the query string
        places = [entry["loc"][1:] for entry in entries[:16]]
        details = [
            {
                "pointer": "/" + "/".join(map(str, place)),
                # a document that is wrong as a whole has no place in itself
                "field": _field(place) or "body",
                "detail": UNKNOWN if entry["type"] == "extra_forbidden" else entry["msg"],
                "reason": reasons.get(entry["type"], "INVALID_REQUEST"),
            }
            for entry, place in zip(entries, places, strict=False)
        ]
        first = details[0]
        status = 400 if first["reason"] == "MALFORMED_JSON" else 422
        return response(
            status,
            reason=first["reason"],
            detail="; ".join(f"{entry['field']}: {entry['detail']}" for entry in details[:TOLD]),
            instance=request_id(request),
            errors=details,
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        return response(
            error.status_code,
            reason=_REASONS.get(error.status_code, "HTTP_ERROR"),
            detail=f"{request.method} {request.url.path}: {error.detail}",
            instance=request_id(request),
            headers=dict(error.headers or {}),
        )

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return of_fault(error, request_id(request))


def of_fault(error: Exception, instance: str) -> Response:
    """Describe what nobody foresaw; it is logged and not told."""
    hidden = VireidError(f"{type(error).__name__}: {error}")
    hidden.__cause__ = error
    return of_error(hidden, instance)


def of_error(error: VireidError, instance: str) -> Response:
    """Describe one of our errors; what went wrong inside is logged and not told."""
    status = http_status(error)
    if status == OUR_FAULT:
        log.error("request %s failed: %s", instance, error.message, exc_info=error)
        return response(
            status,
            reason=error.stable_reason,
            detail=f"the server failed to answer; its log tells more about request {instance}",
            instance=instance,
        )
    more: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, InvalidRequest) and error.field:
        pointer = {"pointer": _pointer(error.field), "field": error.field}
        more["errors"] = [{**pointer, "detail": error.message, "reason": error.stable_reason}]
    if isinstance(error, Overloaded | Unavailable):
        more["retry_after_s"] = round(error.retry_after_s, 3)
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if error.metadata:
        more["metadata"] = error.metadata
    return response(
        status, reason=error.stable_reason, detail=error.message, instance=instance, headers=headers, **more
    )


def _field(place: Sequence[str | int]) -> str:
    """Write a place as ``a.b[1].c``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def _pointer(field: str) -> str:
    """Write ``a.b[1].c`` as RFC 6901 has it: ``/a/b/1/c``."""
    return "/" + field.replace("[", ".").replace("]", "").replace(".", "/")


def response(
    status: int,
    *,
    reason: str,
    detail: str,
    instance: str,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """Write a problem."""
    title = _TITLES.get(status, "Client closed request")
    body = {
        "type": f"urn:vireid:problem:{reason.lower().replace('_', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "reason": reason,
        **more,
    }
    return Response(orjson.dumps(body), status, headers, PROBLEM)


def request_id(request: Request) -> str:
    """Return the id of a request, given by the caller or by us."""
    found: str = request.scope.get("vireid.request_id", "")
    return found
