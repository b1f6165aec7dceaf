import json
from typing import Any

import httpx
import pytest

from clients.http_failures import error_of
from vireid.errors import (
    BodyTooLarge,
    GalleryNotFound,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    ServerUnreachable,
    StorageError,
    Unavailable,
    VireidError,
)


def _problem(status: int, headers: Any = None, **body: Any) -> VireidError:
    return error_of(status, httpx.Headers(headers or {}), json.dumps(body).encode())


def test_a_problem_document_comes_back_as_its_error() -> None:
    error = _problem(404, reason="GALLERY_NOT_FOUND", detail="there is no gallery 'g'")
    assert type(error) is GalleryNotFound
    assert error.message == "there is no gallery 'g'"


def test_the_field_of_an_invalid_request() -> None:
    error = _problem(
        422, reason="TOP_K_OUT_OF_RANGE", detail="no", errors=[{"pointer": "/top_k", "detail": "no"}]
    )
    assert isinstance(error, InvalidRequest)
    assert (error.field, error.stable_reason) == ("top_k", "TOP_K_OUT_OF_RANGE")


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"Retry-After": "3"}, {}, 3.0),
        ({"Retry-After": "3"}, {"retry_after_s": 2.25}, 2.25),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, 1.0),
        ({}, {}, 1.0),
    ],
)
def test_the_time_to_wait(headers: dict[str, str], body: dict[str, Any], wait_s: float) -> None:
    error = _problem(429, headers, reason="QUEUE_FULL", detail="full", **body)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"<html>not for you</html>", PermissionDenied),
        (413, b"<html>too large</html>", BodyTooLarge),
        (502, b"bad gateway", ServerUnreachable),
        (503, b"", Unavailable),
        (507, b"no room", StorageError),
        (500, b"\xff\xfe", VireidError),
        (422, b"[]", InvalidRequest),
        (418, b"{}", VireidError),
    ],
)
def test_what_a_proxy_says_is_understood(status: int, body: bytes, kind: type[VireidError]) -> None:
    error = error_of(status, httpx.Headers(), body)
    assert type(error) is kind
    assert str(status) in error.message
